//! The schema that `json.include_schema` adds to every row, in the format of Kafka Connect.

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use serde_json::{Value, json};

/// The schema of rows with these columns; `None` if it cannot express a type.
pub(in crate::formats) fn kafka_schema(fields: &Fields) -> Option<Value> {
    let fields: Vec<Value> = fields.iter().map(|field| one(field)).collect::<Option<_>>()?;
    Some(json!({ "type": "struct", "name": "ArroyoJson", "fields": fields, "optional": false }))
}

fn one(field: &Field) -> Option<Value> {
    let mut schema = match field.data_type() {
        DataType::Boolean => json!({ "type": "boolean" }),
        DataType::Int8 | DataType::UInt8 => json!({ "type": "int8" }),
        DataType::Int16 | DataType::UInt16 => json!({ "type": "int16" }),
        DataType::Int32 | DataType::UInt32 => json!({ "type": "int32" }),
        DataType::Int64 | DataType::UInt64 | DataType::Duration(_) | DataType::Interval(_) => {
            json!({ "type": "int64" })
        }
        DataType::Float16 | DataType::Float32 => json!({ "type": "float" }),
        DataType::Float64 => json!({ "type": "double" }),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!({ "type": "string" }),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            json!({ "type": "bytes" })
        }
        DataType::Timestamp(_, _) | DataType::Time32(_) | DataType::Time64(_) => {
            json!({ "type": "int64", "name": "org.apache.kafka.connect.data.Timestamp" })
        }
        DataType::Date32 | DataType::Date64 => json!({ "type": "int64", "name": "org.apache.kafka.connect.data.Date" }),
        DataType::Decimal128(_, scale) => {
            json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "scale": scale })
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            json!({ "type": "array", "items": one(item)? })
        }
        DataType::Struct(fields) => {
            let fields: Vec<Value> = fields.iter().map(|field| one(field)).collect::<Option<_>>()?;
            json!({ "type": "struct", "fields": fields })
        }
        _ => return None,
    };
    schema["field"] = json!(field.name());
    schema["optional"] = json!(field.is_nullable());
    Some(schema)
}
