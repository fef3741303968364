//! Encodes rows to messages, one message per row.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use serde_json::Value;

use super::json::{JsonWriter, kafka_schema};
use super::{Format, Kind};

/// The reason why rows cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EncodeError {
    /// The error, in a sentence.
    pub message: String,
}

impl From<ArrowError> for EncodeError {
    fn from(error: ArrowError) -> Self {
        Self { message: error.to_string() }
    }
}

/// The messages of a batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedRows {
    /// The number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A message.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)?;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start..end)
    }

    /// All messages, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row).unwrap_or_default())
    }

    /// All messages concatenated, with a line break after each.
    #[must_use]
    pub fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.bytes.len() + self.len());
        for row in self.iter() {
            lines.extend_from_slice(row);
            lines.push(b'\n');
        }
        lines
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// Encodes rows to messages.
///
/// The schema given to [`Encoder::new`] has the column names. The batch decides whether a text column is JSON, and so
/// written as JSON instead of a string. As in Arroyo, this property travels with the value from its source column; the
/// sink's declaration does not matter.
#[derive(Debug)]
pub struct Encoder {
    schema: SchemaRef,
    form: Form,
    /// The last schema and the fields used to write it. Rows from one place have the same schema.
    known: Mutex<Option<(SchemaRef, Fields)>>,
}

#[derive(Debug)]
enum Form {
    Json(JsonWriter),
    JsonWithSchema(JsonWriter, Vec<u8>),
    Raw(DataType),
}

impl Encoder {
    /// An encoder for rows of a table.
    #[must_use]
    pub fn new(format: &Format, schema: SchemaRef) -> Self {
        let form = match &format.kind {
            Kind::Json(json) => {
                let writer = JsonWriter::new(*json);
                match json.include_schema.then(|| kafka_schema(schema.fields())) {
                    Some(connect) => {
                        Form::JsonWithSchema(writer, connect.unwrap_or(Value::Null).to_string().into_bytes())
                    }
                    None => Form::Json(writer),
                }
            }
            Kind::RawString => Form::Raw(DataType::Utf8),
            Kind::RawBytes => Form::Raw(DataType::Binary),
        };
        Self { schema, form, known: Mutex::new(None) }
    }

    /// The messages of a batch whose columns are those of the schema, in the same order.
    ///
    /// # Errors
    /// The batch has other columns, or one of a type that the format cannot write.
    pub fn encode(&self, batch: &RecordBatch) -> Result<EncodedRows, EncodeError> {
        if batch.num_columns() != self.schema.fields().len() {
            let (given, wanted) = (batch.num_columns(), self.schema.fields().len());
            return Err(EncodeError { message: format!("rows have {given} columns, the table has {wanted}") });
        }
        let mut rows = EncodedRows::default();
        rows.ends.reserve(batch.num_rows());
        match &self.form {
            Form::Json(writer) => {
                let ends = &mut rows.ends;
                writer.write(&self.named(batch)?, &mut rows.bytes, |out| ends.push(out.len()))?;
            }
            Form::JsonWithSchema(writer, connect) => {
                let mut ends = Vec::with_capacity(batch.num_rows());
                let mut payloads = Vec::new();
                writer.write(&self.named(batch)?, &mut payloads, |out| ends.push(out.len()))?;
                let mut start = 0;
                for end in ends {
                    for part in [br#"{"schema":"#.as_slice(), connect, br#","payload":"#, &payloads[start..end], b"}"] {
                        rows.bytes.extend_from_slice(part);
                    }
                    rows.end();
                    start = end;
                }
            }
            Form::Raw(data_type) => {
                let Ok(index) = self.schema.index_of("value") else {
                    return Err(EncodeError {
                        message: "a raw format writes the column `value`, which is not there".into(),
                    });
                };
                raw(&cast(batch.column(index), data_type)?, &mut rows);
            }
        }
        Ok(rows)
    }

    fn named(&self, batch: &RecordBatch) -> Result<StructArray, ArrowError> {
        let fields = self.fields(batch.schema_ref());
        StructArray::try_new_with_length(fields, batch.columns().to_vec(), None, batch.num_rows())
    }

    fn fields(&self, given: &SchemaRef) -> Fields {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, fields)) = &*known
            && Arc::ptr_eq(from, given)
        {
            return fields.clone();
        }
        let fields: Fields = given
            .fields()
            .iter()
            .zip(self.schema.fields())
            .map(|(given, named)| {
                let field = Field::new(named.name(), given.data_type().clone(), true);
                Arc::new(field.with_metadata(given.metadata().clone()))
            })
            .collect();
        *known = Some((Arc::clone(given), fields.clone()));
        fields
    }
}

/// NULL is an empty message.
fn raw(column: &ArrayRef, rows: &mut EncodedRows) {
    for row in 0..column.len() {
        if column.is_valid(row) {
            match column.data_type() {
                DataType::Binary => rows.bytes.extend_from_slice(column.as_binary::<i32>().value(row)),
                _ => rows.bytes.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
            }
        }
        rows.end();
    }
}
