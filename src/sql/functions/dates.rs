//! Date functions where DataFusion 48, which Arroyo has, answers otherwise.

use std::sync::Arc;

use datafusion::arrow::array::types::Int32Type;
use datafusion::arrow::array::{ArrayRef, AsArray, Date32Array, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::own::Adjusted;

/// DataFusion's functions, by name, with what is done about them.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    Some(match name {
        "date_part" => Adjusted::function(from, date_part),
        "make_date" => Adjusted::function(from, make_date),
        "to_char" => Adjusted::function(from, to_char),
        "to_date" => Adjusted::function(from, to_date),
        "to_timestamp"
        | "to_timestamp_millis"
        | "to_timestamp_micros"
        | "to_timestamp_nanos"
        | "to_timestamp_seconds" => Adjusted::function(from, to_timestamp),
        _ => return None,
    })
}

/// A part of a date that is NULL counts as 0, which is a year, but no month and no day; as a constant it is an error.
fn make_date(from: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    for part in &mut args.args {
        match part {
            ColumnarValue::Scalar(constant) if constant.is_null() => {
                return exec_err!("make_date takes a year, a month and a day, not NULL");
            }
            ColumnarValue::Scalar(_) => {}
            ColumnarValue::Array(numbers) => {
                let known = cast(numbers, &DataType::Int32)?;
                let known = known.as_primitive::<Int32Type>().iter().map(Option::unwrap_or_default);
                let known: ArrayRef = Arc::new(Int32Array::from_iter_values(known));
                *numbers = cast(&known, numbers.data_type())?;
            }
        }
    }
    from.invoke_with_args(args)
}

fn refused(name: &str, given: &DataType, instead: &str) -> Result<ColumnarValue> {
    exec_err!("{name} does not take {given}: write {instead}")
}

fn given(args: &ScalarFunctionArgs) -> DataType {
    args.args.first().map_or(DataType::Null, ColumnarValue::data_type)
}

/// There are no nanoseconds among the parts of a date, and no ISO days and years.
fn date_part(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let part = match args.args.first() {
        Some(ColumnarValue::Scalar(part)) => part.try_as_str().flatten().unwrap_or_default().to_lowercase(),
        _ => String::new(),
    };
    let interval = matches!(args.args.get(1).map(ColumnarValue::data_type), Some(DataType::Interval(_)));
    let unknown = matches!(part.as_str(), "nanosecond" | "nanoseconds" | "nsec" | "nsecs" | "isodow" | "isoyear");
    if unknown && !interval {
        return exec_err!("date_part knows no '{part}'");
    }
    from.invoke_with_args(args)
}

/// A date has no time of day to write.
fn to_char(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    if let [dates, ColumnarValue::Scalar(format)] = args.args.as_slice()
        && dates.data_type() == DataType::Date32
        && !matches!(dates, ColumnarValue::Scalar(date) if date.is_null())
        && let Some(Some(format)) = format.try_as_str()
    {
        let options = FormatOptions::default().with_date_format(Some(format));
        let day: ArrayRef = Arc::new(Date32Array::from_value(0, 1));
        if ArrayFormatter::try_new(&day, &options)?.value(0).try_to_string().is_err() {
            return exec_err!("to_char cannot write a DATE as '{format}': write CAST(… AS TIMESTAMP) inside");
        }
    }
    from.invoke_with_args(args)
}

/// It takes text and whole numbers (days).
fn to_date(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    match given(&args) {
        other @ (DataType::Int8 | DataType::Int16 | DataType::Timestamp(..)) => {
            refused("to_date", &other, "CAST(… AS DATE)")
        }
        other if other.is_unsigned_integer() || other.is_floating() || other.is_decimal() => {
            refused("to_date", &other, "CAST(… AS DATE)")
        }
        _ => from.invoke_with_args(args),
    }
}

/// They take text, INT, BIGINT, dates and times; `to_timestamp` takes DOUBLE and DECIMAL too.
fn to_timestamp(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let seconds = from.name() == "to_timestamp";
    match given(&args) {
        other @ (DataType::Int8 | DataType::Int16 | DataType::Float32) => {
            refused(from.name(), &other, "CAST(… AS BIGINT) inside")
        }
        other if other.is_unsigned_integer() => refused(from.name(), &other, "CAST(… AS BIGINT) inside"),
        other if !seconds && (other.is_floating() || other.is_decimal()) => {
            refused(from.name(), &other, "CAST(… AS BIGINT) inside")
        }
        _ => from.invoke_with_args(args),
    }
}
