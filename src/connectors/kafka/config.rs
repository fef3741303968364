//! The options of a Kafka table, read and checked without I/O, and the librdkafka settings that follow from them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::client::Secrets;
use super::options::{METADATA, OPTIONS};
use crate::config::Environment;
use crate::diag::{Code, Diagnostic, nearest};
use crate::formats::{Direction, FORMAT_OPTIONS, Format};
use crate::sql::option_reader::OptionReader;
use crate::sql::table::{AGENT_TOPICS, ColumnKind, TableDef};
use crate::sql::types::to_sql;

/// Settings of librdkafka that a table must not set, each with what to do instead.
const NOT_FOR_TABLES: &[(&str, &str)] = &[
    ("bootstrap.servers", "use the option `bootstrap_servers`"),
    ("metadata.broker.list", "use the option `bootstrap_servers`"),
    ("group.id", "use the option `source.group_id`"),
    ("isolation.level", "use the option `source.read_mode`"),
    ("enable.auto.commit", "leave it out: Baton commits an offset when all its results are delivered"),
    ("auto.commit.enable", "leave it out: Baton commits an offset when all its results are delivered"),
    ("enable.auto.offset.store", "leave it out: Baton commits an offset when all its results are delivered"),
    ("enable.partition.eof", "leave it out: a topic has no end for a pipeline"),
    ("enable.idempotence", "leave it out: Baton always writes with it"),
    ("acks", "leave it out: a row is delivered when all replicas have it"),
    ("request.required.acks", "leave it out: a row is delivered when all replicas have it"),
    ("transactional.id", "leave it out: Baton names its transactions itself"),
    ("delivery.report.only.error", "leave it out: Baton counts acknowledgements"),
];

/// Settings whose values are secrets.
const SECRET_SETTINGS: &[&str] =
    &["sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"];

/// How long a pipeline waits at its start for an unreachable broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What sources and sinks share: the topic and how to reach it.
#[derive(Clone)]
pub struct Connection {
    /// The table's name, for messages.
    pub table: String,
    /// `bootstrap_servers` as given.
    pub servers: String,
    /// The topic.
    pub topic: String,
    /// How many partitions to create it with.
    pub create_partitions: i32,
    /// How many replicas to create it with.
    pub create_replication: i32,
    /// How large its messages may be, when it is created.
    pub create_max_message_bytes: Option<u32>,
    /// What must not be shown.
    pub secrets: Secrets,
    /// `auth.*` and `client_configs` as settings of librdkafka.
    settings: BTreeMap<String, String>,
}

/// Names only: settings may hold secrets.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("table", &self.table)
            .field("servers", &self.servers)
            .field("topic", &self.topic)
            .field("settings", &self.settings.keys())
            .finish_non_exhaustive()
    }
}

/// Where a group without a committed offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first message that the topic still has.
    Earliest,
    /// With messages published from now on.
    Latest,
    /// Nowhere: it is an error.
    Refuse,
}

/// A table as a source.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// How to reach it.
    pub connection: Connection,
    /// Where to begin.
    pub start: Start,
    /// Whether it ends at the last message that the topic holds at the start.
    pub bounded: bool,
    /// Its format.
    pub format: Format,
    /// The table.
    pub table: TableDef,
    group_id: Option<String>,
    group_id_prefix: Option<String>,
    read_mode: String,
}

/// A table as a sink.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// How to reach it.
    pub connection: Connection,
    /// The columns that rows have.
    pub schema: SchemaRef,
    /// Its format.
    pub format: Format,
    /// Which column is the key.
    pub key: Option<usize>,
    /// Which column is the timestamp.
    pub timestamp: Option<usize>,
    /// The topics, when each row names its own.
    pub topics: Option<Topics>,
}

/// The topics of a sink whose rows name their topic.
#[derive(Debug, Clone)]
pub struct Topics {
    /// All of them.
    pub all: Vec<String>,
    /// The column that names it. The message does not contain this column.
    pub column: usize,
}

