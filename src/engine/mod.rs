//! The embedded engine: plans become one dataflow, which runs until its sources end or a stop is requested.
//!
//! [`graph`] cuts logical plans at async UDFs and shares what several readers use; [`step`] computes micro-batches;
//! [`flow`] carries batches and their lineage from sources through steps and [`calls`] to sinks; [`run`] opens, starts,
//! supervises and stops; [`constants`] finds arguments that are the same for every row; `llm` and `http` check the calls
//! of models and services before they are made. `connectors` does I/O, and `cli` reports to people.

pub mod calls;
pub mod constants;
pub mod draw;
pub mod flow;
pub mod graph;
mod http;
pub(crate) mod llm;
pub mod pipeline;
pub mod run;
pub mod step;

pub use pipeline::{Pipeline, check_unused, compile, rendered};
pub use run::{RunOptions, run};
