//! The settings of Baton's LLM functions, read and checked: the environment (`BATON_LLM_…`) in [`settings`] and
//! [`limits`], the `options` argument of a call in [`options`] and, of `http_call`, in [`http`].
//!
//! This crate asks no model: `baton-llm` does that. It is a crate of its own because the engine checks the settings too,
//! before a pipeline runs.

pub mod address;
pub mod check;
pub mod endpoint;
pub mod headers;
pub mod http;
pub mod limits;
pub mod options;
pub mod prompt;
pub mod provider;
mod schema;
pub mod secret;
pub mod settings;
pub mod text;
mod variables;

pub use check::{Summary, check_settings};
pub use options::{Function, Options, check_options};
pub use secret::Secret;
pub use settings::Settings;
pub use variables::VARIABLES;
