//! List functions whose results differ in Arroyo's DataFusion 48 for lists that are empty, nested or NULL.

use std::sync::Arc;

use datafusion::arrow::array::types::{Int64Type, UInt64Type};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, PrimitiveArray, UInt64Array,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::optimizer::AnalyzerRule;

use super::own::{Adjusted, over_columns};

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    Some(match name {
        "array_element" => Adjusted::function(from, array_element),
        "array_except" => Adjusted::function(from, array_except),
        "array_has" => array_has(Arc::clone(from)),
        "array_position" => Adjusted::function(from, array_position),
        "array_remove_n" => Adjusted::function(from, |from, args| at_most(from, args, 2, 0)),
        "array_repeat" => Adjusted::function(from, array_repeat),
        "array_replace_n" => Adjusted::function(from, |from, args| at_most(from, args, 3, 1)),
        "array_resize" => Adjusted::function(from, array_resize),
        "array_slice" => Adjusted::function(from, array_slice),
        "cardinality" => Adjusted::function(from, cardinality),
        _ => return None,
    })
}

/// `array_has(list, value)`, which is NULL for an empty list when the value is a literal.
///
/// (If no list in a batch has an element, Arroyo returns `false`, also for NULL lists. Batch boundaries are arbitrary,
/// so this is not imitated.)
fn array_has(from: Arc<ScalarUDF>) -> ScalarUDF {
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

/// Removing NULL removes nothing.
fn array_except(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    match args.args.as_slice() {
        [list, without] if without.data_type().is_null() => Ok(list.clone()),
        _ => from.invoke_with_args(args),
    }
}

/// Treats a NULL index as the number stored under it: 0 if it was read, but 1 if it is `i + 1`.
fn as_kept(numbers: &mut ColumnarValue) {
    match numbers {
        ColumnarValue::Scalar(null) if null.is_null() => *null = ScalarValue::Int64(Some(0)),
        ColumnarValue::Array(kept) => {
            if let Some(known) = kept.as_primitive_opt::<Int64Type>().filter(|kept| kept.null_count() > 0) {
                *kept = Arc::new(Int64Array::new(known.values().clone(), None));
            }
        }
        ColumnarValue::Scalar(_) => {}
    }
}

/// `arr[i]`: a NULL index does not give NULL.
fn array_element(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    args.args.get_mut(1).into_iter().for_each(as_kept);
    from.invoke_with_args(args)
}

/// A NULL step counts as 0, which is an error.
fn array_slice(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    args.args.get_mut(3).into_iter().for_each(as_kept);
    from.invoke_with_args(args)
}

/// The maximum number of items to remove or replace. A number below `fewest` means all.
fn at_most(from: &ScalarUDF, mut args: ScalarFunctionArgs, at: usize, fewest: i64) -> Result<ColumnarValue> {
    if let Some(count) = args.args.get_mut(at) {
        as_kept(count);
        *count = over_columns(std::slice::from_ref(count), |columns| {
            let counts = columns[0].as_primitive::<Int64Type>();
            Ok(Arc::new(counts.unary::<_, Int64Type>(|count| if count < fewest { i64::MAX } else { count })))
        })?;
    }
    from.invoke_with_args(args)
}

/// The search starts inside the list, so an empty list has no start.
fn array_position(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    args.args.get_mut(2).into_iter().for_each(as_kept);
    let columns = ColumnarValue::values_to_arrays(&args.args)?;
    let starts = columns.get(2).and_then(|starts| starts.as_primitive_opt::<Int64Type>());
    if let Some(lists) = columns.first().and_then(|lists| lists.as_list_opt::<i32>()) {
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let (start, length) = (starts.map_or(1, |starts| starts.value(row)), lists.value_length(row));
            if length == 0 && starts.is_none() {
                return exec_err!(
                    "array_position does not take an empty list: write CASE WHEN empty(list) THEN NULL ELSE … END"
                );
            }
            if start < 1 || start > i64::from(length) {
                return exec_err!(
                    "array_position starts at a place of the list, not at {start} of {length}: write CASE WHEN start \
                     BETWEEN 1 AND cardinality(list) THEN … END"
                );
            }
        }
    }
    from.invoke_with_args(args)
}

/// A NULL number counts as 0.
fn zero_for_null(number: &mut ColumnarValue) {
    fn zero<T: datafusion::arrow::array::types::ArrowPrimitiveType>(numbers: &ArrayRef) -> Option<ArrayRef> {
        let numbers = numbers.as_primitive_opt::<T>().filter(|numbers| numbers.null_count() > 0)?;
        let known = numbers.iter().map(Option::unwrap_or_default);
        Some(Arc::new(PrimitiveArray::<T>::from_iter_values(known)))
    }
    if let ColumnarValue::Array(numbers) = number
        && let Some(known) = zero::<Int64Type>(numbers).or_else(|| zero::<UInt64Type>(numbers))
    {
        *numbers = known;
    }
}

fn array_repeat(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    match args.args.get_mut(1) {
        Some(ColumnarValue::Scalar(count)) if count.is_null() => exec_err!("array_repeat takes a number of times"),
        Some(count) => {
            zero_for_null(count);
            from.invoke_with_args(args)
        }
        None => from.invoke_with_args(args),
    }
}

/// A NULL length counts as a number too.
fn array_resize(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    args.args.get_mut(1).into_iter().for_each(as_kept);
    from.invoke_with_args(args)
}

/// An empty list has none. For nested lists it is the product of the lengths of the first list at each level.
fn cardinality(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    fn product(list: &ArrayRef) -> Option<u64> {
        let length = u64::try_from(list.len()).ok().filter(|length| *length > 0)?;
        match list.as_list_opt::<i32>() {
            Some(nested) if nested.is_valid(0) => Some(length * product(&nested.value(0))?),
            _ => Some(length),
        }
    }
    if !matches!(args.args.first().map(ColumnarValue::data_type), Some(DataType::List(_))) {
        return from.invoke_with_args(args);
    }
    over_columns(&args.args, |columns| {
        let lists: &ListArray = columns[0].as_list();
        Ok(Arc::new(lists.iter().map(|list| product(&list?)).collect::<UInt64Array>()))
    })
}

/// `unnest` turns a NULL list into one row with NULL (and an empty one into no row).
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
