//! Makes one call of an async UDF alone in its own runtime, so that a death is caused by that call.

use datafusion::arrow::array::ArrayRef;

use super::abi::AsyncLibrary;
use super::session::{Death, Next, Session};
use crate::udf::options::AsyncOptions;

/// How many calls are repeated at the same time, each alone in its runtime.
pub(super) const AT_ONCE: usize = 32;

/// Makes one call, whose answer has one row.
pub(super) async fn call_alone(
    library: AsyncLibrary,
    options: AsyncOptions,
    args: Vec<datafusion::arrow::array::ArrayData>,
) -> Result<ArrayRef, Death> {
    let mut session = Session::start(library, AsyncOptions { ordered: false, allowed_in_flight: 1, ..options });
    session.send(0, args);
    loop {
        match session.next().await {
            Next::Look => {
                if let Some((_, values)) = session.look()? {
                    return Ok(values);
                }
            }
            Next::News => {
                let news = session.news();
                if let Some((_, error)) = news.refused.first() {
                    tracing::error!(%error, "the arguments of a UDF cannot be passed");
                }
                if news.dead || !news.refused.is_empty() {
                    return Err(Death::Panicked);
                }
            }
        }
    }
}
