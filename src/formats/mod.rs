//! Converts messages to rows and rows to messages: `format`, `bad_data` and the options of each format.
//!
//! A [`Format`] is read from a table's options. A [`Decoder`] turns messages into columns, an [`Encoder`] rows into
//! messages. `connectors` reads and writes the messages.

mod decoder;
mod encoder;
mod framing;
mod json;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;

use crate::diag::{Code, Diagnostic};
use crate::sql::option_reader::OptionReader;
use crate::sql::options::{OptionDoc, option};
use crate::sql::table::{ColumnDef, ColumnKind, DEAD_LETTERS};
use crate::sql::types::to_sql;
pub use decoder::{BadData, Decoder};
pub use encoder::{EncodeError, EncodedRows, Encoder};
pub use framing::Framing;
use json::{DecimalEncoding, JsonFormat, TimestampFormat};

/// The options of every connector with a format, in addition to its own.
pub static FORMAT_OPTIONS: &[OptionDoc] = &[
    option("format", "How a message holds a row: `json` (an object, its keys are the columns), `raw_string` or `raw_bytes` (the whole message is the column `value`).")
        .choices(&["json", "raw_string", "raw_bytes"]),
    option("bad_data", "What to do with a message that cannot be read: `fail` stops the pipeline, `drop` counts it and goes on.")
        .default("fail")
        .choices(&["fail", "drop"]),
    option(
        DEAD_LETTERS,
        "Instead of `bad_data`: the table over a connector for messages that a source cannot read. Each is written there \
         before the source's offset is committed. Columns are filled by name. Required: `payload` (the bytes, in base64 \
         when it is TEXT) and `error`. Optional: `topic`, `partition`, `offset_id` (for a file its path, NULL and the \
         line), `timestamp`, `created_at`, `pipeline`, `status` (`unreadable`) and `workflow_id` \
         (topic/partition/offset). All others are NULL. An empty message is neither a row nor a dead letter.",
    ),
    option("framing", "With `newline`, a source reads each line of a message as a row; without it, the whole message.")
        .choices(&["newline"]),
    option("framing.newline.max_length", "With `framing`: how many bytes of a line are read. The rest is cut off, so longer JSON becomes bad data."),
    option("json.unstructured", "The whole message, with any keys, is read into the single column `value JSON`.")
        .default("false")
        .choices(&["true", "false"]),
    option("json.timestamp_format", "How a sink writes TIMESTAMP: as text (`RFC3339`) or as milliseconds since 1970 (`unix_millis`, which a column TIMESTAMP(3) reads).")
        .default("RFC3339")
        .choices(&["RFC3339", "unix_millis", "UnixMillis"]),
    option("json.decimal_encoding", "How a sink writes DECIMAL: as a `number`, as a `string` with all digits, or as `bytes` in base64.")
        .default("number")
        .choices(&["number", "string", "bytes"]),
    option("json.include_schema", "A sink writes `{\"schema\": …, \"payload\": …}`, as Kafka Connect reads it.")
        .default("false")
        .choices(&["true", "false"]),
    option("json.confluent_schema_registry", "Messages begin with the id of a registered schema; the embedded engine has no schema registry yet.")
        .default("false")
        .choices(&["true", "false"]),
    option("json.compression", "Compression of files; the embedded engine has none yet.")
        .default("uncompressed")
        .choices(&["uncompressed"]),
];

/// The formats that Arroyo has and the embedded engine does not.
const ELSEWHERE: &[&str] = &["avro", "protobuf", "parquet", "debezium_json"];

/// The direction in which a table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Messages become rows.
    Source,
    /// Rows become messages.
    Sink,
}

/// How a table's messages contain its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    kind: Kind,
    framing: Framing,
    on_bad_data: OnBadData,
}

/// How a source handles a message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadData {
    /// The pipeline fails.
    Fail,
    /// The message is counted and skipped.
    Drop,
    /// The message goes to the table of `baton.dead_letters`.
    DeadLetter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Json(JsonFormat),
    RawString,
    RawBytes,
}

