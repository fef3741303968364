//! `encode` and `decode` as in Arroyo's DataFusion 48: only hex, and base64 without padding.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::own::Adjusted;

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    match name {
        "encode" => Some(Adjusted::function(from, encode)),
        "decode" => Some(Adjusted::function(from, decode)),
        _ => None,
    }
}

fn encoding(args: &ScalarFunctionArgs) -> Result<Option<String>> {
    let Some(ColumnarValue::Scalar(encoding)) = args.args.get(1) else { return Ok(None) };
    let encoding = encoding.try_as_str().flatten().map(str::to_lowercase);
    match encoding.as_deref() {
        None | Some("base64" | "hex") => Ok(encoding),
        Some(other) => exec_err!("there is no encoding '{other}': base64 and hex are known"),
    }
}

fn encode(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    encoding(&args)?;
    from.invoke_with_args(args)
}

/// Base64 with padding is an error.
fn decode(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let padded = |texts: &ArrayRef| -> Result<bool> {
        let bytes = cast(texts, &DataType::Binary)?;
        Ok(bytes.as_binary::<i32>().iter().flatten().any(|text| text.ends_with(b"=")))
    };
    if encoding(&args)?.as_deref() == Some("base64") {
        let some_padded = match args.args.first() {
            Some(ColumnarValue::Array(texts)) => padded(texts)?,
            Some(ColumnarValue::Scalar(text)) if *text != ScalarValue::Null => padded(&text.to_array()?)?,
            _ => false,
        };
        if some_padded {
            return exec_err!("decode takes base64 without padding: write decode(rtrim(…, '='), 'base64')");
        }
    }
    from.invoke_with_args(args)
}
