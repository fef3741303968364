//! `CREATE TABLE` as a structure: columns and options with their places. `connectors` and `formats` know what an option
//! means.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::diag::Span;

/// The key of the field metadata that marks a `JSON` column: a text that contains JSON and is written as JSON.
pub const JSON_FIELD: &str = "baton.json";

/// The option that names the table for messages that a source cannot read. The catalogue follows it; `formats`
/// documents it.
pub const DEAD_LETTERS: &str = "baton.dead_letters";

/// The option of a sink whose rows go to the topics of the agents. The catalogue fills them in.
pub const AGENT_TOPICS: &str = "baton.topics";

/// A table over a connector.
#[derive(Debug, Clone)]
pub struct TableDef {
    /// Its name, as SQL uses it.
    pub name: String,
    /// Where it is defined: the name in `CREATE TABLE name`.
    pub span: Span,
    /// The whole statement.
    pub statement: Span,
    /// Its columns, in order.
    pub columns: Vec<ColumnDef>,
    /// Its `WITH` options, in order.
    pub options: Vec<OptionEntry>,
    /// The topics of all agents, if the table has `baton.topics`.
    pub agent_topics: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub span: Span,
    /// Its Arrow type.
    pub data_type: DataType,
    /// Whether it is declared `JSON`: text to SQL, JSON on the wire.
    pub json: bool,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Where its values come from.
    pub kind: ColumnKind,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// The message itself.
    Data,
    /// The connector's data about the message: `METADATA FROM 'offset_id'`.
    Metadata(String),
    /// An expression over the other columns, as SQL text: `GENERATED ALWAYS AS (…)`.
    Generated(String),
}

/// `key = 'value'` of a `WITH` clause.
#[derive(Debug, Clone)]
pub struct OptionEntry {
    /// The key, without quotes.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value as written, without quotes, `${…}` left in place.
    pub value: String,
    /// Whether it is written in quotes: `'true'`, not `true`.
    pub quoted: bool,
    /// Where the value stands.
    pub value_span: Span,
}

impl ColumnDef {
    /// The column as an Arrow field; a `JSON` column carries [`JSON_FIELD`].
    #[must_use]
    pub fn field(&self) -> Field {
        let field = Field::new(&self.name, self.data_type.clone(), self.nullable);
        if self.json { field.with_metadata(HashMap::from([(JSON_FIELD.into(), "true".into())])) } else { field }
    }
}

impl TableDef {
    /// The value of an option as written.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&OptionEntry> {
        self.options.iter().find(|o| o.key == key)
    }

    /// All columns as a schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(ColumnDef::field).collect::<Vec<_>>()))
    }

    /// Whether it is declared neither `source` nor `sink`, so that it can be read and written.
    #[must_use]
    pub fn is_both_ways(&self) -> bool {
        self.option("type").is_none()
    }

    /// Whether a message is the raw bytes of one column, `value`.
    fn is_raw(&self) -> bool {
        self.option("format").is_some_and(|format| matches!(format.value.as_str(), "raw_string" | "raw_bytes"))
    }

    /// Whether a column is sent with a message but is not part of it: the key beside a raw `value`.
    #[must_use]
    pub fn is_only_written(&self, column: &ColumnDef) -> bool {
        let options = ["sink.key_field", "sink.timestamp_field"];
        let is_named = || options.iter().any(|key| self.option(key).is_some_and(|o| o.value == column.name));
        column.kind == ColumnKind::Data && self.is_raw() && column.name != "value" && is_named()
    }

    /// The columns that a query reads.
    pub fn read_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|column| !self.is_only_written(column))
    }

    /// The columns that an INSERT provides. Metadata exists only for messages that were read, except for the topic of a
    /// table that is written to many topics.
    pub fn write_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|column| match &column.kind {
            ColumnKind::Data => true,
            ColumnKind::Metadata(name) => name == "topic" && self.option(AGENT_TOPICS).is_some(),
            ColumnKind::Generated(_) => false,
        })
    }

    /// The columns that an INSERT provides, as a schema.
    #[must_use]
    pub fn write_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.write_columns().map(ColumnDef::field).collect::<Vec<_>>()))
    }

    /// The columns that come from the message itself, as a schema.
    #[must_use]
    pub fn data_schema(&self) -> SchemaRef {
        let data = self.columns.iter().filter(|c| c.kind == ColumnKind::Data);
        Arc::new(Schema::new(data.map(ColumnDef::field).collect::<Vec<_>>()))
    }
}
