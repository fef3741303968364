//! Turns messages into rows: the format decodes the payloads, and this file adds each message's metadata, in the
//! table's order of columns.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use rdkafka::Message;

use crate::connectors::bad_data::BadMessages;
use crate::connectors::dead_letters::Rejected;
use crate::formats::{Decoder, Format, Framing, OnBadData};
use crate::sql::table::{ColumnDef, ColumnKind, TableDef};

/// Makes the rows of one table.
pub struct RowBuilder {
    decoder: Decoder,
    framing: Framing,
    schema: SchemaRef,
    columns: Vec<Column>,
    bad: BadMessages,
}

/// The result of decoding some messages.
#[derive(Default)]
pub struct Decoded {
    /// The rows.
    pub rows: Option<RecordBatch>,
    /// Messages that cannot be decoded, when they go to a dead-letter table.
    pub rejected: Vec<Rejected>,
    /// The message that stops the pipeline. Neither it nor a later one becomes a row.
    pub bad: Option<BadMessage>,
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
    /// Its index among the messages; `None` when the format does not report it.
    pub index: Option<usize>,
    /// What is wrong with it.
    pub reason: String,
}

impl RowBuilder {
    pub fn new(format: &Format, table: &TableDef) -> Self {
        let mut data = 0;
        let mut columns = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        for column in table.read_columns() {
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
        Self {
            decoder: Decoder::new(format, table),
            framing: format.framing(),
            schema: Arc::new(Schema::new(fields)),
            columns,
            bad: BadMessages::new(format, &table.name),
        }
    }

    /// Decodes messages, up to the first that stops the pipeline because it cannot be decoded.
    ///
    /// Messages without a payload (tombstones, empty ones) and dropped messages give no rows.
    pub fn decode<M: Message>(&mut self, messages: &[M]) -> Decoded {
        let mut kept: Vec<&M> = Vec::with_capacity(messages.len());
        let (mut rejected, mut bad) = (Vec::new(), None);
        let framing = self.framing;
        let payloads = messages.iter().enumerate().filter_map(|(index, m)| Some((index, m, m.payload()?)));
        for (index, message, (frame, whole)) in
            payloads.flat_map(|(i, m, p)| framing.frames(p).map(move |frame| (i, m, frame)))
        {
            match self.decoder.push(frame) {
                Ok(true) => kept.push(message),
                Ok(false) => {}
                Err(error) if self.bad.rule() == OnBadData::Fail => {
                    bad = Some(BadMessage { index: Some(index), reason: error.message });
                    break;
                }
                Err(error) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    self.bad.count(format_args!("partition {partition}, offset {offset}"), &error.message);
                    if self.bad.rule() == OnBadData::DeadLetter {
                        rejected.push(Rejected {
                            payload: whole.to_vec(),
                            error: error.message,
                            topic: message.topic().to_string(),
                            partition: Some(partition),
                            offset,
                            timestamp: message.timestamp().to_millis(),
                        });
                    }
                }
            }
        }
        self.bad.report(false);
        let nothing = |reason| Decoded { bad: Some(BadMessage { index: None, reason }), ..Decoded::default() };
        let data = match self.decoder.finish() {
            Ok(data) => data,
            Err(error) => return nothing(error.message),
        };
        if kept.is_empty() {
            return Decoded { rows: None, rejected, bad };
        }
        match self.assemble(&data, &kept) {
            Ok(rows) => Decoded { rows: Some(rows), rejected, bad },
            Err(error) => nothing(error.to_string()),
        }
    }

    /// Logs messages that cannot be decoded and are not logged yet.
    pub fn report(&mut self) {
        self.bad.report(true);
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

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::{DataType, Int64Type};
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;
    use crate::config::Environment;
    use crate::connectors::testing::{column, table};
    use crate::formats::{Direction, FORMAT_OPTIONS};
    use crate::sql::option_reader::OptionReader;

    fn message(offset: i64, payload: &str) -> OwnedMessage {
        let payload = Some(payload.as_bytes().to_vec());
        OwnedMessage::new(payload, None, "t".into(), Timestamp::CreateTime(offset * 1000), 3, offset, None)
    }

    fn builder(bad_data: &str) -> RowBuilder {
        let offset = ColumnDef { kind: ColumnKind::Metadata("offset_id".into()), ..column("place", DataType::Int64) };
        let options = [("format", "json"), ("framing", "newline"), ("bad_data", bad_data)];
        let table = table(vec![column("n", DataType::Int64), offset], &options);
        let environment = Environment::only([]);
        let mut reader = OptionReader::new(&table, &environment, FORMAT_OPTIONS);
        let format = Format::read(&mut reader, Direction::Source).unwrap();
        reader.finish().unwrap();
        RowBuilder::new(&format, &table)
    }

    fn numbers(rows: &RecordBatch, column: usize) -> Vec<i64> {
        rows.column(column).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn each_line_of_a_message_is_a_row_with_the_messages_metadata() {
        let messages = [message(7, "{\"n\":1}\n{\"n\":2}\n\n"), message(8, "no\n{\"n\":3}"), message(9, "")];
        let decoded = builder("drop").decode(&messages);
        let rows = decoded.rows.unwrap();
        assert_eq!((numbers(&rows, 0), numbers(&rows, 1)), (vec![1, 2, 3], vec![7, 7, 8]));
        assert!(decoded.bad.is_none());

        let decoded = builder("fail").decode(&messages);
        assert_eq!(numbers(&decoded.rows.unwrap(), 1), [7, 7]);
        assert_eq!(decoded.bad.unwrap().index, Some(1));
    }
}
