//! Follows a path in JSON text step by step, without reading the rest of it.
//!
//! It works as in `datafusion-functions-json` 0.48, which Arroyo uses: a text step enters only objects, a number only
//! arrays. (The embedded version accepts `'0'` as an index and counts `-1` from the end.)

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::ColumnarValue;
use jiter::{Jiter, Peek};

/// One step of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
    /// NULL or a negative index. No value has it.
    Nowhere,
}

/// A path: the same for all rows, or a single step from a column.
pub(super) enum Path<'a> {
    Same(Vec<Step<'a>>),
    Column(&'a ArrayRef),
}

impl<'a> Path<'a> {
    /// The path in a call, after its first argument.
    ///
    /// # Errors
    /// A column is one of several steps.
    pub(super) fn of(keys: &'a [ColumnarValue]) -> Result<Self> {
        if let [ColumnarValue::Array(column)] = keys {
            return Ok(Self::Column(column));
        }
        let step = |key: &'a ColumnarValue| match key {
            ColumnarValue::Array(_) => {
                exec_err!("a column in the path of a JSON function must be its only step")
            }
            ColumnarValue::Scalar(key) => Ok(literal(key)),
        };
        Ok(Self::Same(keys.iter().map(step).collect::<Result<_>>()?))
    }

    /// Whether the path enters an object first. It decides which member of a non-text JSON value is read.
    pub(super) fn starts_with_key(&self) -> bool {
        match self {
            Self::Same(steps) => matches!(steps.first(), Some(Step::Key(_))),
            Self::Column(column) => is_text(column.data_type()),
        }
    }

    /// Whether a row has a path. A step from a column may be NULL.
    pub(super) fn is_known(&self, row: usize) -> bool {
        matches!(self, Self::Same(_)) || matches!(self, Self::Column(column) if column.is_valid(row))
    }

    /// Follows the path in a row's JSON. The returned reader stands before the value.
    pub(super) fn follow<'j>(&self, json: &'j str, row: usize) -> Option<(Jiter<'j>, Peek)> {
        match self {
            Self::Same(steps) => follow(json, steps),
            Self::Column(column) => follow(json, &[cell(column, row)?]),
        }
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn literal(key: &ScalarValue) -> Step<'_> {
    match key {
        ScalarValue::Int64(Some(index)) => position(*index),
        ScalarValue::UInt64(Some(index)) => position(*index),
        key => key.try_as_str().flatten().map_or(Step::Nowhere, Step::Key),
    }
}

fn cell(column: &ArrayRef, row: usize) -> Option<Step<'_>> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Int64 => position(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => position(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Utf8View => Step::Key(column.as_string_view().value(row)),
        DataType::LargeUtf8 => Step::Key(column.as_string::<i64>().value(row)),
        DataType::Utf8 => Step::Key(column.as_string::<i32>().value(row)),
        _ => return None,
    })
}

fn position<'a>(index: impl TryInto<usize>) -> Step<'a> {
    index.try_into().map_or(Step::Nowhere, Step::Index)
}

fn follow<'j>(json: &'j str, path: &[Step<'_>]) -> Option<(Jiter<'j>, Peek)> {
    let mut reader = Jiter::new(json.as_bytes());
    let mut peek = reader.peek().ok()?;
    for step in path {
        match step {
            Step::Key(wanted) if peek == Peek::Object => {
                let mut key = reader.known_object().ok()??;
                while key != *wanted {
                    reader.next_skip().ok()?;
                    key = reader.next_key().ok()??;
                }
                peek = reader.peek().ok()?;
            }
            Step::Index(index) if peek == Peek::Array => {
                peek = reader.known_array().ok()??;
                for _ in 0..*index {
                    reader.known_skip(peek).ok()?;
                    peek = reader.array_step().ok()??;
                }
            }
            _ => return None,
        }
    }
    Some((reader, peek))
}
