//! Decodes messages, or the frames that they are split into, to columns: one row each.

use datafusion::arrow::array::ArrayRef;

use super::json::{Bytes, JsonFormat, JsonReader, PlainText, RawBytes};
use super::{Format, Kind};
use crate::sql::table::TableDef;

/// The error of a message that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadData {
    /// The error as a clause: ``column `score` is DOUBLE, which `"high"` is not``. Long values are cut.
    pub message: String,
}

/// Decodes messages to columns. A message that cannot be read leaves no trace in them.
pub struct Decoder {
    rows: Rows,
}

enum Rows {
    Json(JsonReader),
    Text(Bytes<PlainText>),
    Bytes(Bytes<RawBytes>),
    /// Columns that the format cannot fill. [`Format::read`] rejects such tables, so this is never used for a row.
    Misfit,
}

impl Decoder {
    /// A decoder for a table, whose format has been read from it.
    #[must_use]
    pub fn new(format: &Format, table: &TableDef) -> Self {
        let rows = match format.kind {
            Kind::RawString | Kind::Json(JsonFormat { unstructured: true, .. }) => Rows::Text(Bytes::new()),
            Kind::RawBytes => Rows::Bytes(Bytes::new()),
            Kind::Json(_) => JsonReader::new(&table.data_schema()).map_or(Rows::Misfit, Rows::Json),
        };
        Self { rows }
    }

    /// Appends the row of a frame. Returns false for an empty frame, which is not JSON and so not a row. (An empty
    /// message, such as an empty line or a tombstone, has no frames in any format.)
    ///
    /// # Errors
    /// The message is bad.
    pub fn push(&mut self, payload: &[u8]) -> Result<bool, BadData> {
        if payload.is_empty() && matches!(self.rows, Rows::Json(_)) {
            return Ok(false);
        }
        let full = || "the rows of one batch hold more than 2 GB of text".to_string();
        let result = match &mut self.rows {
            Rows::Json(reader) => reader.push(payload),
            Rows::Text(column) => {
                if column.push(String::from_utf8_lossy(payload).as_bytes()) {
                    Ok(())
                } else {
                    Err(full())
                }
            }
            Rows::Bytes(column) => {
                if column.push(payload) {
                    Ok(())
                } else {
                    Err(full())
                }
            }
            Rows::Misfit => Err("the columns of the table do not fit its format".to_string()),
        };
        result.map(|()| true).map_err(|message| BadData { message })
    }

    /// The data columns of all rows since the last call, in the table's order.
    ///
    /// # Errors
    /// None today: bad data is found when it is pushed.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, BadData> {
        Ok(match &mut self.rows {
            Rows::Json(reader) => reader.finish(),
            Rows::Text(column) => vec![column.take()],
            Rows::Bytes(column) => vec![column.take()],
            Rows::Misfit => Vec::new(),
        })
    }
}
