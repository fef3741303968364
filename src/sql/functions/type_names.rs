//! `arrow_typeof`, with the type names of Arroyo's arrow 55.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(TypeOf(Signature::any(1, Volatility::Immutable)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf(Signature);

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &'static str {
        "arrow_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let named = args.args.first().map(|arg| match arg.data_type() {
            // A struct has a short name, but its full name inside another type.
            DataType::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|f| format!("{} {}", f.name(), short(f.data_type()))).collect();
                format!("Struct({})", fields.join(", "))
            }
            other => name(&other),
        });
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(named)))
    }
}

fn short(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{} {}", f.name(), short(f.data_type()))).collect();
            format!("Struct({})", fields.join(", "))
        }
        other => name(other),
    }
}

fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(of, zone) => format!("Timestamp({}, {zone:?})", unit(*of)),
        DataType::Time32(of) => format!("Time32({})", unit(*of)),
        DataType::Time64(of) => format!("Time64({})", unit(*of)),
        DataType::Duration(of) => format!("Duration({})", unit(*of)),
        DataType::List(item) => format!("List({})", field(item)),
        DataType::LargeList(item) => format!("LargeList({})", field(item)),
        DataType::FixedSizeList(item, size) => format!("FixedSizeList({}, {size})", field(item)),
        DataType::Map(entries, sorted) => format!("Map({}, {sorted})", field(entries)),
        DataType::Dictionary(key, value) => format!("Dictionary({}, {})", name(key), name(value)),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| field(f)).collect();
            format!("Struct([{}])", fields.join(", "))
        }
        DataType::Union(fields, mode) => {
            let fields: Vec<_> = fields.iter().map(|(id, f)| format!("({id}, {})", json_member(f))).collect();
            format!("Union([{}], {mode:?})", fields.join(", "))
        }
        plain => plain.to_string(),
    }
}

fn field(field: &Field) -> String {
    described(field, &field.metadata().iter().collect())
}

/// A member of a JSON value. arrow 55 prints only its `is_json` metadata.
fn json_member(member: &FieldRef) -> String {
    described(member, &member.metadata().iter().filter(|(key, _)| *key == "is_json").collect())
}

fn described(field: &Field, metadata: &std::collections::BTreeMap<&String, &String>) -> String {
    format!(
        "Field {{ name: {:?}, data_type: {}, nullable: {}, dict_id: 0, dict_is_ordered: false, metadata: {metadata:?} }}",
        field.name(),
        name(field.data_type()),
        field.is_nullable(),
    )
}

fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "Second",
        TimeUnit::Millisecond => "Millisecond",
        TimeUnit::Microsecond => "Microsecond",
        TimeUnit::Nanosecond => "Nanosecond",
    }
}
