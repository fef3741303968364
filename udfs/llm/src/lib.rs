//! Calls language models and agents that are HTTP services for Baton's SQL functions, in plain Rust.
//!
//! Every call is bounded in time, size and number, and every failure is a value in the row. Nothing here panics on the
//! contents of a message, an answer or a setting, because a panic in a UDF ends the job that runs it. The UDFs beside
//! this crate (`udfs/*.rs`) only pass their arguments on. [`result`] describes the results of the functions,
//! `baton-llm-settings` their settings.
//!
//! The crate does not depend on arrow, SQL or the engines.

mod agent;
mod answer;
mod breaker;
mod cache;
mod catalogue;
mod classify;
mod client;
mod complete;
mod confidence;
mod contract;
mod control;
mod deadline;
mod decisions;
mod fault;
mod flights;
mod gate;
mod guard;
mod host;
mod http_call;
mod jury;
mod limit;
mod llm;
mod offline;
pub mod prompt;
mod provider;
mod registry;
pub mod result;
mod transport;
mod usage;

pub use baton_llm_settings::{Secret, Settings, settings};
pub use contract::contract_error;
pub use http_call::{HttpAnswer, HttpCaller, HttpSettings};
pub use llm::Llm;
pub use result::{Classification, Completion, Source, Status};

use std::sync::OnceLock;

/// The models configured in this process's environment; one for each library that contains this crate.
fn shared_llm() -> &'static Llm {
    static SHARED: OnceLock<Llm> = OnceLock::new();
    SHARED.get_or_init(|| Llm::from_lookup(|name| std::env::var(name).ok()))
}

/// SQL's `llm_classify`: selects the agent that takes `text` next. Returns the JSON text of a [`Classification`].
pub async fn classify(text: Option<&str>, agents: Option<&str>, options: Option<&str>) -> String {
    result::to_json(&shared_llm().classify(text, agents, options).await)
}

/// SQL's `llm_complete`: the model's answer to `prompt` about `input`. Returns the JSON text of a [`Completion`].
pub async fn complete(
    prompt: Option<&str>,
    input: Option<&str>,
    fallback: Option<&str>,
    options: Option<&str>,
) -> String {
    result::to_json(&shared_llm().complete(prompt, input, fallback, options).await)
}

/// SQL's `http_call`: the answer of the service at `url` to `body`. Returns the JSON text of an [`HttpAnswer`].
pub async fn http_call(url: Option<&str>, body: Option<&str>, options: Option<&str>) -> String {
    static SHARED: OnceLock<HttpCaller> = OnceLock::new();
    let caller = SHARED.get_or_init(|| HttpCaller::from_lookup(|name| std::env::var(name).ok()));
    result::to_json(&caller.call(url, body, options).await)
}
