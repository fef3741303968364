//! `to_char` as in Arroyo's DataFusion 48: a DATE has no time of day to format, and if the format is not constant, NULL
//! is written as an empty text.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::own::over_columns;

pub(super) fn function(from: &Arc<ScalarUDF>) -> ScalarUDF {
    ScalarUDF::new_from_impl(ToChar { from: Arc::clone(from), is_constant: true })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    from: Arc<ScalarUDF>,
    /// Whether the format is a literal. Only the plan knows: a CASE that gives the same text for all rows of a batch
    /// also yields a constant.
    is_constant: bool,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        self.from.name()
    }

    fn signature(&self) -> &Signature {
        self.from.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.from.return_type(types)
    }

    /// At this point, every constant is a literal.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if !self.is_constant || matches!(args.as_slice(), [_, Expr::Literal(..)]) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let varying = ScalarUDF::new_from_impl(Self { from: Arc::clone(&self.from), is_constant: false });
        Ok(ExprSimplifyResult::Simplified(varying.call(args)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| {
            let [values, formats] = columns else { return exec_err!("to_char takes a date or time and a format") };
            let formats = cast(formats, &DataType::Utf8)?;
            written(values, formats.as_string(), (!self.is_constant).then_some(""))
        })
    }
}

/// Formats each value; NULL values become `null`.
fn written(values: &ArrayRef, formats: &StringArray, null: Option<&str>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    let mut row = 0;
    while row < values.len() {
        if formats.is_null(row) {
            out.append_null();
            row += 1;
            continue;
        }
        // Most often all rows have the same format.
        let format = formats.value(row);
        let options = options(values.data_type(), format)?;
        let formatter = ArrayFormatter::try_new(values, &options)?;
        while row < values.len() && formats.is_valid(row) && formats.value(row) == format {
            if values.is_null(row) {
                out.append_option(null);
            } else {
                let text = formatter.value(row).try_to_string();
                out.append_value(text.map_err(|error| {
                    let why = match values.data_type() {
                        DataType::Date32 => "a DATE has no time: write CAST(… AS TIMESTAMP) inside".to_string(),
                        _ => error.to_string(),
                    };
                    exec_datafusion_err!("to_char cannot write '{format}': {why}")
                })?);
            }
            row += 1;
        }
    }
    Ok(Arc::new(out.finish()))
}

fn options<'a>(data_type: &DataType, format: &'a str) -> Result<FormatOptions<'a>> {
    let options = FormatOptions::new();
    Ok(match data_type {
        DataType::Date32 => options.with_date_format(Some(format)),
        DataType::Date64 => options.with_datetime_format(Some(format)),
        DataType::Time32(_) | DataType::Time64(_) => options.with_time_format(Some(format)),
        DataType::Timestamp(..) => options.with_timestamp_format(Some(format)).with_timestamp_tz_format(Some(format)),
        DataType::Duration(_) if format.eq_ignore_ascii_case("ISO8601") => {
            options.with_duration_format(DurationFormat::ISO8601)
        }
        DataType::Duration(_) => options.with_duration_format(DurationFormat::Pretty),
        other => return exec_err!("to_char takes a date, a time or a duration, not {other}"),
    })
}
