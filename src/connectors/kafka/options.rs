//! The options of a Kafka table and the metadata of its messages. `config` reads them.

use datafusion::arrow::datatypes::DataType;

use crate::sql::options::{OptionDoc, option};
use crate::sql::table::AGENT_TOPICS;

/// The options, without those of formats.
pub const OPTIONS: &[OptionDoc] = &[
    option("bootstrap_servers", "The brokers to begin with: `host:port`, several separated by commas."),
    option("topic", "The topic. It must exist at the start, or be created with `--create-topics`."),
    option(
        "source.offset",
        "Where a consumer group without a committed offset begins; any other continues from its offset. The start is \
         committed before anything is read, so no restart moves it. `group` is `latest`, unless `client_configs` has \
         `auto.offset.reset=earliest`, or `=error` to refuse to start.",
    )
    .default("latest")
    .choices(&["latest", "earliest", "group"]),
    option(
        "source.group_id",
        "The consumer group. Processes of one group share the topic's partitions. Without it: \
         `baton-<pipeline>-<table>`.",
    ),
    option(
        "source.group_id_prefix",
        "The prefix of a consumer group that Baton names itself: `<prefix>-baton-<pipeline>-<table>`.",
    ),
    option(
        "source.read_mode",
        "Whether messages of open or aborted transactions are left out (`read_committed`) or read.",
    )
    .default("read_committed")
    .choices(&["read_committed", "read_uncommitted"]),
    option(
        AGENT_TOPICS,
        "With `agents`, a sink writes to the topics of all agents (CREATE AGENT) instead of one `topic`. The column \
         `METADATA FROM 'topic'` names the topic of each row. A row with any other topic stops the pipeline; on Arroyo \
         it is dropped. The table `agent_topics` also gives the options with which the agents' inboxes are read.",
    )
    .choices(&["agents"]),
    option(
        "baton.scan.bounded.mode",
        "With `latest-offset`, the source ends when it has read what the topic held at the start. So does a pipeline \
         that reads nothing else.",
    )
    .default("unbounded")
    .choices(&["unbounded", "latest-offset"]),
    option("sink.commit_mode", "How rows are delivered. `exactly_once` is not available in the embedded engine yet.")
        .default("at_least_once")
        .choices(&["at_least_once", "exactly_once"]),
    option(
        "sink.key_field",
        "The column that is the message's key; it stays in the message too. A row whose key is NULL has none.",
    ),
    option(
        "sink.timestamp_field",
        "The TIMESTAMP column that is the message's timestamp; without it, or where it is NULL, the time of writing.",
    ),
    option("auth.type", "How to log in to the brokers. (`aws_msk_iam` is not available in the embedded engine.)")
        .default("none")
        .choices(&["none", "sasl", "aws_msk_iam"]),
    option("auth.protocol", "With `sasl`: whether the connection is encrypted.")
        .choices(&["SASL_PLAINTEXT", "SASL_SSL"]),
    option("auth.mechanism", "With `sasl`: the mechanism.").choices(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
    option("auth.username", "With `sasl`: the user."),
    option("auth.password", "With `sasl`: the password. Take it from the environment: `${KAFKA_PASSWORD}`."),
    option(
        "connection_profile",
        "A profile in a cluster of Arroyo. The embedded engine has none: write its settings into the table.",
    ),
    option("auth.region", "With `aws_msk_iam`, which the embedded engine does not have."),
    option(
        "client_configs",
        "Settings of librdkafka as `name=value`, separated by commas, such as `ssl.ca.location=/etc/ca.pem`. They \
         override Baton's own, except those that delivery depends on.",
    ),
    option(
        "baton.create_partitions",
        "How many partitions the topic gets when the pipeline creates it; -1 is the broker's default.",
    )
    .default("-1"),
    option(
        "baton.create_max_message_bytes",
        "How large a message may be, in bytes, in a topic that the pipeline creates; without it, the broker's default.",
    ),
    option(
        "baton.create_replication",
        "How many replicas the topic gets when the pipeline creates it; -1 is the broker's default.",
    )
    .default("-1"),
];

/// The metadata columns, with their types.
pub const METADATA: &[(&str, DataType)] = &[
    ("offset_id", DataType::Int64),
    ("partition", DataType::Int32),
    ("topic", DataType::Utf8),
    ("timestamp", DataType::Int64),
    ("key", DataType::Binary),
];
