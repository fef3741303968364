//! Writes rows as JSON objects with `arrow-json`, except where Arroyo differs: JSON columns, Unix milliseconds, base64
//! and the encodings of DECIMAL.

use std::sync::Arc;

use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, PrimitiveArray, StringArray, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, Date64Type, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;

use super::{DecimalEncoding, JsonFormat, TimestampFormat, text};
use crate::sql::table::JSON_FIELD;

/// Writes the rows of struct arrays.
#[derive(Debug)]
pub(in crate::formats) struct JsonWriter {
    options: EncoderOptions,
}

impl JsonWriter {
    pub(in crate::formats) fn new(format: JsonFormat) -> Self {
        let factory = Factory { timestamps: format.timestamps, decimals: format.decimals };
        Self { options: EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(factory)) }
    }

    /// Appends every row to `out` and calls `end` after each.
    ///
    /// # Errors
    /// A column of a type that JSON cannot express.
    pub(in crate::formats) fn write(
        &self,
        rows: &StructArray,
        out: &mut Vec<u8>,
        mut end: impl FnMut(&mut Vec<u8>),
    ) -> Result<(), ArrowError> {
        let field: FieldRef =
            Arc::new(datafusion::arrow::datatypes::Field::new_struct("", rows.fields().clone(), false));
        let mut encoder = make_encoder(&field, rows, &self.options)?;
        for row in 0..rows.len() {
            encoder.encode(row, out);
            end(out);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Factory {
    timestamps: TimestampFormat,
    decimals: DecimalEncoding,
}

impl EncoderFactory for Factory {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let millis = self.timestamps == TimestampFormat::UnixMillis;
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if field.metadata().contains_key(JSON_FIELD) => {
                Box::new(JsonText(cast_to(array, &DataType::Utf8)?.as_string::<i32>().clone()))
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Box::new(Base64(cast_to(array, &DataType::Binary)?.as_binary::<i32>().clone()))
            }
            DataType::Timestamp(unit, _) if millis => match unit {
                TimeUnit::Second => unix_millis::<TimestampSecondType>(array, |v| v * 1_000.0),
                TimeUnit::Millisecond => unix_millis::<TimestampMillisecondType>(array, |v| v),
                TimeUnit::Microsecond => unix_millis::<TimestampMicrosecondType>(array, |v| v / 1_000.0),
                TimeUnit::Nanosecond => unix_millis::<TimestampNanosecondType>(array, |v| v / 1_000_000.0),
            },
            DataType::Date32 if millis => {
                let days = array.as_primitive::<Date32Type>();
                Box::new(Millis(days.unary(|day| i64::from(day) * 86_400_000)))
            }
            DataType::Date64 if millis => Box::new(Millis(array.as_primitive::<Date64Type>().unary(|v| v))),
            DataType::Decimal128(_, _) => match self.decimals {
                DecimalEncoding::Number => return Ok(None),
                DecimalEncoding::Text => Box::new(DecimalText(array.as_primitive().clone())),
                DecimalEncoding::Bytes => Box::new(DecimalBytes(array.as_primitive().clone())),
            },
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

fn cast_to(array: &dyn Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    cast(&array.slice(0, array.len()), data_type)
}

/// Arroyo converts through floating point here and sometimes loses a millisecond. This code does the same, so that both
/// engines write the same number.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as Arroyo has it")]
fn unix_millis<'a, T: ArrowTimestampType>(array: &'a dyn Array, scale: impl Fn(f64) -> f64) -> Box<dyn Encoder + 'a> {
    Box::new(Millis(array.as_primitive::<T>().unary(|value| scale(value as f64) as i64)))
}

struct Millis(PrimitiveArray<Int64Type>);

impl Encoder for Millis {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.value(row).to_string().as_bytes());
    }
}

/// A JSON column: parsed and written again. Text that is not JSON is written as a string.
struct JsonText(StringArray);

impl Encoder for JsonText {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        match crate::sql::json::parse(value) {
            // Writing to a vector cannot fail.
            Some(parsed) => drop(serde_json::to_writer(out, &parsed)),
            None => text::write_text(value, out),
        }
    }
}

struct Base64(BinaryArray);

impl Encoder for Base64 {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        write_base64(self.0.value(row), out);
    }
}

struct DecimalText(Decimal128Array);

impl Encoder for DecimalText {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        text::write_text(&self.0.value_as_string(row), out);
    }
}

struct DecimalBytes(Decimal128Array);

impl Encoder for DecimalBytes {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        write_base64(&self.0.value(row).to_be_bytes(), out);
    }
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    text::write_text(&BASE64_STANDARD.encode(bytes), out);
}
