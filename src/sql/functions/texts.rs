//! Text functions whose edge cases differ in Arroyo's DataFusion 48: empty text, NULL, positions outside the text, and
//! the definition of a character.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::TypeSignature::Exact;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use unicode_segmentation::UnicodeSegmentation;

use super::own::{Adjusted, Own, as_first, over_columns};

const TEXT: DataType = DataType::Utf8;
const BIGINT: DataType = DataType::Int64;

/// Characters as a reader counts them: DataFusion 48 splits text into extended grapheme clusters.
fn graphemes(text: &str) -> Vec<&str> {
    text.graphemes(true).collect()
}

pub(super) fn functions() -> Vec<ScalarUDF> {
    let padded = || vec![Exact(vec![TEXT, BIGINT]), Exact(vec![TEXT, BIGINT, TEXT])];
    vec![
        Own::function("chr", vec![Exact(vec![BIGINT])], |_| Ok(TEXT), chr),
        Own::function("lpad", padded(), as_first, |args| pad("lpad", args, |padding, text| padding + text)),
        Own::function(
            "overlay",
            vec![Exact(vec![TEXT, TEXT, BIGINT, BIGINT]), Exact(vec![TEXT, TEXT, BIGINT])],
            as_first,
            overlay,
        ),
        Own::function("replace", vec![Exact(vec![TEXT, TEXT, TEXT])], as_first, replace),
        Own::function("rpad", padded(), as_first, |args| {
            pad("rpad", args, |padding, text| text.to_string() + &padding)
        }),
        Own::function("split_part", vec![Exact(vec![TEXT, TEXT, BIGINT])], as_first, split_part),
        Own::function("translate", vec![Exact(vec![TEXT, TEXT, TEXT])], as_first, translate),
    ]
}

/// The adjusted version of a DataFusion function, by name.
pub(super) fn adjusted(name: &str, from: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    Some(match name {
        "string_to_array" => Adjusted::function(from, string_to_array),
        _ => return None,
    })
}

fn text(args: &[ArrayRef], at: usize) -> &StringArray {
    args[at].as_string()
}

fn whole(args: &[ArrayRef], at: usize) -> &Int64Array {
    args[at].as_primitive()
}

/// `chr(0)` is rejected.
fn chr(args: &[ArrayRef]) -> Result<ArrayRef> {
    let one = |code: Option<i64>| match code {
        None => Ok(None),
        Some(0) => exec_err!("chr(0) is not a valid character"),
        // Of a code that is too large, the lower 32 bits count.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as it is there")]
        Some(code) => char::from_u32(code as u32)
            .map(|c| Some(c.to_string()))
            .ok_or_else(|| exec_datafusion_err!("there is no character {code}")),
    };
    Ok(Arc::new(whole(args, 0).iter().map(one).collect::<Result<StringArray>>()?))
}

/// `overlay(text PLACING new FROM start FOR length)` counts the text's length in characters but cuts it by bytes, and
/// drops a text that ends before the start. A cut inside a character is an error.
fn overlay(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, news, starts) = (text(args, 0), text(args, 1), whole(args, 2));
    let lengths = args.get(3).map(AsArray::as_primitive::<Int64Type>);
    let one = |row: usize| {
        if texts.is_null(row) || news.is_null(row) || starts.is_null(row) || lengths.is_some_and(|l| l.is_null(row)) {
            return Ok(None);
        }
        let (text, new, start) = (texts.value(row), news.value(row), starts.value(row));
        let count = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let characters = count(text);
        let replaced = lengths.map_or_else(|| count(new), |lengths| lengths.value(row).min(characters));
        let cut = |at: i64| {
            let at = usize::try_from(at).ok().filter(|at| text.is_char_boundary(*at));
            at.ok_or_else(|| exec_datafusion_err!("overlay cuts '{text}' inside a character: it counts bytes"))
        };
        let mut out = String::new();
        if start > 1 && start - 1 < characters {
            out.push_str(&text[..cut(start - 1)?]);
        }
        out.push_str(new);
        let end = start.saturating_add(replaced).saturating_sub(1);
        if end < characters {
            out.push_str(&text[cut(end)?..]);
        }
        Ok(Some(out))
    };
    Ok(Arc::new((0..texts.len()).map(one).collect::<Result<StringArray>>()?))
}

/// An empty search text matches between all characters.
#[allow(clippy::unnecessary_wraps, reason = "the shape of `Own`")]
fn replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let one = |((text, from), to): ((Option<&str>, Option<&str>), Option<&str>)| Some(text?.replace(from?, to?));
    Ok(Arc::new(text(args, 0).iter().zip(text(args, 1)).zip(text(args, 2)).map(one).collect::<StringArray>()))
}

