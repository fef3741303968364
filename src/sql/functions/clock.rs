//! `now()`, `current_date()` and `current_time()` over a stream: the time at which a batch is computed.
//!
//! DataFusion evaluates its own once, when a query is planned. On an endless stream that is the start time.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const NANOS_OF_A_DAY: i64 = 86_400_000_000_000;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let function =
        |reading| ScalarUDF::new_from_impl(Clock { reading, signature: Signature::nullary(Volatility::Volatile) });
    vec![function(Reading::Now), function(Reading::Date), function(Reading::Time)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    Now,
    Date,
    Time,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    reading: Reading,
    signature: Signature,
}

impl Reading {
    fn of(self, nanos: i64) -> ScalarValue {
        match self {
            Self::Now => ScalarValue::TimestampNanosecond(Some(nanos), Some("+00:00".into())),
            Self::Date => ScalarValue::Date32(i32::try_from(nanos.div_euclid(NANOS_OF_A_DAY)).ok()),
            Self::Time => ScalarValue::Time64Nanosecond(Some(nanos.rem_euclid(NANOS_OF_A_DAY))),
        }
    }
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &'static str {
        match self.reading {
            Reading::Now => "now",
            Reading::Date => "current_date",
            Reading::Time => "current_time",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.reading {
            Reading::Now => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
            Reading::Date => DataType::Date32,
            Reading::Time => DataType::Time64(TimeUnit::Nanosecond),
        })
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, false)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(ColumnarValue::Scalar(self.reading.of(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_and_time_are_parts_of_one_moment() {
        let nanos = 1_772_352_930_123_000_000; // 2026-03-01T08:15:30.123Z
        assert_eq!(Reading::Date.of(nanos), ScalarValue::Date32(Some(20_513)));
        let time = (8 * 3600 + 15 * 60 + 30) * 1_000_000_000 + 123_000_000;
        assert_eq!(Reading::Time.of(nanos), ScalarValue::Time64Nanosecond(Some(time)));
        assert_eq!(Reading::Date.of(-1), ScalarValue::Date32(Some(-1)));
        assert_eq!(Reading::Time.of(-1), ScalarValue::Time64Nanosecond(Some(NANOS_OF_A_DAY - 1)));
    }
}