fn reader<'a>(table: &'a TableDef, environment: &'a Environment, direction: Direction) -> OptionReader<'a> {
    let mut reader = OptionReader::new(table, environment, OPTIONS.iter().chain(FORMAT_OPTIONS));
    let (other, is, other_is) = match direction {
        Direction::Source => ("sink.", "a source", "sinks"),
        Direction::Sink => ("source.", "a sink", "sources"),
    };
    let misplaced = |key: &str| key.starts_with(other) && OPTIONS.iter().any(|d| d.key == key);
    for entry in table.options.iter().filter(|o| !table.is_both_ways() && misplaced(&o.key)) {
        reader.fail(
            Diagnostic::new(
                Code::OPTION_UNKNOWN,
                format!("option `{}` is for {other_is}, and `{}` is {is}", entry.key, table.name),
            )
            .at(entry.key_span.clone())
            .help("take it out"),
        );
    }
    if let Some(entry) = table.option("connection_profile") {
        reader.fail(
            Diagnostic::new(
                Code::OPTION_UNKNOWN,
                "connection profiles are kept in a cluster of Arroyo, and the embedded engine has none",
            )
            .at(entry.key_span.clone())
            .help("write the profile's settings here: `bootstrap_servers`, `auth.type`, …"),
        );
    }
    reader
}

impl Connection {
    fn read(reader: &mut OptionReader<'_>) -> Option<Self> {
        let servers = reader.required("bootstrap_servers");
        // `agent_topics` checks the topics of agents.
        let topic = match reader.table().option(AGENT_TOPICS) {
            None => reader.required("topic"),
            Some(_) => Some(String::new()),
        };
        let create_partitions = reader.parsed("baton.create_partitions", "a whole number, such as `6`");
        let create_replication = reader.parsed("baton.create_replication", "a whole number, such as `3`");
        let create_max_message_bytes =
            reader.parsed("baton.create_max_message_bytes", "a whole number of bytes, such as `4194304`");
        let mut settings = auth(reader);
        settings.extend(client_configs(reader));
        let secrets = Secrets::new(SECRET_SETTINGS.iter().filter_map(|key| settings.get(*key)).cloned());
        Some(Self {
            table: reader.table().name.clone(),
            servers: servers?,
            topic: topic?,
            create_partitions: create_partitions?,
            create_replication: create_replication?,
            create_max_message_bytes,
            secrets,
            settings,
        })
    }

    /// The same connection to another topic.
    pub fn with_topic(&self, topic: &str) -> Self {
        Self { topic: topic.to_string(), ..self.clone() }
    }

    /// A setting from the table.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// How long to wait for a broker at the start.
    pub fn connect_timeout(&self) -> Duration {
        let set = self.setting("socket.connection.setup.timeout.ms").and_then(|ms| ms.parse().ok());
        set.map_or(CONNECT_TIMEOUT, Duration::from_millis)
    }

