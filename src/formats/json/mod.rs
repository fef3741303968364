//! `format = 'json'`: a message is one JSON object whose keys are the columns.
//!
//! Rows are read and written as in Arroyo, with one exception: for invalid JSON text in a `JSON` column, Arroyo writes
//! broken JSON, and this module writes a string.

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

/// How timestamps are written.
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
    /// `None` if a column has a type that is not [`readable`].
    pub(super) fn new(schema: &Schema) -> Option<Self> {
        Some(Self { columns: Object::new(schema.fields(), columns::columns(schema.fields())?), rows: 0 })
    }

    /// Appends a row, or nothing on an error.
    ///
    /// # Errors
    /// The error of the message, in a sentence.
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
        // Invalid JSON is reported before a value that does not fit.
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
