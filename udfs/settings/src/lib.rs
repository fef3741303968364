//! The settings of Baton's LLM functions, read and checked: the environment (`BATON_LLM_…`) in [`settings`] and
//! [`limits`], the `options` argument of a call in [`options`], and that of `http_call` in [`http`].
//!
//! This crate calls no model: `baton-llm` does. It is a separate crate because the engine also checks the settings
//! before a pipeline runs.

pub mod address;
pub mod check;
pub mod endpoint;
pub mod headers;
pub mod http;
pub mod key_file;
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
pub use key_file::KeyFile;
pub use options::{Budget, Effort, Function, Options, check_options};
pub use secret::Secret;
pub use settings::Settings;
pub use variables::VARIABLES;
