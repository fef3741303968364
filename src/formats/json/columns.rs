//! The columns of each type.
//!
//! A value fits a type as in `arrow-json` (numbers may be given as text, but text never as a number), because Arroyo
//! reads rows with `arrow-json`.

use std::mem;
use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, PrimitiveArray, StringArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use jiter::{Jiter, Peek};

use super::column::{Column, Validity};
use super::nested::{ListColumn, StructColumn};
use super::text;
use super::wrong::Wrong;
use crate::sql::table::JSON_FIELD;
use crate::sql::types::to_sql;

/// A column for a field, or `None` if no JSON value fits its type.
pub(super) fn column(field: &Field) -> Option<Box<dyn Column>> {
    if field.metadata().contains_key(JSON_FIELD) {
        return Some(Box::new(Bytes::<JsonText>::new()));
    }
    let data_type = field.data_type();
    Some(match data_type {
        DataType::Boolean => Box::new(Booleans::default()),
        DataType::Int8 => Number::<Int8Type>::boxed(data_type),
        DataType::Int16 => Number::<Int16Type>::boxed(data_type),
        DataType::Int32 => Number::<Int32Type>::boxed(data_type),
        DataType::Int64 => Number::<Int64Type>::boxed(data_type),
        DataType::UInt8 => Number::<UInt8Type>::boxed(data_type),
        DataType::UInt16 => Number::<UInt16Type>::boxed(data_type),
        DataType::UInt32 => Number::<UInt32Type>::boxed(data_type),
        DataType::UInt64 => Number::<UInt64Type>::boxed(data_type),
        DataType::Float32 => Number::<Float32Type>::boxed(data_type),
        DataType::Float64 => Number::<Float64Type>::boxed(data_type),
        DataType::Date32 => Number::<Date32Type>::boxed(data_type),
        DataType::Time32(TimeUnit::Second) => Number::<Time32SecondType>::boxed(data_type),
        DataType::Time32(TimeUnit::Millisecond) => Number::<Time32MillisecondType>::boxed(data_type),
        DataType::Time64(TimeUnit::Microsecond) => Number::<Time64MicrosecondType>::boxed(data_type),
        DataType::Time64(TimeUnit::Nanosecond) => Number::<Time64NanosecondType>::boxed(data_type),
        DataType::Timestamp(unit, zone) => {
            let zone: Tz = zone.as_deref().unwrap_or("+00:00").parse().ok()?;
            match unit {
                TimeUnit::Second => Box::new(Timestamps::<TimestampSecondType>::new(data_type, zone)),
                TimeUnit::Millisecond => Box::new(Timestamps::<TimestampMillisecondType>::new(data_type, zone)),
                TimeUnit::Microsecond => Box::new(Timestamps::<TimestampMicrosecondType>::new(data_type, zone)),
                TimeUnit::Nanosecond => Box::new(Timestamps::<TimestampNanosecondType>::new(data_type, zone)),
            }
        }
        DataType::Decimal128(precision, scale) => {
            Box::new(Decimals { values: Values::new(data_type), precision: *precision, scale: *scale })
        }
        DataType::Utf8 => Box::new(Bytes::<PlainText>::new()),
        DataType::List(item) => Box::new(ListColumn::new(item, column(item)?)),
        DataType::Struct(fields) => Box::new(StructColumn::new(fields, columns(fields)?)),
        _ => return None,
    })
}

/// The columns for fields, or `None` if one field has no column.
pub(super) fn columns(fields: &Fields) -> Option<Vec<Box<dyn Column>>> {
    fields.iter().map(|field| column(field)).collect()
}

/// Values of a fixed width.
struct Values<P: ArrowPrimitiveType> {
    items: Vec<P::Native>,
    validity: Validity,
    data_type: DataType,
    name: String,
}

impl<P: ArrowPrimitiveType> Values<P> {
    fn new(data_type: &DataType) -> Self {
        Self { items: Vec::new(), validity: Validity::new(), data_type: data_type.clone(), name: to_sql(data_type) }
    }

