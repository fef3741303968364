//! Rust functions that SQL can call: read from their source files, compiled as Arroyo compiles them, and called.
//!
//! [`discover`] reads a folder, [`standard()`] the UDFs that come with Baton. [`scalar_udf`] makes the planner's
//! functions before anything is compiled, [`build()`] compiles, [`load`] opens the libraries, and [`UdfStates`] tracks
//! the states that UDFs report. `engine` finds the async calls in a plan and handles their answers.

mod build;
mod comments;
mod dependencies;
mod function;
mod host;
mod options;
mod place;
mod source;
mod standard;
mod states;
mod types;

pub use build::{BuiltUdf, Progress, build, hex_digest};
pub use function::{HostedUdf, hosted, scalar_udf};
pub use host::{
    Answers, AsyncAnswers, AsyncCalls, AsyncLibrary, AsyncUdf, CallArgs, HOST_VARIABLE, HostChannel, LoadedSlot,
    LoadedUdf, RowError, RowErrors, Slot, SyncUdf, load,
};
pub use options::AsyncOptions;
pub use source::{Signature, UdfKind, UdfSource, discover, parse};
pub use standard::standard;
pub use states::{Rejection, UdfStates};
pub use types::UdfType;
