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
    insta::assert_snapshot!(text(&Kafka.source(&table, &environment()).err().expect("errors")), @r#"
    error[T101]: option `sink.key_field` is for sinks, and `t` is a source
     --> t.sql:5:58
      |
    5 |     type = 'source', topics = 'x', format = 'raw_bytes', 'sink.key_field' = 'value'
      |                                                          ^^^^^^^^^^^^^^^^
      |
    help: take it out

    error[T102]: table `t` needs the option `bootstrap_servers`
     --> t.sql:1:14
      |
    1 | CREATE TABLE t (
      |              ^
      |
    help: add `'bootstrap_servers' = '…'` to its WITH clause (The brokers to begin with: `host:port`, several separated by commas.)

    error[T101]: table `t` has no option `topics`
     --> t.sql:5:22
      |
    5 |     type = 'source', topics = 'x', format = 'raw_bytes', 'sink.key_field' = 'value'
      |                      ^^^^^^
      |
    help: did you mean `topic`?
    "#);
}

#[test]
fn client_configs_that_are_refused() {
    insta::assert_snapshot!(
        wrong_source("value BYTEA", "client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'"),
        @r#"
        error[T103]: `client_configs` cannot set `enable.auto.commit`
         --> t.sql:6:22
          |
        6 |     client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'
          |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
        help: leave it out: Baton commits an offset when all its results are delivered

        error[T103]: `client_configs` cannot set `group.id`
         --> t.sql:6:22
          |
        6 |     client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'
          |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
        help: use the option `source.group_id`

        error[T103]: `client_configs`: librdkafka has no setting `no.such`
         --> t.sql:6:22
          |
        6 |     client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'
          |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
        help: the settings are those of librdkafka: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md

        error[T103]: `client_configs`: `fetch.wait.max.ms` has a value that it does not take
         --> t.sql:6:22
          |
        6 |     client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'
          |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
        help: the settings are those of librdkafka: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md

        error[T103]: `client_configs` has a part that is not `name=value`
         --> t.sql:6:22
          |
        6 |     client_configs = 'enable.auto.commit=true, group.id=a, no.such=1, fetch.wait.max.ms=soon, ${PASSWORD}'
          |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
        help: write `name=value` pairs, separated by commas; a value cannot hold a comma
        "#
    );
    insta::assert_snapshot!(wrong_sink("client_configs = 'acks=1'"), @r#"
    error[T103]: `client_configs` cannot set `acks`
     --> t.sql:6:22
      |
    6 |     client_configs = 'acks=1'
      |                      ^^^^^^^^
      |
    help: leave it out: a row is delivered when all replicas have it
    "#);
}

#[test]
fn logins_that_are_refused() {
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.type' = 'aws_msk_iam', 'auth.region' = 'eu-west-1'"), @r#"
    error[Q105]: the embedded engine cannot log in with `aws_msk_iam`
     --> t.sql:6:19
      |
    6 |     'auth.type' = 'aws_msk_iam', 'auth.region' = 'eu-west-1'
      |                   ^^^^^^^^^^^^^
      |
    help: use `sasl` with `SCRAM-SHA-512`, or run the pipeline on Arroyo
    "#);
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.type' = 'sasl', 'auth.mechanism' = 'GSSAPI', 'auth.username' = 'a', 'auth.password' = 'b'"), @r#"
    error[T102]: table `t` needs the option `auth.protocol`
     --> t.sql:1:14
      |
    1 | CREATE TABLE t (
      |              ^
      |
    help: add `'auth.protocol' = '…'` to its WITH clause (With `sasl`: whether the connection is encrypted.)

    error[T103]: option `auth.mechanism` cannot be `GSSAPI`
     --> t.sql:6:46
      |
    6 |     'auth.type' = 'sasl', 'auth.mechanism' = 'GSSAPI', 'auth.username' = 'a', 'auth.password' = 'b'
      |                                              ^^^^^^^^
      |
    help: it must be one of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`
    "#);
    insta::assert_snapshot!(wrong_source("value BYTEA", "'auth.username' = 'a'"), @r#"
    error[T103]: option `auth.username` does nothing without `auth.type`
     --> t.sql:6:5
      |
    6 |     'auth.username' = 'a'
      |     ^^^^^^^^^^^^^^^
      |
    help: add `'auth.type' = 'sasl'`
    "#);
    insta::assert_snapshot!(wrong_source("value BYTEA", "connection_profile = 'prod'"), @r#"
    error[T101]: connection profiles are kept in a cluster of Arroyo, and the embedded engine has none
     --> t.sql:6:5
      |
    6 |     connection_profile = 'prod'
      |     ^^^^^^^^^^^^^^^^^^
      |
    help: write the profile's settings here: `bootstrap_servers`, `auth.type`, …
    "#);
}

#[test]
fn metadata_columns_that_are_refused() {
    insta::assert_snapshot!(
        wrong_source("value BYTEA, o INT METADATA FROM 'offset_id', p INT METADATA FROM 'partitions'", "'source.offset' = 'first'"),
        @r#"
        error[T103]: option `source.offset` cannot be `first`
         --> t.sql:6:23
          |
        6 |     'source.offset' = 'first'
          |                       ^^^^^^^
          |
        help: it must be one of `latest`, `earliest`, `group`

        error[T106]: metadata `offset_id` does not fit the type of column `o`
         --> t.sql:2:18
          |
        2 |     value BYTEA, o INT METADATA FROM 'offset_id', p INT METADATA FROM 'partitions'
          |                  ^
          |
        help: declare the column as BIGINT

        error[T106]: a Kafka source has no metadata `partitions`
         --> t.sql:2:51
          |
        2 |     value BYTEA, o INT METADATA FROM 'offset_id', p INT METADATA FROM 'partitions'
          |                                                   ^
          |
        help: did you mean `partition`?
        "#
    );
}

#[test]
fn sinks_that_are_refused() {
    insta::assert_snapshot!(wrong_sink("'sink.commit_mode' = 'exactly_once'"), @r#"
    error[Q105]: the embedded engine cannot deliver `exactly_once` yet
     --> t.sql:6:26
      |
    6 |     'sink.commit_mode' = 'exactly_once'
      |                          ^^^^^^^^^^^^^^
      |
    help: write `'sink.commit_mode' = 'at_least_once'`, or run the pipeline on Arroyo
    "#);
    insta::assert_snapshot!(wrong_sink("'sink.key_field' = 'workflow', 'sink.timestamp_field' = 'score'"), @r#"
    error[T103]: table `t` has no column `workflow` for `sink.key_field`
     --> t.sql:6:24
      |
    6 |     'sink.key_field' = 'workflow', 'sink.timestamp_field' = 'score'
      |                        ^^^^^^^^^^
      |
    help: did you mean `workflow_id`?

    error[T003]: column `score` cannot be `sink.timestamp_field`: its type is not TIMESTAMP
     --> t.sql:6:61
      |
    6 |     'sink.key_field' = 'workflow', 'sink.timestamp_field' = 'score'
      |                                                             ^^^^^^^
      |
    help: declare `score` as TIMESTAMP, or name another column
    "#);
    insta::assert_snapshot!(wrong_sink("'sink.key_field' = 'score', 'source.offset' = 'earliest'"), @r#"
    error[T101]: option `source.offset` is for sources, and `t` is a sink
     --> t.sql:6:33
      |
    6 |     'sink.key_field' = 'score', 'source.offset' = 'earliest'
      |                                 ^^^^^^^^^^^^^^^
      |
    help: take it out

    error[T003]: column `score` cannot be `sink.key_field`: its type is not TEXT or BYTEA
     --> t.sql:6:24
      |
    6 |     'sink.key_field' = 'score', 'source.offset' = 'earliest'
      |                        ^^^^^^^
      |
    help: declare `score` as TEXT or BYTEA, or name another column
    "#);
}
