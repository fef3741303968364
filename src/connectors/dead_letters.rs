//! `'baton.dead_letters' = 'table'`: a message that a source cannot decode becomes a row of another table, with its
//! original bytes. `formats` decides which messages those are; `engine` carries their rows to the table.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use datafusion::arrow::array::temporal_conversions::timestamp_ms_to_datetime;
use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;

use crate::diag::{Code, Diagnostic, Span};
use crate::sql::table::{ColumnDef, TableDef};
use crate::sql::types::to_sql;

/// A message that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its bytes.
    pub payload: Vec<u8>,
    /// What is wrong with it.
    pub error: String,
    /// The topic or file that it comes from.
    pub topic: String,
    /// The partition, if there is one.
    pub partition: Option<i32>,
    /// The offset, or the number of the line.
    pub offset: i64,
    /// When it was published, in milliseconds since 1970, if known.
    pub timestamp: Option<i64>,
}

/// Makes rows of one table from the messages that another table's source cannot decode.
#[derive(Debug)]
pub struct DeadLetters {
    /// The table.
    pub table: String,
    /// Where the option names it.
    pub span: Span,
    pipeline: String,
    schema: SchemaRef,
    columns: Vec<Option<Content>>,
}

/// What a column holds, by the column's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    WorkflowId,
    Pipeline,
    Topic,
    Partition,
    OffsetId,
    Timestamp,
    Payload,
    Status,
    Error,
    CreatedAt,
}

/// The columns that are filled, and whether a table must have them: without those, a message could not be redriven.
const COLUMNS: [(&str, Content, bool); 10] = [
    ("workflow_id", Content::WorkflowId, false),
    ("pipeline", Content::Pipeline, false),
    ("topic", Content::Topic, false),
    ("partition", Content::Partition, false),
    ("offset_id", Content::OffsetId, false),
    ("timestamp", Content::Timestamp, false),
    ("payload", Content::Payload, true),
    ("status", Content::Status, false),
    ("error", Content::Error, true),
    ("created_at", Content::CreatedAt, false),
];

impl Content {
    /// Checks the type of its column. The error is the usual type.
    fn fits(self, given: &DataType) -> Result<(), &'static str> {
        let is_text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let (fits, wanted) = match self {
            Self::Partition => (matches!(given, DataType::Int32 | DataType::Int64), "INT"),
            Self::OffsetId => (given == &DataType::Int64, "BIGINT"),
            Self::Timestamp => (matches!(given, DataType::Int64 | DataType::Timestamp(..)), "BIGINT"),
            Self::CreatedAt => (is_text || matches!(given, DataType::Timestamp(..)), "TEXT"),
            Self::Payload => (is_text || given == &DataType::Binary, "TEXT"),
            _ => (is_text, "TEXT"),
        };
        if fits { Ok(()) } else { Err(wanted) }
    }

    /// Whether some messages have no value for it: a file has no partitions, a message may have no timestamp.
    fn may_be_null(self) -> bool {
        matches!(self, Self::Partition | Self::Timestamp | Self::CreatedAt)
    }
}

