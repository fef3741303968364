//! `array_to_string` as in Arroyo's DataFusion 48. It accepts only texts and lists of texts, numbers and BOOLEAN. If
//! the text for NULL is NULL, NULL is written as an empty text.

use std::sync::Arc;

use datafusion::arrow::array::types::{Float32Type, Float64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ScalarUDF, TypeSignature};

use super::own::Own;

pub(super) fn function() -> ScalarUDF {
    Own::function("array_to_string", vec![TypeSignature::VariadicAny], of_list, array_to_string)
}

fn of_list(types: &[DataType]) -> Result<DataType> {
    if let Some(DataType::List(_)) = types.first() {
        Ok(DataType::Utf8)
    } else {
        plan_err!("array_to_string takes a list and a text")
    }
}

fn array_to_string(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (lists, delimiters, for_null) = match args {
        [lists, delimiters] => (lists, delimiters, None),
        [lists, delimiters, for_null] => (lists, delimiters, Some(for_null)),
        _ => return exec_err!("array_to_string takes a list, a delimiter and a text for NULL"),
    };
    if let Some(wrong) = args[1..].iter().find(|texts| !texts.data_type().is_string()) {
        return exec_err!(
            "array_to_string writes texts between items, not {}: write CAST(… AS TEXT)",
            wrong.data_type()
        );
    }
    let Some(lists) = lists.as_list_opt::<i32>() else { return exec_err!("array_to_string takes a list") };
    let delimiters = cast(delimiters, &DataType::Utf8)?;
    let delimiters: &StringArray = delimiters.as_string();
    let for_null = for_null.map(|texts| cast(texts, &DataType::Utf8)).transpose()?;
    let one = |row: usize| {
        if lists.is_null(row) || delimiters.is_null(row) {
            return Ok(None);
        }
        let for_null = for_null.as_ref().map(AsArray::as_string::<i32>);
        let for_null = for_null.map(|texts| if texts.is_valid(row) { texts.value(row) } else { "" });
        let mut items = Vec::new();
        write(&lists.value(row), for_null, &mut items)?;
        Ok(Some(items.join(delimiters.value(row))))
    };
    Ok(Arc::new((0..lists.len()).map(one).collect::<Result<StringArray>>()?))
}

/// Writes the items as text. Items of nested lists are written in one sequence; a nested list that is NULL is skipped.
fn write(items: &ArrayRef, for_null: Option<&str>, out: &mut Vec<String>) -> Result<()> {
    fn each(texts: impl Iterator<Item = Option<String>>, for_null: Option<&str>, out: &mut Vec<String>) {
        out.extend(texts.filter_map(|text| text.or_else(|| for_null.map(str::to_string))));
    }
    match items.data_type() {
        DataType::Null => {}
        DataType::List(_) => {
            let lists = items.as_list::<i32>();
            for row in 0..lists.len() {
                write(&lists.value(row), for_null, out)?;
            }
        }
        DataType::Dictionary(_, item) => write(&cast(items, item)?, for_null, out)?,
        // They are formatted as in Rust: `1`, not `1.0`.
        DataType::Float32 => {
            each(items.as_primitive::<Float32Type>().iter().map(|x| x.map(|x| x.to_string())), for_null, out);
        }
        DataType::Float64 => {
            each(items.as_primitive::<Float64Type>().iter().map(|x| x.map(|x| x.to_string())), for_null, out);
        }
        item if item.is_string() || item.is_integer() || *item == DataType::Boolean => {
            let texts = cast(items, &DataType::Utf8)?;
            each(texts.as_string::<i32>().iter().map(|text| text.map(str::to_string)), for_null, out);
        }
        other => return exec_err!("array_to_string does not write {other}: make the list of CAST(… AS TEXT)"),
    }
    Ok(())
}
