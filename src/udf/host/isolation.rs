//! One call of an async UDF, alone in a runtime of its own, so that a death is the call's own.

use datafusion::arrow::array::ArrayRef;

use super::abi::{AsyncLibrary, Sent};
use super::session::{Death, Session};
use crate::udf::source::AsyncOptions;

/// How many calls are repeated at once, each alone in its runtime.
pub(super) const AT_ONCE: usize = 32;

/// Makes one call, whose answer has one row.
pub(super) async fn call_alone(
    library: AsyncLibrary,
    options: AsyncOptions,
    args: Vec<datafusion::arrow::array::ArrayData>,
) -> Result<ArrayRef, Death> {
    let mut session = Session::start(library, AsyncOptions { ordered: false, allowed_in_flight: 1, ..options });
    match session.send(0, args) {
        Ok(Sent::Arrived) => session.sent(),
        // Its channel is new and empty, so nothing makes it wait.
        Ok(Sent::Dead | Sent::Waiting(_)) => return Err(Death::Panicked),
        Err(error) => {
            tracing::error!(%error, "the arguments of a UDF cannot be passed");
            return Err(Death::Panicked);
        }
    }
    loop {
        session.time_to_look().await;
        if let Some((_, values)) = session.look()? {
            return Ok(values);
        }
    }
}