impl DeadLetters {
    /// Makes rows for `target`, which is named at `span`.
    ///
    /// # Errors
    /// Columns that are missing, have another type, or are NOT NULL and cannot be filled.
    pub fn new(target: &TableDef, span: &Span, pipeline: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let missing: Vec<&str> = COLUMNS
            .iter()
            .filter(|(name, _, necessary)| *necessary && !target.columns.iter().any(|c| c.name == *name))
            .map(|(name, ..)| *name)
            .collect();
        if !missing.is_empty() {
            let list = |of: &dyn Fn(&str) -> String| missing.iter().map(|m| of(m)).collect::<Vec<_>>().join(" and ");
            let error = Diagnostic::new(
                Code::DEAD_LETTERS,
                format!("`{}` cannot take dead letters: it has no column {}", target.name, list(&|m| format!("`{m}`"))),
            );
            let help = format!("add {} to it, at {}", list(&|m| format!("`{m} TEXT`")), target.span.place());
            errors.push(error.at(span.clone()).help(help));
        }
        let mut columns = Vec::with_capacity(target.columns.len());
        for column in &target.columns {
            let content = COLUMNS.iter().find(|(name, ..)| *name == column.name).map(|(_, content, _)| *content);
            if let Some(error) = misfit(target, column, content) {
                errors.push(error);
            }
            columns.push(content);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (table, pipeline, schema) = (target.name.clone(), pipeline.to_string(), target.data_schema());
        Ok(Self { table, span: span.clone(), pipeline, schema, columns })
    }

    /// One row for each message. A column that is not filled is NULL.
    ///
    /// # Errors
    /// When a value does not fit its column.
    pub fn rows(&self, rejected: &[Rejected]) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().zip(self.schema.fields()).map(|(content, field)| match content {
            None => Ok(new_null_array(field.data_type(), rejected.len())),
            Some(content) => {
                let array = self.column(*content, field.data_type(), rejected);
                if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
            }
        });
        RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect::<Result<_, _>>()?)
    }

    fn column(&self, content: Content, data_type: &DataType, rejected: &[Rejected]) -> ArrayRef {
        let times = matches!(data_type, DataType::Timestamp(..));
        let stamps = rejected.iter().map(|r| r.timestamp);
        match content {
            Content::WorkflowId => text(rejected.iter().map(place)),
            Content::Pipeline => text(rejected.iter().map(|_| self.pipeline.as_str())),
            Content::Topic => text(rejected.iter().map(|r| r.topic.as_str())),
            Content::Partition => Arc::new(rejected.iter().map(|r| r.partition).collect::<Int32Array>()),
            Content::OffsetId => Arc::new(Int64Array::from_iter_values(rejected.iter().map(|r| r.offset))),
            Content::Payload if data_type == &DataType::Binary => {
                Arc::new(BinaryArray::from_iter_values(rejected.iter().map(|r| r.payload.as_slice())))
            }
            Content::Payload => text(rejected.iter().map(|r| BASE64_STANDARD.encode(&r.payload))),
            Content::Status => text(rejected.iter().map(|_| "unreadable")),
            Content::Error => text(rejected.iter().map(|r| r.error.as_str())),
            Content::Timestamp | Content::CreatedAt if times => Arc::new(stamps.collect::<TimestampMillisecondArray>()),
            Content::Timestamp => Arc::new(stamps.collect::<Int64Array>()),
            Content::CreatedAt => Arc::new(stamps.map(|ms| ms.and_then(in_words)).collect::<StringArray>()),
        }
    }
}

