//! The reference pipelines as processes, against a real Apache Kafka and a model that is played: what must hold when
//! everything goes well, when processes die, when the model is slow, gone or strict, and when messages are broken.
//!
//! `tests/broker/install`, then `cargo test --release --test kafka_pipelines -- --ignored --test-threads 1`. The binary is
//! the one that cargo built, or `BATON_BIN`; the project is this one, or `BATON_PROJECT`.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "support/broker.rs"]
#[allow(dead_code, reason = "another test binary needs the rest")]
mod broker;
#[path = "kafka_pipelines/model.rs"]
mod model;
#[path = "support/model.rs"]
#[allow(dead_code, reason = "another test binary needs the rest")]
mod played;
#[path = "kafka_pipelines/process.rs"]
mod process;
#[path = "kafka_pipelines/system.rs"]
mod system;

#[path = "kafka_pipelines/agents.rs"]
mod agents;
#[path = "kafka_pipelines/broken.rs"]
mod broken;
#[path = "kafka_pipelines/crashes.rs"]
mod crashes;
#[path = "kafka_pipelines/hops.rs"]
mod hops;
#[path = "kafka_pipelines/malformed.rs"]
mod malformed;
#[path = "kafka_pipelines/messages.rs"]
mod messages;
#[path = "kafka_pipelines/pace.rs"]
mod pace;
#[path = "kafka_pipelines/places.rs"]
mod places;
#[path = "kafka_pipelines/refusals.rs"]
mod refusals;
#[path = "kafka_pipelines/whole.rs"]
mod whole;
#[path = "kafka_pipelines/workflows.rs"]
mod workflows;
