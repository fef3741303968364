//! `json_get_int`, `json_get_float` and `json_get_bool`, as narrow as Arroyo's.
//!
//! The crate that both engines take their JSON functions from has widened these three since the version that Arroyo
//! has: there, text is never a number, a number with a fraction or an exponent is no integer, and **negative numbers
//! are NULL** (`json_as_text` and `->>` with a CAST read them). A row must not come out otherwise here than there.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_functions_json::udfs::json_get_json_udf;

/// From this many digits on, Arroyo's reader makes a number of another kind of an integer.
const TOO_MANY_DIGITS: usize = 19;

pub(super) fn json_get_int() -> Arc<ScalarUDF> {
    function(Value::Int)
}

pub(super) fn json_get_float() -> Arc<ScalarUDF> {
    function(Value::Float)
}

pub(super) fn json_get_bool() -> Arc<ScalarUDF> {
    function(Value::Bool)
}

fn function(value: Value) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JsonGet { value, signature: Signature::variadic_any(Volatility::Immutable) }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Value {
    Int,
    Float,
    Bool,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    value: Value,
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &'static str {
        match self.value {
            Value::Int => "json_get_int",
            Value::Float => "json_get_float",
            Value::Bool => "json_get_bool",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        // It takes the same arguments, and says so when it gets others.
        json_get_json_udf().return_type(types)?;
        Ok(match self.value {
            Value::Int => DataType::Int64,
            Value::Float => DataType::Float64,
            Value::Bool => DataType::Boolean,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.return_field = Arc::new(Field::new("json", DataType::Utf8, true));
        match json_get_json_udf().invoke_with_args(args)? {
            ColumnarValue::Array(json) => Ok(ColumnarValue::Array(self.read(&json)?)),
            ColumnarValue::Scalar(json) => {
                let value = self.read(&json.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
            }
        }
    }
}

impl JsonGet {
    fn read(&self, json: &ArrayRef) -> Result<ArrayRef> {
        let Some(json) = json.as_string_opt::<i32>() else {
            return exec_err!("{} takes TEXT", self.name());
        };
        let values = json.iter();
        Ok(match self.value {
            Value::Int => Arc::new(values.map(|json| json.and_then(int)).collect::<Int64Array>()),
            Value::Float => Arc::new(values.map(|json| json.and_then(float)).collect::<Float64Array>()),
            Value::Bool => Arc::new(values.map(|json| json.and_then(|j| j.parse().ok())).collect::<BooleanArray>()),
        })
    }
}

fn int(json: &str) -> Option<i64> {
    let digits = json.len() < TOO_MANY_DIGITS && json.bytes().all(|b| b.is_ascii_digit());
    if digits { json.parse().ok() } else { None }
}

fn float(json: &str) -> Option<f64> {
    if json.starts_with(|c: char| c.is_ascii_digit()) { json.parse().ok() } else { None }
}
