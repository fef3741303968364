//! `format = 'json'`: a message is one JSON object, its keys are the columns.
//!
//! Rows come in and go out as Arroyo's do; where Arroyo writes broken JSON (text that is none in a `JSON` column), a
//! string is written instead.

mod column;
mod columns;
mod kafka_schema;
mod nested;
pub(crate) mod text;
mod writer;
mod wrong;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{Field, Schema};
use jiter::{Jiter, JsonErrorType, Peek};

pub(super) use columns::{Bytes, PlainText, RawBytes};
pub(super) use kafka_schema::kafka_schema;
use nested::Object;
pub(super) use writer::JsonWriter;
use wrong::Wrong;

/// How points in time are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TimestampFormat {
    /// `"2026-03-01T08:15:30.123"`.
    #[default]
    Rfc3339,
    /// `1772352930123`.
    UnixMillis,
}

/// How DECIMAL is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum DecimalEncoding {
    /// `12.30`.
    #[default]
    Number,
    /// `"12.30"`.
    Text,
    /// The unscaled number in base64, big-endian, 16 bytes.
    Bytes,
}

/// The `json.` options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct JsonFormat {
    pub unstructured: bool,
    pub include_schema: bool,
    pub timestamps: TimestampFormat,
    pub decimals: DecimalEncoding,
}

/// Whether a column of a JSON source can have this type.
pub(super) fn readable(field: &Field) -> bool {
    columns::column(field).is_some()
}

/// Reads rows, one message each.
pub(super) struct JsonReader {
    columns: Object,
    rows: usize,
}

impl JsonReader {
    /// `None` when a column has a type that is not [`readable`].
    pub(super) fn new(schema: &Schema) -> Option<Self> {
        Some(Self { columns: Object::new(schema.fields(), columns::columns(schema.fields())?), rows: 0 })
    }

    /// Appends a row, or nothing at all.
    ///
    /// # Errors
    /// What is wrong with the message, in a sentence.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), String> {
        if let Err(error) = str::from_utf8(payload) {
            return Err(format!("it is not text: byte {} is not valid UTF-8", error.valid_up_to() + 1));
        }
        self.read(payload).map_err(|wrong| {
            self.columns.truncate(self.rows);
            wrong.describe(payload)
        })?;
        self.rows += 1;
        Ok(())
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), Wrong> {
        let mut json = Jiter::new(payload);
        let read = match json.peek()? {
            Peek::Object => self.columns.read(&mut json, self.rows),
            peek => Err(Wrong::no_object(&mut json, peek)),
        };
        // Whether it is JSON at all comes before whether it fits.
        if read.as_ref().is_err_and(Wrong::is_syntax) {
            return read;
        }
        let end = json.current_index();
        json.finish().map_err(|_| Wrong::syntax(JsonErrorType::TrailingCharacters, end))?;
        read
    }

    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.finish()
    }
}