impl Format {
    /// Reads the format of a table and checks that the table's columns fit it. Errors are added to the reader.
    pub fn read(options: &mut OptionReader<'_>, direction: Direction) -> Option<Self> {
        let table = options.table();
        if let Some(entry) = table.option("format")
            && ELSEWHERE.contains(&entry.value.as_str())
        {
            options.fail(
                Diagnostic::new(
                    Code::UNSUPPORTED,
                    format!("format `{}` is not in the embedded engine yet", entry.value),
                )
                .at(entry.value_span.clone())
                .help("use `json`, `raw_string` or `raw_bytes`, or run this pipeline on Arroyo"),
            );
            return None;
        }
        let mut on_bad_data = match options.optional("bad_data").as_deref() {
            Some("drop") => OnBadData::Drop,
            _ => OnBadData::Fail,
        };
        let unstructured = options.flag("json.unstructured");
        let include_schema = options.flag("json.include_schema");
        let timestamps = match options.optional("json.timestamp_format").as_deref() {
            Some("unix_millis" | "UnixMillis") => TimestampFormat::UnixMillis,
            _ => TimestampFormat::Rfc3339,
        };
        let decimals = match options.optional("json.decimal_encoding").as_deref() {
            Some("string") => DecimalEncoding::Text,
            Some("bytes") => DecimalEncoding::Bytes,
            _ => DecimalEncoding::Number,
        };
        if options.flag("json.confluent_schema_registry")
            && let Some(entry) = table.option("json.confluent_schema_registry")
        {
            options.wrong(entry, "`false`: the embedded engine has no schema registry yet");
        }
        // It has only one value. Reading it reports any other.
        options.optional("json.compression");
        let kind = match options.required("format")?.as_str() {
            "json" => Kind::Json(JsonFormat { unstructured, include_schema, timestamps, decimals }),
            "raw_string" => Kind::RawString,
            "raw_bytes" => Kind::RawBytes,
            _ => return None,
        };
        if table.option(DEAD_LETTERS).is_some() {
            on_bad_data = OnBadData::DeadLetter;
        }
        let format = Self { kind, framing: read_framing(options), on_bad_data };
        format.check_dead_letters(options, direction);
        format.check_columns(options, direction);
        Some(format)
    }

    /// How a message is split into rows.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// How a message that cannot be read is handled.
    #[must_use]
    pub fn on_bad_data(&self) -> OnBadData {
        self.on_bad_data
    }

    fn check_dead_letters(&self, options: &mut OptionReader<'_>, direction: Direction) {
        let table = options.table();
        let Some(entry) = table.option(DEAD_LETTERS) else { return };
        let always = match self.kind {
            Kind::RawString => Some("`raw_string`"),
            Kind::RawBytes => Some("`raw_bytes`"),
            Kind::Json(JsonFormat { unstructured: true, .. }) => Some("`json.unstructured`"),
            Kind::Json(_) => None,
        };
        if direction == Direction::Sink {
            options.fail(
                Diagnostic::new(
                    Code::OPTION_UNKNOWN,
                    format!("option `{DEAD_LETTERS}` is for sources, and `{}` is a sink", table.name),
                )
                .at(entry.key_span.clone())
                .help("take it out"),
            );
        } else if let Some(format) = always {
            options.fail(
                Diagnostic::new(
                    Code::OPTION_VALUE,
                    format!("option `{DEAD_LETTERS}` does nothing: with {format} every message can be read"),
                )
                .at(entry.key_span.clone())
                .help("take it out, or declare typed columns with `format = 'json'`"),
            );
        } else if let Some(rule) = table.option("bad_data") {
            options.fail(
                Diagnostic::new(
                    Code::OPTION_VALUE,
                    format!("`bad_data` and `{DEAD_LETTERS}` both define what happens to messages that cannot be read"),
                )
                .at(rule.key_span.clone())
                .help(format!("take `bad_data` out, and they go to `{}`", entry.value)),
            );
        }
    }

