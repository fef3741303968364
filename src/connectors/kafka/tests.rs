//! What is said about options that are wrong, and which settings follow from those that are right.

use super::Kafka;
use super::config::{SinkConfig, SourceConfig, Start};
use crate::config::Environment;
use crate::connectors::Connector;
use crate::diag::{Diagnostic, SourceText, Style, to_text};
use crate::sql::definition::{Definition, read};
use crate::sql::statement::parse;
use crate::sql::table::TableDef;

fn table(columns: &str, options: &str) -> TableDef {
    let sql = format!("CREATE TABLE t (\n    {columns}\n) WITH (\n    connector = 'kafka',\n    {options}\n);\n");
    let source = SourceText::new("t.sql", sql);
    let script = read(&source, parse(&source).unwrap()).unwrap();
    match &script.definitions[0] {
        Definition::Table(table) => table.clone(),
        other => panic!("{other:?} is no table"),
    }
}

fn environment() -> Environment {
    Environment::only([("PASSWORD", "hunter2")])
}

fn source(options: &str) -> SourceConfig {
    let options =
        format!("type = 'source', bootstrap_servers = 'b:9092', topic = 'x', format = 'raw_bytes', {options}");
    SourceConfig::read(&table("value BYTEA", options.trim_end_matches(", ")), &environment()).unwrap()
}

fn text(errors: &[Diagnostic]) -> String {
    to_text(errors, Style::Plain)
}

fn wrong_source(columns: &str, options: &str) -> String {
    let options =
        format!("type = 'source', bootstrap_servers = 'b:9092', topic = 'x', format = 'raw_bytes',\n    {options}");
    text(&Kafka.source(&table(columns, &options), &environment()).err().expect("errors"))
}

fn wrong_sink(options: &str) -> String {
    let options = format!("type = 'sink', bootstrap_servers = 'b:9092', topic = 'x', format = 'json',\n    {options}");
    text(
        &Kafka
            .sink(&table("workflow_id TEXT, score INT, created_at TIMESTAMP", &options), &environment())
            .err()
            .expect("errors"),
    )
}

#[test]
fn a_group_begins_where_the_table_says() {
    assert_eq!(source("").start, Start::Latest);
    assert_eq!(source("'source.offset' = 'earliest'").start, Start::Earliest);
    assert_eq!(source("'source.offset' = 'group'").start, Start::Latest);
    let with = |offset: &str, reset: &str| {
        source(&format!("'source.offset' = '{offset}', client_configs = 'auto.offset.reset={reset}'")).start
    };
    assert_eq!(with("group", "earliest"), Start::Earliest);
    assert_eq!(with("group", "error"), Start::Refuse);
    assert_eq!(with("earliest", "latest"), Start::Earliest);
    assert_eq!(with("latest", "earliest"), Start::Latest);
}

#[test]
fn a_group_is_named_after_pipeline_and_table() {
    assert_eq!(source("").group("p"), "baton-p-t");
    assert_eq!(source("'source.group_id_prefix' = 'team'").group("p"), "team-baton-p-t");
    assert_eq!(source("'source.group_id' = 'mine', 'source.group_id_prefix' = 'team'").group("p"), "mine");
}

#[test]
fn a_consumer_never_commits_by_itself_and_never_skips() {
    let config = source("'source.offset' = 'latest', client_configs = 'fetch.wait.max.ms=7, auto.offset.reset=latest'");
    let consumer = config.consumer("p");
    let has = |key: &str, value: &str| assert_eq!(consumer.get(key), Some(value), "{key}");
    has("enable.auto.commit", "false");
    has("enable.auto.offset.store", "false");
    has("auto.offset.reset", "earliest");
    has("isolation.level", "read_committed");
    has("partition.assignment.strategy", "cooperative-sticky");
    has("session.timeout.ms", "10000");
    has("fetch.wait.max.ms", "7");
    has("group.id", "baton-p-t");
    let config = source("'source.read_mode' = 'read_uncommitted', client_configs = 'max.poll.interval.ms=6000'");
    assert_eq!(config.consumer("p").get("isolation.level"), Some("read_uncommitted"));
    assert_eq!(config.consumer("p").get("session.timeout.ms"), Some("6000"));
    let config = source("client_configs = 'group.protocol=consumer'");
    assert_eq!(config.consumer("p").get("session.timeout.ms"), None);
}

