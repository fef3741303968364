//! What can be set for Baton's LLM functions, and whether it is right: the environment (`BATON_LLM_…`) in [`settings`] and [`limits`], the
//! `options` argument of a call in [`options`].
//!
//! It asks nobody: `baton-llm` does that. It is a crate of its own because the engine, too, has to know before a pipeline
//! runs whether what is set is right.

pub mod endpoint;
pub mod limits;
pub mod options;
pub mod prompt;
mod schema;
pub mod secret;
pub mod settings;
pub mod text;

pub use options::{Function, Options, check_options};
pub use secret::Secret;
pub use settings::{Settings, Summary, check_settings};
