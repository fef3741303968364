//! The `json_…` functions as in `datafusion-functions-json` 0.48, which Arroyo uses.
//!
//! The embedded version is less strict. In 0.48, text is never a number, a number with a fraction or an exponent is not
//! an integer, and **negative numbers are NULL** in `json_get` and the three functions that read numbers
//! (`json_as_text` and `->>` with a CAST do read them). A row must have the same result on both engines.

use std::sync::Arc;

use datafusion::arrow::array::builder::{ListBuilder, StringBuilder};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_functions_json::udfs::json_get_udf;
use jiter::{Jiter, JiterResult, Peek};

use super::json_find::{Path, is_text};

/// From this number of digits on, the reader of 0.48 stores an integer as another kind of number.
const TOO_MANY_DIGITS: usize = 19;

/// The result that a function makes of the value it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reads {
    /// `json_get`, `->`: a JSON value. The CAST around it decides its type.
    Any,
    /// `json_as_text`, `->>`: text without its quotes, anything else as JSON; `null` is NULL.
    AnyAsText,
    Bool,
    Float,
    Int,
    Json,
    Text,
    /// `json_contains`, `?`: whether there is a value.
    Whether,
    Length,
    Keys,
}

const ALL: [Reads; 10] = [
    Reads::Any,
    Reads::AnyAsText,
    Reads::Bool,
    Reads::Float,
    Reads::Int,
    Reads::Json,
    Reads::Text,
    Reads::Whether,
    Reads::Length,
    Reads::Keys,
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    ALL.iter().map(|reads| reads.new_function()).collect()
}

impl Reads {
    /// The function for this result.
    pub(super) fn function(self) -> Arc<ScalarUDF> {
        Arc::new(self.new_function())
    }

    fn new_function(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(JsonFunction {
            reads: self,
            signature: Signature::variadic_any(Volatility::Immutable),
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonFunction {
    reads: Reads,
    signature: Signature,
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &'static str {
        match self.reads {
            Reads::Any => "json_get",
            Reads::AnyAsText => "json_as_text",
            Reads::Bool => "json_get_bool",
            Reads::Float => "json_get_float",
            Reads::Int => "json_get_int",
            Reads::Json => "json_get_json",
            Reads::Text => "json_get_str",
            Reads::Whether => "json_contains",
            Reads::Length => "json_length",
            Reads::Keys => "json_object_keys",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let name = self.name();
        let Some((json, keys)) = types.split_first() else {
            return plan_err!("`{name}` takes JSON text and a path");
        };
        if self.reads == Reads::Whether && keys.is_empty() {
            return plan_err!("`{name}` takes JSON text and at least one step of a path");
        }
        if !is_text(json) && !matches!(json, DataType::Union(..)) {
            return plan_err!("`{name}` takes JSON text as its first argument, not {json}");
        }
        let step = |t: &DataType| is_text(t) || matches!(t, DataType::Int64 | DataType::UInt64);
        if let Some(wrong) = keys.iter().find(|t| !step(t)) {
            return plan_err!("a step of the path of `{name}` is TEXT or BIGINT, not {wrong}");
        }
        Ok(match self.reads {
            Reads::Any => json_get_udf().return_type(&[DataType::Utf8])?,
            Reads::AnyAsText | Reads::Json | Reads::Text => DataType::Utf8,
            Reads::Bool | Reads::Whether => DataType::Boolean,
            Reads::Float => DataType::Float64,
            Reads::Int => DataType::Int64,
            Reads::Length => DataType::UInt64,
            Reads::Keys => DataType::new_list(DataType::Utf8, true),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((json, keys)) = args.args.split_first() else {
            return exec_err!("{} takes JSON text and a path", self.name());
        };
        let path = Path::of(keys)?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let json = text(&json.to_array(if constant { 1 } else { args.number_rows })?, &path)?;
        let values = self.reads.all(json.as_string(), &path)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        } else {
            ColumnarValue::Array(values)
        })
    }
}

/// The first argument as text. For a JSON value it is the array or the object, whichever the path can enter.
fn text(json: &ArrayRef, path: &Path<'_>) -> Result<ArrayRef> {
    let DataType::Union(fields, _) = json.data_type() else { return Ok(cast(json, &DataType::Utf8)?) };
    let wanted = if path.starts_with_key() { "object" } else { "array" };
    let Some((id, _)) = fields.iter().find(|(_, field)| field.name() == wanted) else {
        return exec_err!("a JSON function takes JSON text");
    };
    Ok(Arc::clone(json.as_union().child(id)))
}

impl Reads {
    fn all(self, json: &StringArray, path: &Path<'_>) -> Result<ArrayRef> {
        let found = |row: usize| path.follow(json.is_valid(row).then(|| json.value(row))?, row);
        let rows = 0..json.len();
        Ok(match self {
            Self::Whether => {
                Arc::new(rows.map(|row| path.is_known(row).then(|| found(row).is_some())).collect::<BooleanArray>())
            }
            Self::Text => Arc::new(rows.map(|row| string(found(row)?)).collect::<StringArray>()),
            Self::Length => Arc::new(rows.map(|row| length(found(row)?).ok()?).collect::<UInt64Array>()),
            Self::Keys => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in rows {
                    lists
                        .append_option(found(row).and_then(|found| keys(found).ok()?).map(|k| k.into_iter().map(Some)));
                }
                Arc::new(lists.finish())
            }
            Self::AnyAsText => Arc::new(
                rows.map(|row| {
                    let found = found(row)?;
                    match found.1 {
                        Peek::Null => None,
                        Peek::String => string(found),
                        _ => raw(json.value(row), found).map(str::to_string),
                    }
                })
                .collect::<StringArray>(),
            ),
            Self::Json | Self::Any | Self::Bool | Self::Float | Self::Int => {
                let raw = rows.map(|row| raw(json.value(row), found(row)?));
                match self {
                    Self::Bool => Arc::new(raw.map(|json| json?.parse().ok()).collect::<BooleanArray>()),
                    Self::Float => Arc::new(raw.map(|json| float(json?)).collect::<Float64Array>()),
                    Self::Int => Arc::new(raw.map(|json| int(json?)).collect::<Int64Array>()),
                    Self::Any => any(raw.map(|json| json.filter(|json| !json.starts_with('-'))).collect())?,
                    _ => Arc::new(raw.collect::<StringArray>()),
                }
            }
        })
    }
}

/// JSON values, which are a union of types. The crate assembles them.
fn any(json: StringArray) -> Result<ArrayRef> {
    let rows = json.len();
    let function = json_get_udf();
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(Arc::new(json))],
        arg_fields: vec![Arc::new(Field::new("json", DataType::Utf8, true))],
        number_rows: rows,
        return_field: Arc::new(Field::new("value", function.return_type(&[DataType::Utf8])?, true)),
        config_options: Arc::default(),
    };
    function.invoke_with_args(args)?.into_array(rows)
}

type Found<'j> = (Jiter<'j>, Peek);