    fn push(&mut self, value: P::Native) {
        self.items.push(value);
        self.validity.push(true);
    }

    /// Appends the next value, converted by `text` or `number`.
    fn read(
        &mut self,
        json: &mut Jiter<'_>,
        peek: Peek,
        text: impl FnOnce(&str) -> Option<P::Native>,
        number: impl FnOnce(&str) -> Option<P::Native>,
    ) -> Result<(), Wrong> {
        let value = match peek {
            Peek::String => {
                let found = json.known_str()?;
                text(found).ok_or_else(|| Wrong::type_of(&self.name, &format!("\"{found}\"")))?
            }
            peek if peek.is_num() => {
                let found = str::from_utf8(json.known_number_bytes(peek)?).unwrap_or_default();
                number(found).ok_or_else(|| Wrong::type_of(&self.name, found))?
            }
            _ => return Err(Wrong::type_of_next(json, peek, &self.name)),
        };
        self.push(value);
        Ok(())
    }

    fn null(&mut self) {
        self.items.push(P::Native::default());
        self.validity.push(false);
    }

    fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
        self.validity.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let items = ScalarBuffer::from(mem::take(&mut self.items));
        Arc::new(PrimitiveArray::<P>::new(items, self.validity.finish()).with_data_type(self.data_type.clone()))
    }
}

macro_rules! delegate {
    ($values:ident) => {
        fn null(&mut self) {
            self.$values.null();
        }
        fn len(&self) -> usize {
            self.$values.items.len()
        }
        fn truncate(&mut self, len: usize) {
            self.$values.truncate(len);
        }
        fn finish(&mut self) -> ArrayRef {
            self.$values.finish()
        }
    };
}

/// Numbers, dates and times of day.
struct Number<P: ArrowPrimitiveType> {
    values: Values<P>,
}

impl<P: ArrowPrimitiveType + Parser> Number<P>
where
    P::Native: FromNumber,
{
    fn boxed(data_type: &DataType) -> Box<dyn Column> {
        Box::new(Self { values: Values::new(data_type) })
    }
}

impl<P: ArrowPrimitiveType + Parser> Column for Number<P>
where
    P::Native: FromNumber,
{
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        self.values.read(json, peek, P::parse, FromNumber::from_number)
    }

    delegate!(values);
}

/// Converts a JSON number to a type.
trait FromNumber: Sized {
    fn from_number(digits: &str) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($t:ty),+) => {
        $(impl FromNumber for $t {
            /// Fractions are truncated, as in Arroyo. A number out of range is an error.
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_lossless,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked against the range just before"
            )]
            fn from_number(digits: &str) -> Option<Self> {
                digits.parse().ok().or_else(|| {
                    let value = digits.parse::<f64>().ok()?.trunc();
                    (value >= Self::MIN as f64 && value < Self::MAX as f64 + 1.0).then_some(value as Self)
                })
            }
        })+
    };
}

whole_numbers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl FromNumber for f32 {
    fn from_number(digits: &str) -> Option<Self> {
        digits.parse().ok()
    }
}

impl FromNumber for f64 {
    fn from_number(digits: &str) -> Option<Self> {
        digits.parse().ok()
    }
}

/// Timestamps: text in RFC 3339 or similar, or a number in the column's unit.
struct Timestamps<P: ArrowPrimitiveType> {
    values: Values<P>,
    zone: Tz,
}

impl<P: ArrowPrimitiveType> Timestamps<P> {
    fn new(data_type: &DataType, zone: Tz) -> Self {
        Self { values: Values::new(data_type), zone }
    }
}

impl<P: ArrowPrimitiveType<Native = i64> + PointInTime> Column for Timestamps<P> {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        let zone = self.zone;
        self.values.read(json, peek, |text| P::parse_time(zone, text), FromNumber::from_number)
    }

    delegate!(values);
}

trait PointInTime {
    fn parse_time(zone: Tz, text: &str) -> Option<i64>;
}