    fn check_columns(&self, options: &mut OptionReader<'_>, direction: Direction) {
        let table = options.table();
        let columns: Vec<&ColumnDef> = table.columns.iter().filter(|c| c.kind == ColumnKind::Data).collect();
        let only = match self.kind {
            Kind::RawString => Some(("`raw_string`", "value TEXT")),
            Kind::RawBytes => Some(("`raw_bytes`", "value BYTEA")),
            Kind::Json(JsonFormat { unstructured: true, .. }) => Some(("`json.unstructured`", "value JSON")),
            Kind::Json(_) => None,
        };
        if let Some((what, wanted)) = only {
            let fits = |c: &ColumnDef| c.name == "value" && format!("value {}", type_name(c)) == wanted;
            // A raw sink writes only `value`; other columns may be the message's key or timestamp.
            let raw_sink = direction == Direction::Sink && matches!(self.kind, Kind::RawString | Kind::RawBytes);
            let read: Vec<&ColumnDef> = columns.iter().filter(|c| !table.is_only_written(c)).copied().collect();
            let right = match (columns.as_slice(), read.as_slice()) {
                ([one], _) => fits(one),
                (_, [one]) if table.is_both_ways() => fits(one),
                (several, _) => raw_sink && several.iter().any(|c| fits(c)),
            };
            if !right {
                let misfit = columns.iter().find(|c| !fits(c)).map_or(&table.span, |c| &c.span);
                let besides = if direction == Direction::Source {
                    "; metadata and generated columns may stand beside it"
                } else if raw_sink {
                    "; columns for `sink.key_field` and `sink.timestamp_field` may stand beside it"
                } else {
                    ""
                };
                options.fail(
                    Diagnostic::new(Code::FORMAT_COLUMNS, format!("{what} needs exactly one column, `{wanted}`"))
                        .at(misfit.clone())
                        .help(format!("declare `{wanted}` and nothing else{besides}")),
                );
            }
        } else if direction == Direction::Source {
            for column in columns.iter().filter(|c| !json::readable(&c.field())) {
                let name = type_name(column);
                options.fail(
                    Diagnostic::new(
                        Code::FORMAT_COLUMNS,
                        format!("column `{}` cannot be {name}: JSON has no such value", column.name),
                    )
                    .at(column.span.clone())
                    .help(if name == "BYTEA" {
                        "declare it TEXT and use `decode(column, 'base64')`".to_string()
                    } else {
                        "declare it JSON, or TEXT and cast it".to_string()
                    }),
                );
            }
        } else if matches!(self.kind, Kind::Json(JsonFormat { include_schema: true, .. }))
            && json::kafka_schema(table.data_schema().fields()).is_none()
        {
            options.fail(
                Diagnostic::new(Code::FORMAT_COLUMNS, "`json.include_schema` has no name for a column's type")
                    .at(table.span.clone())
                    .help("use plain types, lists and structs, or leave `json.include_schema` out"),
            );
        }
    }
}

fn read_framing(options: &mut OptionReader<'_>) -> Framing {
    const LONGEST: &str = "framing.newline.max_length";
    let longest: Option<NonZeroUsize> = options.parsed(LONGEST, "a whole number of bytes, 1 at least, such as `65536`");
    let longest = longest.map(NonZeroUsize::get);
    if options.optional("framing").is_some() {
        return Framing::lines(longest);
    }
    if let Some(entry) = options.table().option(LONGEST) {
        let message = format!("option `{LONGEST}` does nothing without `framing`");
        let error = Diagnostic::new(Code::OPTION_VALUE, message).at(entry.key_span.clone());
        options.fail(error.help("add `framing = 'newline'`"));
    }
    Framing::NONE
}

fn type_name(column: &ColumnDef) -> String {
    if column.json { "JSON".into() } else { to_sql(&column.data_type) }
}
