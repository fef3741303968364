//! Lists as Arroyo has them: `array_has` of an empty list, and `unnest` of a list that is NULL.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, ListArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::optimizer::AnalyzerRule;

/// `array_has(list, value)`, which is NULL for an empty list when the value is a literal.
///
/// (For a batch in which no list has an element Arroyo answers `false`, for lists that are NULL too. How rows fall into
/// batches is chance, so that is not imitated.)
pub(super) fn array_has(from: Arc<ScalarUDF>) -> ScalarUDF {
    ScalarUDF::new_from_impl(ArrayHas(from))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayHas(Arc<ScalarUDF>);

impl ScalarUDFImpl for ArrayHas {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let list = args.args.first().cloned();
        let literal = matches!(args.args.get(1), Some(ColumnarValue::Scalar(_)));
        let found = self.0.invoke_with_args(args)?;
        let Some(list) = list.filter(|_| literal) else { return Ok(found) };
        match (list, found) {
            (ColumnarValue::Array(lists), ColumnarValue::Array(found)) => {
                let (Some(lists), Some(known)) = (lists.as_list_opt::<i32>(), found.as_boolean_opt()) else {
                    return Ok(ColumnarValue::Array(found));
                };
                Ok(ColumnarValue::Array(Arc::new(null_for_empty(lists, known))))
            }
            (ColumnarValue::Scalar(ScalarValue::List(list)), ColumnarValue::Scalar(found)) => {
                let empty = list.is_valid(0) && list.value_length(0) == 0;
                Ok(ColumnarValue::Scalar(if empty { ScalarValue::Boolean(None) } else { found }))
            }
            (_, found) => Ok(found),
        }
    }
}

fn null_for_empty(lists: &ListArray, found: &BooleanArray) -> BooleanArray {
    found.iter().enumerate().map(|(row, found)| found.filter(|_| lists.value_length(row) > 0)).collect()
}

/// `unnest` makes one row, with NULL, of a list that is NULL (and none of an empty one).
#[derive(Debug)]
pub(super) struct UnnestKeepsNulls;

impl AnalyzerRule for UnnestKeepsNulls {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_down_with_subqueries(|node| {
            Ok(match node {
                LogicalPlan::Unnest(mut unnest) if !unnest.options.preserve_nulls() => {
                    unnest.options = unnest.options.with_preserve_nulls(true);
                    Transformed::yes(LogicalPlan::Unnest(unnest))
                }
                node => Transformed::no(node),
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "unnest_keeps_nulls"
    }
}