/// The text of the found value, as written in `json`.
fn raw<'j>(json: &'j str, (mut reader, peek): Found<'j>) -> Option<&'j str> {
    let start = reader.current_index();
    reader.known_skip(peek).ok()?;
    json.get(start..reader.current_index())
}

fn string((mut reader, peek): Found<'_>) -> Option<String> {
    if peek == Peek::String { reader.known_str().ok().map(str::to_string) } else { None }
}

fn length((mut reader, peek): Found<'_>) -> JiterResult<Option<u64>> {
    let mut length = 0;
    match peek {
        Peek::Array => {
            let mut next = reader.known_array()?;
            while let Some(item) = next {
                reader.known_skip(item)?;
                length += 1;
                next = reader.array_step()?;
            }
        }
        Peek::Object => {
            let mut more = reader.known_object()?.is_some();
            while more {
                reader.next_skip()?;
                length += 1;
                more = reader.next_key()?.is_some();
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(length))
}

fn keys((mut reader, peek): Found<'_>) -> JiterResult<Option<Vec<String>>> {
    if peek != Peek::Object {
        return Ok(None);
    }
    let mut keys = Vec::new();
    let mut next = reader.known_object()?.map(str::to_string);
    while let Some(key) = next {
        keys.push(key);
        reader.next_skip()?;
        next = reader.next_key()?.map(str::to_string);
    }
    Ok(Some(keys))
}

fn int(json: &str) -> Option<i64> {
    let digits = json.len() < TOO_MANY_DIGITS && json.bytes().all(|b| b.is_ascii_digit());
    if digits { json.parse().ok() } else { None }
}

fn float(json: &str) -> Option<f64> {
    if json.starts_with(|c: char| c.is_ascii_digit()) { json.parse().ok() } else { None }
}
