//! UDFs from their sources to their answers: what is read, what is refused and in which words, what compiles, and what
//! becomes of a row whatever the UDF does.
//!
//! The sources in `tests/fixtures/udfs` are compiled once, in `target/udf-fixtures`, and again only when they change.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests, not tests themselves")]

#[path = "support/udf_fixtures.rs"]
mod udf_fixtures;

mod udf_host {
    pub mod asynchronous;
    pub mod build;
    pub mod fixtures;
    pub mod function;
    pub mod leaks;
    pub mod sources;
    pub mod synchronous;
}