    /// The settings of a client: the defaults of its kind, then the table's, then those that a table must not change.
    pub fn client(&self, pipeline: &str, defaults: &[(&str, String)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", format!("baton-{pipeline}"))
            .set("socket.connection.setup.timeout.ms", self.connect_timeout().as_millis().to_string())
            .set("reconnect.backoff.max.ms", "2000");
        for (key, value) in defaults {
            config.set(*key, value);
        }
        for (key, value) in self.settings.iter().filter(|(key, _)| *key != "auto.offset.reset") {
            config.set(key, value);
        }
        for (key, value) in fixed {
            config.set(*key, *value);
        }
        config.set("bootstrap.servers", &self.servers);
        let debug = self.setting("debug").is_some();
        config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config
    }
}

fn auth(reader: &mut OptionReader<'_>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let kind = reader.optional("auth.type");
    let table = reader.table();
    match kind.as_deref() {
        Some("sasl") => {
            for (key, setting) in [
                ("auth.protocol", "security.protocol"),
                ("auth.mechanism", "sasl.mechanism"),
                ("auth.username", "sasl.username"),
                ("auth.password", "sasl.password"),
            ] {
                if let Some(value) = reader.required(key) {
                    settings.insert(setting.to_string(), value);
                }
            }
        }
        Some("aws_msk_iam") => reader.fail(
            Diagnostic::new(Code::UNSUPPORTED, "the embedded engine cannot log in with `aws_msk_iam`")
                .at(table.option("auth.type").map(|o| o.value_span.clone()))
                .help("use `sasl` with `SCRAM-SHA-512`, or run the pipeline on Arroyo"),
        ),
        Some("none") => {
            let idle = ["auth.protocol", "auth.mechanism", "auth.username", "auth.password"];
            if let Some(entry) = table.options.iter().find(|o| idle.contains(&o.key.as_str())) {
                reader.fail(
                    Diagnostic::new(
                        Code::OPTION_VALUE,
                        format!("option `{}` does nothing without `auth.type`", entry.key),
                    )
                    .at(entry.key_span.clone())
                    .help("add `'auth.type' = 'sasl'`"),
                );
            }
        }
        _ => {}
    }
    settings
}

/// `name=value` pairs. A value may contain `=` but no comma, because Arroyo splits at commas too.
fn client_configs(reader: &mut OptionReader<'_>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let Some(text) = reader.optional("client_configs") else { return settings };
    let span = reader.table().option("client_configs").map(|o| o.value_span.clone());
    let mut wrong = |message: String, help: String| {
        reader.fail(Diagnostic::new(Code::OPTION_VALUE, message).at(span.clone()).help(help));
    };
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        // A part that is not a pair may belong to a secret with a comma, so it is not shown.
        let Some((key, value)) = pair.split_once('=') else {
            wrong(
                "`client_configs` has a part that is not `name=value`".into(),
                "write `name=value` pairs, separated by commas; a value cannot hold a comma".into(),
            );
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if let Some((_, instead)) = NOT_FOR_TABLES.iter().find(|(name, _)| *name == key) {
            wrong(format!("`client_configs` cannot set `{key}`"), (*instead).into());
        } else if let Some((message, help)) = refused(key, value) {
            wrong(message, help);
        } else {
            settings.insert(key.to_string(), value.to_string());
        }
    }
    settings
}

/// Why librdkafka refuses a setting, in our words: its own may repeat the value.
fn refused(key: &str, value: &str) -> Option<(String, String)> {
    let reset = ["earliest", "latest", "error", "smallest", "largest", "beginning", "end", "none"];
    if key == "auto.offset.reset" {
        let help = "it must be one of `earliest`, `latest`, `error`".to_string();
        return (!reset.contains(&value))
            .then(|| ("`auto.offset.reset` in `client_configs` has a value that it does not take".into(), help));
    }
    let mut one = ClientConfig::new();
    one.set(key, value);
    let Err(rdkafka::error::KafkaError::ClientConfig(result, ..)) = one.create_native_config() else { return None };
    let reference =
        "the settings are those of librdkafka: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md";
    if format!("{result:?}").contains("UNKNOWN") {
        Some((format!("`client_configs`: librdkafka has no setting `{key}`"), reference.into()))
    } else {
        Some((format!("`client_configs`: `{key}` has a value that it does not take"), reference.into()))
    }
}

impl SourceConfig {
    /// Reads a table as a source.
    ///
    /// # Errors
    /// All errors in its options and metadata columns.
    pub fn read(table: &TableDef, environment: &Environment) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = reader(table, environment, Direction::Source);
        if let Some(entry) = table.option(AGENT_TOPICS) {
            let message = format!("`{}` is written to the topics of all agents, and cannot be read", table.name);
            let error = Diagnostic::new(Code::TABLE_DIRECTION, message).at(entry.key_span.clone());
            reader.fail(error.help("read an agent's inbox: the name after its CREATE AGENT"));
        }
        let connection = Connection::read(&mut reader);
        let offset = reader.optional("source.offset");
        let group_id = reader.optional("source.group_id");
        let group_id_prefix = reader.optional("source.group_id_prefix");
        let read_mode = reader.optional("source.read_mode");
        let bounded = reader.optional("baton.scan.bounded.mode").as_deref() == Some("latest-offset");
        let format = Format::read(&mut reader, Direction::Source);
        check_metadata(&mut reader);
        reader.finish()?;
        // What is missing here was reported to the reader, so `finish` has failed.
        let (Some(connection), Some(offset), Some(read_mode), Some(format)) = (connection, offset, read_mode, format)
        else {
            return Err(vec![Diagnostic::new(
                Code::OPTION_VALUE,
                format!("the options of table `{}` cannot be read", table.name),
            )]);
        };
        let start = match (offset.as_str(), connection.setting("auto.offset.reset")) {
            ("earliest", _) | ("group", Some("earliest" | "smallest" | "beginning")) => Start::Earliest,
            ("group", Some("error" | "none")) => Start::Refuse,
            _ => Start::Latest,
        };
        Ok(Self { connection, start, bounded, format, table: table.clone(), group_id, group_id_prefix, read_mode })
    }

