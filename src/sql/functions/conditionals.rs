//! `coalesce`, `nvl` and `nvl2` evaluate all their arguments before they choose, as in Arroyo's DataFusion 48: an
//! argument that fails also fails the row if its value is not needed. (CASE evaluates only the branches that it needs.)

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::own::{Adjusted, over_columns};

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    match name {
        "coalesce" | "nvl" => Some(Adjusted::function(from, first_known)),
        "nvl2" => Some(Adjusted::function(from, nvl2)),
        _ => None,
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of `Adjusted`")]
fn first_known(_: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    over_columns(&args.args, |columns| {
        let Some((last, before)) = columns.split_last() else { return exec_err!("coalesce takes an argument") };
        before.iter().rev().try_fold(Arc::clone(last), |otherwise, column| known_or(column, column, &otherwise))
    })
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of `Adjusted`")]
fn nvl2(_: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    over_columns(&args.args, |columns| {
        let [tested, known, unknown] = columns else { return exec_err!("nvl2 takes three arguments") };
        known_or(tested, known, unknown)
    })
}

fn known_or(tested: &ArrayRef, known: &ArrayRef, unknown: &ArrayRef) -> Result<ArrayRef> {
    Ok(zip(&is_not_null(tested)?, known, unknown)?)
}