macro_rules! points_in_time {
    ($($t:ty: |$time:ident| $value:expr),+) => {
        $(impl PointInTime for $t {
            fn parse_time(zone: Tz, text: &str) -> Option<i64> {
                let $time = string_to_datetime(&zone, text).ok()?;
                $value
            }
        })+
    };
}

points_in_time!(
    TimestampSecondType: |time| Some(time.timestamp()),
    TimestampMillisecondType: |time| Some(time.timestamp_millis()),
    TimestampMicrosecondType: |time| Some(time.timestamp_micros()),
    TimestampNanosecondType: |time| time.timestamp_nanos_opt()
);

struct Decimals {
    values: Values<Decimal128Type>,
    precision: u8,
    scale: i8,
}

impl Column for Decimals {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        let (precision, scale) = (self.precision, self.scale);
        let parse = |text: &str| decimal(text, precision, scale);
        self.values.read(json, peek, parse, parse)
    }

    delegate!(values);
}

/// The digits of a DECIMAL. Digits beyond its scale are dropped, as in Arroyo. (Arrow's own reader counts digits and
/// exponents in a few bits and returns a wrong number if there are more.)
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        // An exponent that does not fit makes the number larger or smaller than any that can be stored.
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let Some(zeros) = digits.iter().position(|d| *d != b'0') else { return Some(0) };
    // The number of digits from the first significant one to the last within the scale.
    let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    let kept = point.saturating_add(i64::from(scale)).saturating_sub(i64::try_from(zeros).ok()?);
    let Ok(kept) = usize::try_from(kept) else { return Some(0) };
    if kept > usize::from(precision) {
        return None;
    }
    let kept = digits[zeros..].iter().copied().chain(std::iter::repeat(b'0')).take(kept);
    let value = kept.fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

/// An exponent, clamped to the range.
fn parse_exponent(exponent: &str) -> Option<i64> {
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let end = if exponent.starts_with('-') { i64::from(i32::MIN) } else { i64::from(i32::MAX) };
    Some(exponent.parse::<i64>().map_or(end, |e| e.clamp(i64::from(i32::MIN), i64::from(i32::MAX))))
}

struct Booleans {
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl Default for Booleans {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), validity: Validity::new() }
    }
}

impl Column for Booleans {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        if !matches!(peek, Peek::True | Peek::False) {
            return Err(Wrong::type_of_next(json, peek, "BOOLEAN"));
        }
        let value = json.known_bool(peek)?;
        self.values.append(value);
        self.validity.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.values.append(false);
        self.validity.push(false);
    }

    fn len(&self) -> usize {
        self.validity.len()
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.validity.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.validity.finish()))
    }
}

/// How the bytes of a column are read and stored.
pub(in crate::formats) trait Content: Send {
    /// Appends the next JSON value.
    fn read(json: &mut Jiter<'_>, peek: Peek, out: &mut Vec<u8>) -> Result<(), Wrong>;
    /// The array; the bytes are what [`Content::read`] wrote.
    fn array(offsets: OffsetBuffer<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef;
}

/// A column of text or bytes.
pub(in crate::formats) struct Bytes<C> {
    data: Vec<u8>,
    offsets: Vec<i32>,
    validity: Validity,
    content: std::marker::PhantomData<C>,
}

impl<C: Content> Bytes<C> {
    pub(in crate::formats) fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0], validity: Validity::new(), content: std::marker::PhantomData }
    }

    /// Ends the value whose bytes were just appended. Returns `false` (and adds no value) if the column is full.
    fn end(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.data.len()) else {
            let start = self.offsets.last().map_or(0, |o| usize::try_from(*o).unwrap_or(0));
            self.data.truncate(start);
            return false;
        };
        self.offsets.push(end);
        self.validity.push(true);
        true
    }

    /// Appends a raw value; `false` if the column is full.
    pub(in crate::formats) fn push(&mut self, value: &[u8]) -> bool {
        self.data.extend_from_slice(value);
        self.end()
    }

    pub(in crate::formats) fn take(&mut self) -> ArrayRef {
        let offsets = mem::replace(&mut self.offsets, vec![0]);
        // Offsets only grow and stay within the bytes.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        C::array(offsets, mem::take(&mut self.data), self.validity.finish())
    }
}

