//! SQL types to Arrow types and back, as Arroyo maps them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo};

/// The Arrow type of a SQL type; `JSON` is text.
///
/// # Errors
/// An explanation, if columns cannot have this type.
pub fn to_arrow(sql: &SqlType) -> Result<DataType, String> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::TinyIntUnsigned(_) => DataType::UInt8,
        SqlType::SmallIntUnsigned(_) | SqlType::Int2Unsigned(_) => DataType::UInt16,
        SqlType::IntUnsigned(_) | SqlType::IntegerUnsigned(_) | SqlType::Int4Unsigned(_) => DataType::UInt32,
        SqlType::BigIntUnsigned(_) | SqlType::Int8Unsigned(_) => DataType::UInt64,
        SqlType::Real | SqlType::Float4 | SqlType::Float(_) => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Char(_) | SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) | SqlType::JSON => DataType::Utf8,
        SqlType::Bytea => DataType::Binary,
        SqlType::Binary(_) | SqlType::Varbinary(_) | SqlType::Blob(_) => {
            return Err(format!("`{sql}` is not a supported type; bytes are BYTEA"));
        }
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(precision, TimezoneInfo::None) => DataType::Timestamp(timestamp_unit(*precision)?, None),
        SqlType::Datetime(_) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        SqlType::Timestamp(..) => {
            return Err(format!("`{sql}` is not a supported type; TIMESTAMP is UTC, without a zone"));
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) => decimal(info)?,
        SqlType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            if matches!(**element, SqlType::Array(_)) {
                return Err("an array of arrays is not supported; put the inner one into a STRUCT".into());
            }
            DataType::List(Arc::new(Field::new("item", to_arrow(element)?, true)))
        }
        SqlType::Struct(fields, _) => {
            let fields = fields.iter().map(|f| {
                let name = f.field_name.as_ref().ok_or("a field of a STRUCT needs a name: `STRUCT<name TEXT>`")?;
                Ok(Field::new(super::name_as_written(name), to_arrow(&f.field_type)?, true))
            });
            DataType::Struct(fields.collect::<Result<Fields, String>>()?)
        }
        other => return Err(format!("`{other}` is not a supported column type")),
    })
}

/// `TIMESTAMP(3)`: the unit for a number of digits.
fn timestamp_unit(digits: Option<u64>) -> Result<TimeUnit, String> {
    Ok(match digits {
        Some(0) => TimeUnit::Second,
        Some(3) => TimeUnit::Millisecond,
        Some(6) => TimeUnit::Microsecond,
        None | Some(9) => TimeUnit::Nanosecond,
        Some(other) => return Err(format!("TIMESTAMP({other}) is not a supported type; the digits are 0, 3, 6 or 9")),
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    let (Ok(p), Ok(s)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return Err(format!("DECIMAL({precision}, {scale}) is out of range"));
    };
    if p == 0 || p > 38 || s < 0 || s.unsigned_abs() > p {
        return Err(format!("DECIMAL({precision}, {scale}) is out of range: at most 38 digits"));
    }
    Ok(DataType::Decimal128(p, s))
}

/// The SQL name of an Arrow type, for messages.
#[must_use]
pub fn to_sql(arrow: &DataType) -> String {
    match arrow {
        DataType::Null => "NULL".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::UInt8 => "TINYINT UNSIGNED".into(),
        DataType::UInt16 => "SMALLINT UNSIGNED".into(),
        DataType::UInt32 => "INT UNSIGNED".into(),
        DataType::UInt64 => "BIGINT UNSIGNED".into(),
        DataType::Float16 | DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTEA".into()
        }
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::FixedSizeList(f, _)
        | DataType::ListView(f)
        | DataType::LargeListView(f) => {
            format!("{}[]", to_sql(f.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{} {}", f.name(), to_sql(f.data_type()))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Map(..) => "MAP".into(),
        DataType::Dictionary(_, value) => to_sql(value),
        DataType::RunEndEncoded(_, value) => to_sql(value.data_type()),
        DataType::Union(..) => "JSON value".into(),
    }
}