    /// The consumer group of this table in a pipeline.
    pub fn group(&self, pipeline: &str) -> String {
        match (&self.group_id, &self.group_id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}-baton-{pipeline}-{}", self.table.name),
            (None, None) => format!("baton-{pipeline}-{}", self.table.name),
        }
    }

    /// How long librdkafka lets a consumer go without a poll.
    pub fn max_poll_interval(&self) -> Duration {
        let set = self.connection.setting("max.poll.interval.ms").and_then(|ms| ms.parse().ok());
        Duration::from_millis(set.unwrap_or(300_000))
    }

    /// The consumer's settings.
    pub fn consumer(&self, pipeline: &str) -> ClientConfig {
        let mut defaults: Vec<(&str, String)> = vec![
            // Prefetched messages take memory that no limit of the engine counts. A larger message still gets through.
            ("queued.max.messages.kbytes", "16384".into()),
            ("fetch.max.bytes", "16777216".into()),
            // How soon to fetch again after the prefetch queue was full. The default of a second would cause delays.
            ("fetch.queue.backoff.ms", "20".into()),
            // How soon new partitions are found.
            ("topic.metadata.refresh.interval.ms", "30000".into()),
        ];
        // With `group.protocol=consumer` the broker decides these, and librdkafka refuses them.
        if self.connection.setting("group.protocol") != Some("consumer") {
            // How long the partitions of a killed process have no reader.
            let session = self.max_poll_interval().min(Duration::from_secs(10));
            defaults.push(("session.timeout.ms", session.as_millis().to_string()));
            defaults.push(("partition.assignment.strategy", "cooperative-sticky".into()));
        }
        // `admin` commits where a group begins. librdkafka decides only about partitions that came later, and about
        // offsets that the topic no longer has. It must not skip messages that exist.
        let reset = match self.connection.setting("auto.offset.reset") {
            Some("error" | "none") => "error",
            _ => "earliest",
        };
        let fixed = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // The only way to see the end of a bounded source when its last offsets hold no message.
            ("enable.partition.eof", if self.bounded { "true" } else { "false" }),
            ("isolation.level", self.read_mode.as_str()),
            ("auto.offset.reset", reset),
        ];
        let mut config = self.connection.client(pipeline, &defaults, &fixed);
        config.set("group.id", self.group(pipeline));
        config
    }
}

fn check_metadata(reader: &mut OptionReader<'_>) {
    for column in &reader.table().columns {
        let ColumnKind::Metadata(name) = &column.kind else { continue };
        let error = match METADATA.iter().find(|(known, _)| known == name) {
            Some((_, data_type)) if same_type(data_type, &column.data_type) => continue,
            Some((_, data_type)) => Diagnostic::new(
                Code::METADATA,
                format!("metadata `{name}` does not fit the type of column `{}`", column.name),
            )
            .help(format!("declare the column as {}", to_sql(data_type))),
            None => {
                let known = METADATA.iter().map(|(known, _)| *known);
                let help = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there is {}", known.map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
                };
                Diagnostic::new(Code::METADATA, format!("a Kafka source has no metadata `{name}`")).help(help)
            }
        };
        reader.fail(error.at(column.span.clone()));
    }
}

fn same_type(wanted: &DataType, given: &DataType) -> bool {
    match wanted {
        DataType::Utf8 => is_text(given),
        DataType::Binary => is_bytes(given),
        _ => wanted == given,
    }
}

