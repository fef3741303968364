//! Date functions whose results differ in Arroyo's DataFusion 48.

use std::sync::Arc;

use datafusion::arrow::array::types::{Int32Type, TimestampSecondType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::own::Adjusted;
use super::to_char;

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    Some(match name {
        "date_trunc" => ScalarUDF::new_from_impl(DateTrunc(Arc::clone(from))),
        "date_part" => Adjusted::function(from, date_part),
        "make_date" => Adjusted::function(from, make_date),
        "to_char" => to_char::function(from),
        "to_date" => Adjusted::function(from, to_date),
        "to_timestamp"
        | "to_timestamp_millis"
        | "to_timestamp_micros"
        | "to_timestamp_nanos"
        | "to_timestamp_seconds" => Adjusted::function(from, to_timestamp),
        _ => return None,
    })
}

/// A NULL part of a date counts as 0, which is a valid year but not a valid month or day. As a constant it is an error.
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

/// `date_trunc`, which rejects TIME. Before 1970 it rounds milliseconds and microseconds towards 1970; this version
/// does so only for constants.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc(Arc<ScalarUDF>);

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let Some(given @ (DataType::Time32(_) | DataType::Time64(_))) = args.arg_fields.get(1).map(|f| f.data_type())
        {
            return plan_err!("date_trunc takes a date with its time, not {given}");
        }
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(unit), value] = args.args.as_slice() else { return self.0.invoke_with_args(args) };
        let unit = unit.try_as_str().flatten().map(str::to_lowercase);
        match value {
            // If the date is NULL, any unit is accepted.
            ColumnarValue::Scalar(value) if value.is_null() && unit.is_some() => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(args.return_field.data_type())?))
            }
            // Minutes are included because the offsets of old time zones contain seconds.
            ColumnarValue::Array(values)
                if matches!(unit.as_deref(), Some("microsecond" | "millisecond" | "minute")) && is_old(values)? =>
            {
                let one = |row| {
                    let mut args = args.clone();
                    args.args[1] = ColumnarValue::Scalar(ScalarValue::try_from_array(values, row)?);
                    args.number_rows = 1;
                    ScalarValue::try_from_array(&self.0.invoke_with_args(args)?.to_array(1)?, 0)
                };
                let truncated = (0..values.len()).map(one).collect::<Result<Vec<_>>>()?;
                Ok(ColumnarValue::Array(ScalarValue::iter_to_array(truncated)?))
            }
            _ => self.0.invoke_with_args(args),
        }
    }
}

/// Whether one of these times is before 1973, when the last time zone dropped the seconds from its offset.
fn is_old(times: &ArrayRef) -> Result<bool> {
    const START_OF_1973: i64 = 94_694_400;
    let seconds = cast(times, &DataType::Timestamp(TimeUnit::Second, None))?;
    Ok(seconds.as_primitive::<TimestampSecondType>().iter().flatten().any(|second| second < START_OF_1973))
}

/// It does not support nanoseconds, ISO weekdays and ISO years.
fn date_part(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let part = match args.args.first() {
        Some(ColumnarValue::Scalar(part)) => part.try_as_str().flatten().unwrap_or_default().to_lowercase(),
        _ => String::new(),
    };
    let interval = matches!(args.args.get(1).map(ColumnarValue::data_type), Some(DataType::Interval(_)));
    let unknown = matches!(part.as_str(), "nanosecond" | "nanoseconds" | "nsec" | "nsecs" | "isodow" | "isoyear");
    if unknown && !interval {
        return exec_err!("date_part does not know '{part}'");
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

/// They accept text, INT, BIGINT, dates and times; `to_timestamp` also accepts DOUBLE and DECIMAL.
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