impl<C: Content> Column for Bytes<C> {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        C::read(json, peek, &mut self.data)?;
        if self.end() { Ok(()) } else { Err(Wrong::too_much()) }
    }

    fn null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.validity.push(false);
    }

    fn len(&self) -> usize {
        self.validity.len()
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.validity.truncate(len);
        // Bytes of an unfinished value are removed too.
        self.data.truncate(self.offsets.last().map_or(0, |o| usize::try_from(*o).unwrap_or(0)));
    }

    fn finish(&mut self) -> ArrayRef {
        self.take()
    }
}

/// TEXT.
pub(in crate::formats) struct PlainText;

impl Content for PlainText {
    fn read(json: &mut Jiter<'_>, peek: Peek, out: &mut Vec<u8>) -> Result<(), Wrong> {
        if peek != Peek::String {
            return Err(Wrong::type_of_next(json, peek, "TEXT"));
        }
        out.extend_from_slice(json.known_str()?.as_bytes());
        Ok(())
    }

    fn array(offsets: OffsetBuffer<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
        text_array(offsets, bytes, nulls)
    }
}

/// JSON: any value, as text.
struct JsonText;

impl Content for JsonText {
    fn read(json: &mut Jiter<'_>, peek: Peek, out: &mut Vec<u8>) -> Result<(), Wrong> {
        text::copy(json, peek, out)
    }

    fn array(offsets: OffsetBuffer<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
        text_array(offsets, bytes, nulls)
    }
}

/// BYTEA. No JSON value fits it.
pub(in crate::formats) struct RawBytes;

impl Content for RawBytes {
    fn read(json: &mut Jiter<'_>, peek: Peek, _: &mut Vec<u8>) -> Result<(), Wrong> {
        Err(Wrong::type_of_next(json, peek, "BYTEA"))
    }

    fn array(offsets: OffsetBuffer<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(BinaryArray::new(offsets, bytes.into(), nulls))
    }
}

/// All appended bytes are valid UTF-8, so the array's own check never fails.
fn text_array(offsets: OffsetBuffer<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(StringArray::new(offsets, bytes.into(), nulls))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::kernels::cast_utils::parse_decimal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_is_the_number_that_was_written() {
        for (text, value) in [
            ("12.349", Some(1234)),
            ("-0.009", Some(0)),
            ("+7", Some(700)),
            ("1e3", Some(100_000)),
            ("1.5E-1", Some(15)),
            ("0.000000000000000000001e20", Some(10)),
            ("0e999999999999999999999", Some(0)),
            ("1e-999999999999999999999", Some(0)),
            ("99999999.99", Some(9_999_999_999)),
            ("00000000000000000000000000000000000000000000000001", Some(100)),
            ("100000000", None),
            ("1e8", None),
            ("1e999", None),
            ("1e99999999999999999999", None),
            ("1e65536", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1e+", None),
            ("e5", None),
            ("1.2.3", None),
            ("--1", None),
            ("1_000", None),
            ("NaN", None),
            ("٣", None),
        ] {
            assert_eq!(decimal(text, 10, 2), value, "{text}");
        }
        let long = format!("1{}", "0".repeat(260));
        assert_eq!(decimal(&long, 10, 2), None);
        assert_eq!(decimal(&format!("0.{}", "1".repeat(10_000)), 10, 2), Some(11));
        assert_eq!(decimal(&"9".repeat(38), 38, 0), Some(10_i128.pow(38) - 1));
    }

    proptest! {
        #[test]
        fn short_decimals_are_read_as_arrow_reads_them(text in "[+-]?[0-9]{1,12}(\\.[0-9]{1,8})?") {
            prop_assert_eq!(decimal(&text, 18, 4), parse_decimal::<Decimal128Type>(&text, 18, 4).ok(), "{}", text);
        }
    }
}