fn text(values: impl Iterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Identifies a message without an id.
fn place(message: &Rejected) -> String {
    let Rejected { topic, partition, offset, .. } = message;
    partition.map_or_else(|| format!("{topic}/{offset}"), |partition| format!("{topic}/{partition}/{offset}"))
}

/// A timestamp as the reference pipelines write it, clamped to the range of the calendar.
fn in_words(millis: i64) -> Option<String> {
    let time = timestamp_ms_to_datetime(millis.clamp(0, 253_000_000_000_000))?;
    Some(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn misfit(target: &TableDef, column: &ColumnDef, content: Option<Content>) -> Option<Diagnostic> {
    let say = |what: String| {
        Diagnostic::new(Code::DEAD_LETTERS, format!("`{}` cannot take dead letters: {what}", target.name))
            .at(column.span.clone())
    };
    if let Some(Err(wanted)) = content.map(|c| c.fits(&column.data_type)) {
        let what = format!("its column `{}` is {}", column.name, to_sql(&column.data_type));
        return Some(say(what).help(format!("declare it {wanted}")));
    }
    let filled = content.is_some_and(|c| !c.may_be_null());
    (!column.nullable && !filled).then(|| {
        let what = format!("its column `{}` is NOT NULL, and a message that cannot be read has none", column.name);
        say(what).help("take NOT NULL out")
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimeUnit, TimestampNanosecondType};

    use super::*;
    use crate::connectors::testing::{column, table};

    fn rejected() -> Vec<Rejected> {
        let message = Rejected {
            payload: b"\xff{".to_vec(),
            error: "it is not text: byte 1 is not valid UTF-8".into(),
            topic: "leads".into(),
            partition: Some(3),
            offset: 15,
            timestamp: Some(1_772_352_930_123),
        };
        let line = Rejected { partition: None, timestamp: None, offset: 2, topic: "in.json".into(), ..message.clone() };
        vec![message, line]
    }

    fn strings(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
        let column = batch.column_by_name(name).unwrap();
        column.as_string::<i32>().iter().map(|v| v.map(str::to_string)).collect()
    }

    #[test]
    fn columns_are_filled_by_name_and_others_are_null() {
        let texts = ["payload", "message_id", "workflow_id", "error", "topic", "pipeline", "status", "created_at"];
        let mut columns: Vec<_> = texts.iter().map(|name| column(name, DataType::Utf8)).collect();
        columns.push(column("partition", DataType::Int32));
        columns.push(column("offset_id", DataType::Int64));
        columns.push(column("timestamp", DataType::Int64));
        let table = table(columns, &[]);
        let letters = DeadLetters::new(&table, &table.span, "route").unwrap();
        let batch = letters.rows(&rejected()).unwrap();
        let two = |a: &str, b: &str| vec![Some(a.to_string()), Some(b.to_string())];
        assert_eq!(strings(&batch, "payload"), two("/3s=", "/3s="));
        assert_eq!(strings(&batch, "workflow_id"), two("leads/3/15", "in.json/2"));
        assert_eq!(strings(&batch, "status"), two("unreadable", "unreadable"));
        assert_eq!(strings(&batch, "pipeline"), two("route", "route"));
        assert_eq!(strings(&batch, "created_at"), vec![Some("2026-03-01T08:15:30.123Z".into()), None]);
        assert_eq!(strings(&batch, "message_id"), vec![None, None]);
        let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
        assert_eq!(partitions.iter().collect::<Vec<_>>(), [Some(3), None]);
        let offsets = batch.column_by_name("offset_id").unwrap().as_primitive::<Int64Type>();
        assert_eq!(offsets.iter().collect::<Vec<_>>(), [Some(15), Some(2)]);
    }

    #[test]
    fn bytes_and_points_in_time_can_stay_what_they_are() {
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let columns = vec![
            column("payload", DataType::Binary),
            column("error", DataType::Utf8),
            column("timestamp", nanos.clone()),
            column("created_at", nanos),
            column("partition", DataType::Int64),
        ];
        let table = table(columns, &[]);
        let batch = DeadLetters::new(&table, &table.span, "p").unwrap().rows(&rejected()).unwrap();
        assert_eq!(batch.column(0).as_binary::<i32>().value(0), b"\xff{");
        let stamps = batch.column(2).as_primitive::<TimestampNanosecondType>();
        assert_eq!(stamps.iter().collect::<Vec<_>>(), [Some(1_772_352_930_123_000_000), None]);
    }

    #[test]
    fn a_table_that_would_lose_the_message_is_refused() {
        let refused = |columns| {
            let table = table(columns, &[]);
            let errors = DeadLetters::new(&table, &table.span, "p").unwrap_err();
            errors.into_iter().map(|e| format!("{}; {}", e.message, e.help.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(
            refused(vec![column("topic", DataType::Utf8)]),
            [
                "`t` cannot take dead letters: it has no column `payload` and `error`; add `payload TEXT` and `error TEXT` to it, at t.sql:1:1"
            ]
        );
        let needed = |name: &str, data_type| ColumnDef { nullable: false, ..column(name, data_type) };
        assert_eq!(
            refused(vec![
                column("payload", DataType::Int64),
                needed("error", DataType::Utf8),
                needed("created_at", DataType::Utf8),
                needed("message_id", DataType::Utf8),
            ]),
            [
                "`t` cannot take dead letters: its column `payload` is BIGINT; declare it TEXT",
                "`t` cannot take dead letters: its column `created_at` is NOT NULL, and a message that cannot be read has none; take NOT NULL out",
                "`t` cannot take dead letters: its column `message_id` is NOT NULL, and a message that cannot be read has none; take NOT NULL out",
            ]
        );
    }
}