fn is_text(given: &DataType) -> bool {
    matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(given: &DataType) -> bool {
    matches!(given, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

impl SinkConfig {
    /// Reads a table as a sink.
    ///
    /// # Errors
    /// All errors in its options and columns.
    pub fn read(table: &TableDef, environment: &Environment) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = reader(table, environment, Direction::Sink);
        let connection = Connection::read(&mut reader);
        if reader.optional("sink.commit_mode").as_deref() == Some("exactly_once") {
            let span = table.option("sink.commit_mode").map(|o| o.value_span.clone());
            reader.fail(
                Diagnostic::new(Code::UNSUPPORTED, "the embedded engine cannot deliver `exactly_once` yet")
                    .at(span)
                    .help("write `'sink.commit_mode' = 'at_least_once'`, or run the pipeline on Arroyo"),
            );
        }
        let metadata = table.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Metadata(_)));
        for column in metadata.filter(|_| !table.is_both_ways()) {
            reader.fail(
                Diagnostic::new(
                    Code::METADATA,
                    format!("column `{}` is metadata, and `{}` is a sink", column.name, table.name),
                )
                .at(column.span.clone())
                .help("take the column out, or declare it as a plain column"),
            );
        }
        let key = column(&mut reader, "sink.key_field", "TEXT or BYTEA", |t| is_text(t) || is_bytes(t));
        let timestamp =
            column(&mut reader, "sink.timestamp_field", "TIMESTAMP", |t| matches!(t, DataType::Timestamp(..)));
        let format = Format::read(&mut reader, Direction::Sink);
        let topics = agent_topics(&mut reader);
        reader.finish()?;
        let (Some(connection), Some(format)) = (connection, format) else {
            return Err(vec![Diagnostic::new(
                Code::OPTION_VALUE,
                format!("the options of table `{}` cannot be read", table.name),
            )]);
        };
        Ok(Self { connection, schema: table.write_schema(), format, key, timestamp, topics })
    }

    /// The producer's settings.
    pub fn producer(&self, pipeline: &str) -> ClientConfig {
        let defaults = [
            // A lone row is sent at once. Under load, librdkafka still fills its batches while requests are in flight.
            ("linger.ms", "0".to_string()),
            // The topic's own limit decides; this one must only be larger.
            ("message.max.bytes", "67108864".to_string()),
        ];
        self.connection.client(pipeline, &defaults, &[("enable.idempotence", "true"), ("acks", "all")])
    }
}

/// The topics of a sink with `baton.topics`, and the column that names a row's topic.
fn agent_topics(reader: &mut OptionReader<'_>) -> Option<Topics> {
    let table = reader.table();
    let entry = table.option(AGENT_TOPICS)?;
    reader.optional(AGENT_TOPICS)?;
    if let Some(topic) = table.option("topic") {
        let error = Diagnostic::new(Code::OPTION_VALUE, format!("`topic` and `{AGENT_TOPICS}` both name topics"));
        reader.fail(error.at(topic.key_span.clone()).help("take `topic` out: each row names its topic"));
    }
    if table.agent_topics.is_empty() {
        let message = format!("`{}` is for the topics of agents, and there are no agents", table.name);
        let error = Diagnostic::new(Code::OPTION_VALUE, message).at(entry.value_span.clone());
        reader.fail(error.help("declare one with CREATE AGENT"));
    }
    let is_topic = |kind: &ColumnKind| matches!(kind, ColumnKind::Metadata(name) if name == "topic");
    let column = table.write_columns().position(|column| is_topic(&column.kind));
    if column.is_none() {
        let message = format!("`{}` has no column that names the topic of a row", table.name);
        let error = Diagnostic::new(Code::METADATA, message).at(table.span.clone());
        reader.fail(error.help("add `topic TEXT METADATA FROM 'topic'`"));
    }
    Some(Topics { all: table.agent_topics.clone(), column: column? })
}

/// The index of the data column that an option names.
fn column(reader: &mut OptionReader<'_>, key: &str, wanted: &str, fits: impl Fn(&DataType) -> bool) -> Option<usize> {
    let name = reader.optional(key)?;
    let table = reader.table();
    let span = table.option(key).map(|o| o.value_span.clone());
    let columns: Vec<_> = table.write_columns().collect();
    match columns.iter().position(|c| c.name == name) {
        Some(index) if fits(&columns[index].data_type) => Some(index),
        Some(index) => {
            reader.fail(
                Diagnostic::new(
                    Code::COLUMN_TYPE,
                    format!("column `{name}` cannot be `{key}`: its type is not {wanted}"),
                )
                .at(span)
                .help(format!("declare `{}` as {wanted}, or name another column", columns[index].name)),
            );
            None
        }
        None => {
            let error = Diagnostic::new(
                Code::OPTION_VALUE,
                format!("table `{}` has no column `{name}` for `{key}`", table.name),
            )
            .at(span);
            let names = columns.iter().map(|c| c.name.as_str());
            reader.fail(match nearest(&name, names.clone()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!(
                    "its columns are {}",
                    names.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
                )),
            });
            None
        }
    }
}