#[test]
fn a_login_becomes_settings_and_its_password_stays_hidden() {
    let config = source(
        "'auth.type' = 'sasl', 'auth.protocol' = 'SASL_SSL', 'auth.mechanism' = 'SCRAM-SHA-512', \
         'auth.username' = 'alice', 'auth.password' = '${PASSWORD}', client_configs = 'ssl.key.password=s=cr,ssl.ca.location=/ca.pem'",
    );
    let consumer = config.consumer("p");
    assert_eq!(consumer.get("security.protocol"), Some("SASL_SSL"));
    assert_eq!(consumer.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    assert_eq!(consumer.get("sasl.password"), Some("hunter2"));
    assert_eq!(consumer.get("ssl.key.password"), Some("s=cr"));
    assert_eq!(consumer.get("ssl.ca.location"), Some("/ca.pem"));
    let shown = format!("{:?}", config.connection);
    assert!(!shown.contains("hunter2") && !shown.contains("s=cr"), "{shown}");
    assert_eq!(config.connection.secrets.redact("no hunter2, no s=cr"), "no …, no …");
}

#[test]
fn a_producer_waits_for_all_replicas_and_keeps_order() {
    let options = "type = 'sink', bootstrap_servers = 'b:9092', topic = 'x', format = 'json', \
                   'sink.key_field' = 'workflow_id', client_configs = 'compression.type=zstd'";
    let config = SinkConfig::read(&table("score INT, workflow_id TEXT", options), &environment()).unwrap();
    assert_eq!(config.key, Some(1));
    let producer = config.producer("p");
    assert_eq!((producer.get("acks"), producer.get("enable.idempotence")), (Some("all"), Some("true")));
    assert_eq!(producer.get("compression.type"), Some("zstd"));
}

#[test]
fn missing_and_unknown_options() {
    let table = table("value BYTEA", "type = 'source', topics = 'x', format = 'raw_bytes', 'sink.key_field' = 'value'");
    insta::assert_snapshot!(text(&Kafka.source(&table, &environment()).err().expect("errors")), @"");
}

#[test]
fn client_configs_that_are_refused() {
    insta::assert_snapshot!(
        wrong_source("value BYTEA", "client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'"),
        @""
    );
    insta::assert_snapshot!(wrong_sink("client_configs = 'acks=1'"), @"");
}

#[test]
fn logins_that_are_refused() {
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.type' = 'aws_msk_iam', 'auth.region' = 'eu-west-1'"), @"");
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.type' = 'sasl', 'auth.mechanism' = 'GSSAPI', 'auth.username' = 'a', 'auth.password' = 'b'"), @"");
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.username' = 'a'"), @"");
    insta::assert_snapshot!(wrong_source("value BYTEA", "connection_profile = 'prod'"), @"");
}

#[test]
fn metadata_columns_that_are_refused() {
    insta::assert_snapshot!(
        wrong_source("value BYTEA, o INT METADATA FROM 'offset_id', p INT METADATA FROM 'partitions'", "'source.offset' = 'first'"),
        @""
    );
}

#[test]
fn sinks_that_are_refused() {
    insta::assert_snapshot!(wrong_sink("'sink.commit_mode' = 'exactly_once'"), @"");
    insta::assert_snapshot!(wrong_sink("'sink.key_field' = 'workflow', 'sink.timestamp_field' = 'score'"), @"");
    insta::assert_snapshot!(wrong_sink("'sink.key_field' = 'score', 'source.offset' = 'earliest'"), @"");
}
