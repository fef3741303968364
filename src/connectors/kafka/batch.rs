//! Messages become rows: the format decodes their payloads, and this file adds what is known about each message, in the
//! table's order of columns.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use rdkafka::Message;

use crate::formats::{Decoder, Format};
use crate::sql::table::{ColumnDef, ColumnKind, TableDef};

/// Makes the rows of one table.
pub struct RowBuilder {
    decoder: Decoder,
    schema: SchemaRef,
    columns: Vec<Column>,
}

enum Column {
    /// The n-th column that comes from the message itself.
    Data(usize),
    Metadata(Metadata),
}

#[derive(Clone, Copy)]
enum Metadata {
    Offset,
    Partition,
    Topic,
    Timestamp,
    Key,
}

/// Why a batch ends early.
pub struct BadMessage {
    /// Which of the messages it is; `None` when the format cannot say.
    pub index: Option<usize>,
    /// What is wrong with it.
    pub reason: String,
}

impl RowBuilder {
    pub fn new(format: &Format, table: &TableDef) -> Self {
        let mut data = 0;
        let mut columns = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        for column in &table.columns {
            match &column.kind {
                ColumnKind::Generated(_) => continue,
                ColumnKind::Data => {
                    columns.push(Column::Data(data));
                    data += 1;
                }
                ColumnKind::Metadata(name) => columns.push(Column::Metadata(match name.as_str() {
                    "offset_id" => Metadata::Offset,
                    "partition" => Metadata::Partition,
                    "topic" => Metadata::Topic,
                    "timestamp" => Metadata::Timestamp,
                    _ => Metadata::Key,
                })),
            }
            fields.push(ColumnDef::field(column));
        }
        Self { decoder: Decoder::new(format, table), schema: Arc::new(Schema::new(fields)), columns }
    }

    /// How many bad messages the format has dropped so far.
    pub fn dropped(&self) -> u64 {
        self.decoder.dropped()
    }

    /// The rows of some messages, up to the first that is bad.
    ///
    /// Messages without a payload (tombstones, empty ones) are no rows, and nor is what the format drops.
    pub fn rows<M: Message>(&mut self, messages: &[M]) -> (Option<RecordBatch>, Option<BadMessage>) {
        let mut kept: Vec<&M> = Vec::with_capacity(messages.len());
        let mut bad = None;
        for (index, message) in messages.iter().enumerate() {
            let Some(payload) = message.payload().filter(|payload| !payload.is_empty()) else { continue };
            match self.decoder.push(payload) {
                Ok(true) => kept.push(message),
                Ok(false) => {}
                Err(error) => {
                    bad = Some(BadMessage { index: Some(index), reason: error.message });
                    break;
                }
            }
        }
        let data = match self.decoder.finish() {
            Ok(data) => data,
            Err(error) => return (None, Some(BadMessage { index: None, reason: error.message })),
        };
        if kept.is_empty() {
            return (None, bad);
        }
        match self.assemble(&data, &kept) {
            Ok(rows) => (Some(rows), bad),
            Err(error) => (None, Some(BadMessage { index: None, reason: error.to_string() })),
        }
    }

    fn assemble<M: Message>(&self, data: &[ArrayRef], kept: &[&M]) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().zip(self.schema.fields()).map(|(column, field)| match column {
            Column::Data(index) => data
                .get(*index)
                .cloned()
                .ok_or_else(|| ArrowError::SchemaError(format!("the format gives no column `{}`", field.name()))),
            Column::Metadata(which) => {
                let array = metadata(*which, kept);
                if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
            }
        });
        RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect::<Result<_, _>>()?)
    }
}

fn metadata<M: Message>(which: Metadata, kept: &[&M]) -> ArrayRef {
    match which {
        Metadata::Offset => Arc::new(Int64Array::from_iter_values(kept.iter().map(|m| m.offset()))),
        Metadata::Partition => Arc::new(Int32Array::from_iter_values(kept.iter().map(|m| m.partition()))),
        Metadata::Topic => Arc::new(StringArray::from_iter_values(kept.iter().map(|m| m.topic()))),
        Metadata::Timestamp => Arc::new(kept.iter().map(|m| m.timestamp().to_millis()).collect::<Int64Array>()),
        Metadata::Key => Arc::new(kept.iter().map(|m| m.key()).collect::<BinaryArray>()),
    }
}