/// An empty delimiter matches between all characters, before the first and after the last. Part 0 is rejected.
fn split_part(args: &[ArrayRef]) -> Result<ArrayRef> {
    let one = |((text, delimiter), part): ((Option<&str>, Option<&str>), Option<i64>)| {
        let (Some(text), Some(delimiter), Some(part)) = (text, delimiter, part) else { return Ok(None) };
        let nth = usize::try_from(part.unsigned_abs()).unwrap_or(usize::MAX);
        let found = match part {
            0 => return exec_err!("split_part counts its parts from 1, or from -1 at the end: there is no part 0"),
            1.. => text.split(delimiter).nth(nth - 1),
            _ => text.split(delimiter).collect::<Vec<_>>().into_iter().nth_back(nth - 1),
        };
        Ok(Some(found.unwrap_or_default().to_string()))
    };
    let parts = text(args, 0).iter().zip(text(args, 1)).zip(whole(args, 2)).map(one);
    Ok(Arc::new(parts.collect::<Result<StringArray>>()?))
}

/// Each character of `from` becomes the one at the same position in `to`, or is removed. The last position of a
/// duplicate counts.
#[allow(clippy::unnecessary_wraps, reason = "the shape of `Own`")]
fn translate(args: &[ArrayRef]) -> Result<ArrayRef> {
    let one = |((text, from), to): ((Option<&str>, Option<&str>), Option<&str>)| {
        let (text, from, to) = (graphemes(text?), graphemes(from?), graphemes(to?));
        let places: HashMap<&str, usize> = from.into_iter().enumerate().map(|(place, c)| (c, place)).collect();
        let translated = |c| places.get(c).map_or(Some(c), |place| to.get(*place).copied());
        Some(text.into_iter().filter_map(translated).collect::<String>())
    };
    let texts = text(args, 0).iter().zip(text(args, 1)).zip(text(args, 2));
    Ok(Arc::new(texts.map(one).collect::<StringArray>()))
}

/// Pads or cuts a text to a length; a negative length is 0. The padding is counted in code points.
fn pad(name: &str, args: &[ArrayRef], join: fn(padding: String, text: &str) -> String) -> Result<ArrayRef> {
    let (texts, lengths) = (text(args, 0), whole(args, 1));
    let fills = args.get(2).map(AsArray::as_string::<i32>);
    let one = |row: usize| {
        let fill = fills.map_or(Some(" "), |fills| fills.is_valid(row).then(|| fills.value(row)));
        let (true, true, Some(fill)) = (texts.is_valid(row), lengths.is_valid(row), fill) else { return Ok(None) };
        let (text, length) = (texts.value(row), lengths.value(row));
        if length > i64::from(i32::MAX) {
            return exec_err!("{name} cannot make a text of {length} characters");
        }
        let length = usize::try_from(length).unwrap_or_default();
        let characters = graphemes(text);
        Ok(Some(match length.checked_sub(characters.len()) {
            Some(missing) => join(fill.chars().cycle().take(missing).collect(), text),
            None => characters[..length].concat(),
        }))
    };
    Ok(Arc::new((0..texts.len()).map(one).collect::<Result<StringArray>>()?))
}

/// An empty text is one empty part, not zero parts.
fn string_to_array(from: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    use datafusion::arrow::array::builder::{ListBuilder, StringBuilder};
    let arguments = args.args.clone();
    let split = from.invoke_with_args(args)?;
    over_columns(&[&[split], arguments.as_slice()].concat(), |columns| {
        let [split, texts, _, nulls @ ..] = columns else { return exec_err!("string_to_array takes a text") };
        let texts = cast(texts, &TEXT)?;
        let texts: &StringArray = texts.as_string();
        let (DataType::List(field), true) = (split.data_type(), texts.iter().any(|text| text == Some(""))) else {
            return Ok(Arc::clone(split));
        };
        let null = nulls.first().map(|null| cast(null, &TEXT)).transpose()?;
        let lists = split.as_list::<i32>();
        let mut out = ListBuilder::new(StringBuilder::new());
        for row in 0..lists.len() {
            if texts.is_valid(row) && texts.value(row).is_empty() && lists.is_valid(row) {
                let is_null =
                    null.as_ref().is_some_and(|n| n.is_valid(row) && n.as_string::<i32>().value(row).is_empty());
                out.append_value([(!is_null).then_some("")]);
            } else if lists.is_null(row) {
                out.append_null();
            } else {
                let parts = cast(&lists.value(row), &TEXT)?;
                out.append_value(parts.as_string::<i32>());
            }
        }
        Ok(cast(&out.finish(), &DataType::List(Arc::clone(field)))?)
    })
}
