//! `extract_json`, `extract_json_string` and `get_first_json_object`: JSONPath (RFC 9535) over text.
//!
//! Text that is not JSON gives NULL. Results have sorted keys, and numbers as they were written.

use std::sync::Arc;

use datafusion::arrow::array::builder::{ListBuilder, StringBuilder};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json_path::JsonPath;

use crate::sql::json::parse as parse_json;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let signature = || Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable);
    let function = |what| ScalarUDF::new_from_impl(Extract { what, signature: signature() });
    vec![function(What::All), function(What::FirstText), function(What::First)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// All matches, each as JSON.
    All,
    /// The first match if it is text, without quotes.
    FirstText,
    /// The first match, as JSON.
    First,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extract {
    what: What,
    signature: Signature,
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &'static str {
        match self.what {
            What::All => "extract_json",
            What::FirstText => "extract_json_string",
            What::First => "get_first_json_object",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::All => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            What::FirstText | What::First => DataType::Utf8,
        })
    }

    /// A wrong path is reported at planning, not at the first row.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.path(args.scalar_arguments.get(1).copied().flatten())?;
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, path] = args.args.as_slice() else {
            return exec_err!("{} takes a text and a path", self.name());
        };
        let path = self.path(match path {
            ColumnarValue::Scalar(path) => Some(path),
            ColumnarValue::Array(_) => None,
        })?;
        match text {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(self.extract(texts.as_string::<i32>(), &path))),
            ColumnarValue::Scalar(text) => {
                let texts = text.to_array_of_size(1)?;
                let found = self.extract(texts.as_string::<i32>(), &path);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?))
            }
        }
    }
}

impl Extract {
    fn path(&self, path: Option<&ScalarValue>) -> Result<JsonPath> {
        match path.map(ScalarValue::try_as_str) {
            Some(None) if path.is_some_and(ScalarValue::is_null) => plan_err!("the path of {} is NULL", self.name()),
            Some(Some(Some(path))) => JsonPath::parse(path)
                .map_err(|error| plan_datafusion_err!("the path `{path}` of {} is not JSONPath: {error}", self.name())),
            Some(Some(None)) => plan_err!("the path of {} is NULL", self.name()),
            Some(None) => plan_err!("the path of {} must be text", self.name()),
            None => plan_err!("the path of {} must be a literal, like '$.name'", self.name()),
        }
    }

    fn extract(&self, texts: &StringArray, path: &JsonPath) -> ArrayRef {
        let parsed = texts.iter().map(|text| text.and_then(parse_json));
        if self.what == What::All {
            let mut lists = ListBuilder::with_capacity(StringBuilder::new(), texts.len());
            for value in parsed {
                lists.append_option(
                    value.map(|v| path.query(&v).iter().map(|found| Some(found.to_string())).collect::<Vec<_>>()),
                );
            }
            return Arc::new(lists.finish());
        }
        let first = parsed.map(|value| {
            let value = value?;
            let found = path.query(&value).first()?;
            match self.what {
                What::FirstText => found.as_str().map(str::to_string),
                What::First | What::All => Some(found.to_string()),
            }
        });
        Arc::new(first.collect::<StringArray>())
    }
}
