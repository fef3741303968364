//! `array_distinct`, `array_union` and `array_intersect` as in Arroyo's DataFusion 48: sorted, NULL first. For the two
//! that take two lists, a NULL list is an error unless it is the literal NULL.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array, new_null_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ArrayFunctionArgument, ArrayFunctionSignature, ScalarUDF, TypeSignature};

use super::own::Own;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let lists = |count| {
        vec![TypeSignature::ArraySignature(ArrayFunctionSignature::Array {
            arguments: vec![ArrayFunctionArgument::Array; count],
            array_coercion: None,
        })]
    };
    vec![
        Own::function("array_distinct", lists(1), one_list, |args| distinct(&args[0])),
        Own::function("array_intersect", lists(2), of_either, |args| of_two(args, Set::Intersection)),
        Own::function("array_union", lists(2), of_either, |args| of_two(args, Set::Union)),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Set {
    Union,
    Intersection,
}

fn one_list(types: &[DataType]) -> Result<DataType> {
    let [DataType::List(item)] = types else {
        return plan_err!("array_distinct does not support this type: it takes a list");
    };
    Ok(DataType::new_list(item.data_type().clone(), true))
}

fn of_either(types: &[DataType]) -> Result<DataType> {
    match types {
        [DataType::Null, DataType::Null] => Ok(DataType::new_list(DataType::Null, true)),
        [DataType::Null, list] | [list, _] => Ok(list.clone()),
        _ => plan_err!("the function expects two lists"),
    }
}

fn sorted(rows: &Rows) -> Vec<Row<'_>> {
    let mut sorted: Vec<Row<'_>> = rows.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

fn distinct(lists: &ArrayRef) -> Result<ArrayRef> {
    let Some(lists) = lists.as_list_opt::<i32>() else { return exec_err!("array_distinct takes a list") };
    let converter = RowConverter::new(vec![SortField::new(lists.value_type())])?;
    build(lists, |row| {
        if lists.is_null(row) {
            return Ok(None);
        }
        let rows = converter.convert_columns(&[lists.value(row)])?;
        Ok(converter.convert_rows(sorted(&rows))?.pop())
    })
}

fn of_two(args: &[ArrayRef], set: Set) -> Result<ArrayRef> {
    let (left, right) = match (args[0].data_type(), args[1].data_type()) {
        (DataType::Null, DataType::Null) => {
            return Ok(new_null_array(&DataType::new_list(DataType::Null, true), args[0].len()));
        }
        (list, DataType::Null) | (DataType::Null, list) if set == Set::Intersection => {
            let DataType::List(item) = list else { return exec_err!("array_intersect takes lists") };
            let none = new_empty_array(item.data_type());
            let offsets = OffsetBuffer::new_zeroed(args[0].len());
            return Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, none, None)?));
        }
        (_, DataType::Null) => return distinct(&args[0]),
        (DataType::Null, _) => return distinct(&args[1]),
        _ => match (args[0].as_list_opt::<i32>(), args[1].as_list_opt::<i32>()) {
            (Some(left), Some(right)) => (left, right),
            _ => return exec_err!("sets are made of lists"),
        },
    };
    if left.value_type().is_null() || left.is_empty() {
        return distinct(&args[1]);
    }
    if right.value_type().is_null() {
        return distinct(&args[0]);
    }
    let converter = RowConverter::new(vec![SortField::new(left.value_type())])?;
    build(left, |row| {
        if left.is_null(row) || right.is_null(row) {
            return exec_err!("array_union and array_intersect do not take a NULL list: write coalesce(list, [])");
        }
        let (left, right) =
            (converter.convert_columns(&[left.value(row)])?, converter.convert_columns(&[right.value(row)])?);
        let (left, right) = (sorted(&left), sorted(&right));
        let in_left = |item: &Row<'_>| left.binary_search(item).is_ok();
        let items = match set {
            Set::Union => [left.clone(), right.into_iter().filter(|item| !in_left(item)).collect()].concat(),
            Set::Intersection => right.into_iter().filter(in_left).collect(),
        };
        Ok(converter.convert_rows(items)?.pop())
    })
}

/// Lists like `like`, each made by `list`; `None` is NULL.
fn build(like: &ListArray, list: impl Fn(usize) -> Result<Option<ArrayRef>>) -> Result<ArrayRef> {
    let lists = (0..like.len()).map(list).collect::<Result<Vec<_>>>()?;
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Array::len));
    let parts: Vec<&dyn Array> = lists.iter().flatten().map(|list| &**list as &dyn Array).collect();
    let values = if parts.is_empty() { new_empty_array(&like.value_type()) } else { concat(&parts)? };
    let nulls = lists.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, Some(nulls))?))
}
