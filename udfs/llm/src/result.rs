//! The results of the functions: one JSON object per row, always with the same keys.
//!
//! `classify`, `complete` and `http_call` produce them.

use serde::Serialize;

/// The outcome of a row. The list is closed: SQL can rely on it in a `CASE`.
///
/// | Status | What it means | Does trying again make sense? |
/// | --- | --- | --- |
/// | `ok` | The answer is there and was checked. | – |
/// | `invalid` | An answer came, was requested once more, and still cannot be used: no defined name, not the schema, not the protocol, too large. | Seldom: another prompt or model is needed. |
/// | `timeout` | No answer within the time of the row, or no free slot. | Yes, later. |
/// | `unavailable` | No connection, connection lost, or 408 and 5xx, after all retries. | Yes, later. |
/// | `rate_limited` | 429 after all retries, or `Retry-After` is past the row's deadline. | Yes, later and slower. |
/// | `budget` | A budget of tokens or money is used up, or the rest is less than the maximum usage of this call. No call was made. | When there is budget again. |
/// | `rejected` | The server refuses the request: 401, 403, 404, another 4xx, or a redirect. | Not before a setting is changed. |
/// | `config` | A setting, the options, the agents or the schema are wrong. No call was made. | Not before it is corrected. |
/// | `bad_input` | The row itself cannot be asked about: its text or URL is NULL or blank. No call was made. | No. |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The answer is there and was checked.
    Ok,
    /// An answer came, but it cannot be used, even after a second request.
    Invalid,
    /// No answer within the time of the row.
    Timeout,
    /// The server cannot be reached, or fails, after all retries.
    Unavailable,
    /// The server wants fewer requests, after all retries.
    RateLimited,
    /// A budget is used up.
    Budget,
    /// The server refuses this request.
    Rejected,
    /// A setting or a constant argument is wrong.
    Config,
    /// The row's own value cannot be used.
    BadInput,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A language model answered, or should have.
    Model,
    /// The decision log: the same question was answered before.
    Log,
    /// Another row asked the same question at the same time.
    Shared,
    /// The text method, or the fallback argument; no model was asked.
    Offline,
}

/// The usage of a call: the part that all results of model calls share.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CallFacts {
    /// HTTP calls made for this row.
    pub attempts: u32,
    /// Tokens of all prompts of this row, as the server counts them; null if it does not report them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of all answers of this row, as the server counts them; null if it does not report them.
    pub completion_tokens: Option<u64>,
    /// Their cost by `BATON_LLM_PRICES`; null if the model has no price there or the server reports no tokens. 0 if no
    /// model was called.
    pub cost: Option<f64>,
    /// From the start of the function to its result, waits included.
    pub latency_ms: u64,
    /// The model that answered, as the server names it, else the requested one; null offline.
    pub model: Option<String>,
    /// Null if a wrong setting leaves the provider unknown.
    pub source: Option<Source>,
}

/// The result of `llm_classify`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// One of the defined names, or `NONE`; null if `status` is not `ok`.
    pub agent: Option<String>,
    /// The agent's topic from the `agents` argument; null for an agent without one, for `NONE`, and if `status` is not
    /// `ok`.
    pub topic: Option<String>,
    /// The outcome of the row.
    pub status: Status,
    /// 0 to 1, comparable only within one source, model and prompt; null if it cannot be computed, which does not mean
    /// low.
    pub confidence: Option<f64>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// The usage.
    #[serde(flatten)]
    pub facts: CallFacts,
}

/// The result of `llm_complete`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Completion {
    /// The answer; null if `status` is not `ok`.
    pub text: Option<String>,
    /// The outcome of the row.
    pub status: Status,
    /// Always null: there is no choice to be confident of.
    pub confidence: Option<f64>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// The usage.
    #[serde(flatten)]
    pub facts: CallFacts,
}

/// The reason for a missing answer: a status that is not `ok`, and a sentence that says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The outcome of the row.
    pub status: Status,
    /// The sentence.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Status::Config, message)
    }

    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::new(Status::BadInput, message)
    }
}

/// The JSON text for SQL. These types always serialise; if one ever does not, the row reports it instead of a panic.
pub(crate) fn to_json(result: &impl Serialize) -> String {
    serde_json::to_string(result)
        .unwrap_or_else(|error| serde_json::json!({ "status": "invalid", "error": error.to_string() }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_always_all_there() {
        let failed = Classification {
            agent: None,
            topic: None,
            status: Status::RateLimited,
            confidence: None,
            error: Some("x".into()),
            facts: CallFacts::default(),
        };
        assert_eq!(
            to_json(&failed),
            r#"{"agent":null,"topic":null,"status":"rate_limited","confidence":null,"error":"x","attempts":0,"prompt_tokens":null,"completion_tokens":null,"cost":null,"latency_ms":0,"model":null,"source":null}"#
        );
    }
}
