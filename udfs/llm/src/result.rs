//! What the functions give back: one JSON object a row, with the same keys whatever happened.
//!
//! How a result comes about is the business of `classify`, `complete` and `http_call`.

use serde::Serialize;

/// What became of a row. The list is closed: SQL can rely on it in a `CASE`.
///
/// | Status | What it means | Does trying again make sense? |
/// | --- | --- | --- |
/// | `ok` | The answer is there and was checked. | – |
/// | `invalid` | An answer came, was asked for once more, and still is none that can be used: no defined name, not the schema, not the protocol, too large. | Seldom: another prompt or model is needed. |
/// | `timeout` | No answer within the time of the row, or no free slot. | Yes, later. |
/// | `unavailable` | No connection, connection lost, or 408 and 5xx, after all retries. | Yes, later. |
/// | `rate_limited` | 429 after all retries, or `Retry-After` is past the row's deadline. | Yes, later and slower. |
/// | `budget` | A budget of tokens or money is used up, or what is left is less than this call takes at most. No call was made. | When there is budget again. |
/// | `rejected` | The server refuses the request: 401, 403, 404, another 4xx, or a redirect. | Not before a setting is changed. |
/// | `config` | A setting, the options, the agents or the schema are wrong. No call was made. | Not before it is corrected. |
/// | `bad_input` | The row itself cannot be asked about: its text or URL is NULL or blank. No call was made. | No. |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The answer is there and was checked.
    Ok,
    /// An answer came, but none that can be used, also when asked once more.
    Invalid,
    /// No answer within the time that the row has.
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
    /// The row's own value cannot be asked about.
    BadInput,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A language model answered, or should have.
    Model,
    /// The decision log: the same was asked before.
    Log,
    /// Another row asked the same at the same time.
    Shared,
    /// The text method, or the fallback argument; no model was asked.
    Offline,
}

/// What a call took: the part that all results about models share.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CallFacts {
    /// HTTP calls made for this row.
    pub attempts: u32,
    /// Tokens of all prompts of this row, as the server counts them; null when it does not say.
    pub prompt_tokens: Option<u64>,
    /// Tokens of all answers of this row, as the server counts them; null when it does not say.
    pub completion_tokens: Option<u64>,
    /// What that cost, by `BATON_LLM_PRICES`; null when the model has no price there or the server counts no tokens. 0 for
    /// what no model was asked for.
    pub cost: Option<f64>,
    /// From the start of the function to its result, waits included.
    pub latency_ms: u64,
    /// The model that answered, as the server names it, else as it was asked for; null offline.
    pub model: Option<String>,
    /// Null when a wrong setting leaves open who would have been asked.
    pub source: Option<Source>,
}

/// The result of `llm_classify`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// One of the defined names, or `NONE`; null when `status` is not `ok`.
    pub agent: Option<String>,
    /// The agent's topic, as the `agents` argument gives it; null for an agent without one, for `NONE`, and when `status` is
    /// not `ok`.
    pub topic: Option<String>,
    /// What became of the row.
    pub status: Status,
    /// 0 to 1, comparable within one source, model and prompt only; null when it cannot be computed, which is not low.
    pub confidence: Option<f64>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// What it took.
    #[serde(flatten)]
    pub facts: CallFacts,
}

/// The result of `llm_complete`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Completion {
    /// The answer; null when `status` is not `ok`.
    pub text: Option<String>,
    /// What became of the row.
    pub status: Status,
    /// Always null: there is no choice to be sure of.
    pub confidence: Option<f64>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// What it took.
    #[serde(flatten)]
    pub facts: CallFacts,
}

/// Why a row has no answer: a status that is not `ok`, and a sentence that says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What became of the row.
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

/// The JSON text that SQL gets. These types always serialize; should one ever not, the row says so instead of a panic.
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
