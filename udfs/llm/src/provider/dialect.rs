//! The features that one model on one server supports: all are assumed, refusals and answers disprove some, and the
//! result is remembered.

use super::Question;
use crate::transport::Answer;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::settings::Provider;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many pairs of server and model are remembered.
const MOST_REMEMBERED: usize = 256;

/// How a schema is sent to the server, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SchemaBy {
    /// As the format of the answer: `response_format` at OpenAI, `output_config.format` at Anthropic.
    Format,
    /// As the input of a tool that the model must call; for Anthropic's older models.
    Tool,
    /// Only in the prompt.
    Prompt,
}

/// The features of one model on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(super) schema_by: SchemaBy,
    /// Enforces the schema. Some servers accept one and ignore it.
    holds: bool,
    pub(super) temperature: bool,
    /// Requires `max_completion_tokens` instead of `max_tokens`.
    pub(super) completion_tokens: bool,
    pub(super) logprobs: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { schema_by: SchemaBy::Format, holds: true, temperature: true, completion_tokens: false, logprobs: true }
    }
}

impl Dialect {
    /// Whether the schema of `question` is sent outside the prompt.
    pub(super) fn sends_schema(self, question: &Question<'_>) -> bool {
        question.schema.is_some() && question.strict && self.schema_by != SchemaBy::Prompt
    }

    /// Whether the server is assumed to enforce the schema of `question`.
    pub(super) fn enforces(self, question: &Question<'_>) -> bool {
        self.sends_schema(question) && self.holds
    }

    /// The dialect to try next if the server refuses a request with a reason; `None` if it does not refuse, or if the
    /// reason concerns nothing that can be left out.
    pub(super) fn after(self, answer: &Answer, provider: Provider, question: &Question<'_>) -> Option<Self> {
        match answer.status.as_u16() {
            400 | 422 => self.without(&complaint(&answer.body), provider, question),
            // OpenAI's error for models that do not return log-probabilities.
            403 if self.logprobs && question.choices.is_some() => {
                let about_logprobs = String::from_utf8_lossy(&answer.body).contains("logprobs");
                about_logprobs.then_some(Self { logprobs: false, ..self })
            }
            _ => None,
        }
    }

    fn without(mut self, complaint: &str, provider: Provider, question: &Question<'_>) -> Option<Self> {
        let complaint = complaint.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let openai = provider != Provider::Anthropic;
        if self.temperature && question.temperature.is_some() && says(&["temperature"]) {
            self.temperature = false;
        } else if openai && self.logprobs && question.choices.is_some() && says(&["logprobs"]) {
            self.logprobs = false;
        } else if openai && !self.completion_tokens && question.max_tokens.is_some() && says(&["max_completion_tokens"])
        {
            self.completion_tokens = true;
        } else if self.sends_schema(question) && says(schema_words(self.schema_by, provider)) {
            self.schema_by = match self.schema_by {
                SchemaBy::Format if !openai => SchemaBy::Tool,
                _ => SchemaBy::Prompt,
            };
        } else {
            return None;
        }
        Some(self)
    }
}

/// The words in a refusal of the schema.
fn schema_words(by: SchemaBy, provider: Provider) -> &'static [&'static str] {
    match (by, provider) {
        (SchemaBy::Tool, _) => &["tool", "schema"],
        (_, Provider::Anthropic) => &["output_config", "output_format", "output format", "structured", "schema"],
        _ => &["response_format", "response format", "json_schema", "schema", "structured", "grammar", "guided"],
    }
}

/// The complaint of a refusal: the error's message if it is in a known place, else the whole body. A body may quote the
/// request, which contains all the words that are searched for.
fn complaint(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body).ok().and_then(|value| {
        let error = value.get("error")?;
        error.get("message").unwrap_or(error).as_str().map(str::to_owned)
    });
    message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// The features found out about servers.
#[derive(Debug, Default)]
pub(crate) struct Dialects(Mutex<HashMap<(String, String), Dialect>>);

impl Dialects {
    pub(super) fn of(&self, endpoint: &Endpoint) -> Dialect {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(endpoint)).copied().unwrap_or_default()
    }

    /// Adds new findings. Nothing is ever removed, so rows with different findings at the same time end up with all of
    /// them, and no row meets more than four refusals. Returns everything known now.
    pub(super) fn remember(&self, endpoint: &Endpoint, found: Dialect) -> Dialect {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        let dialect = known.entry(key(endpoint)).or_default();
        dialect.schema_by = dialect.schema_by.max(found.schema_by);
        dialect.holds &= found.holds;
        dialect.temperature &= found.temperature;
        dialect.completion_tokens |= found.completion_tokens;
        dialect.logprobs &= found.logprobs;
        *dialect
    }

    /// Notes that the server accepted a schema but ignored it. From now on the prompt contains it too.
    pub(crate) fn ignores_schema(&self, endpoint: &Endpoint) {
        self.remember(endpoint, Dialect { holds: false, ..Dialect::default() });
    }
}

/// The protocol is part of the key, because a server may speak both on one URL.
fn key(endpoint: &Endpoint) -> (String, String) {
    (format!("{} {}", endpoint.provider, endpoint.base), endpoint.model.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::borrow::Cow;

    fn give_up(provider: Provider, complaints: &[&str]) -> Dialect {
        let schema = json!({});
        let question = Question {
            system: Cow::Borrowed(""),
            user: String::new(),
            again: None,
            schema: Some(&schema),
            strict: true,
            temperature: Some(0.0),
            max_tokens: Some(1),
            choices: Some(&[]),
        };
        let mut dialect = Dialect::default();
        assert_eq!(dialect.without("no such model", provider, &question), None);
        for complaint in complaints {
            dialect = dialect.without(complaint, provider, &question).unwrap();
        }
        for complaint in complaints {
            assert_eq!(dialect.without(complaint, provider, &question), None, "{complaint}");
        }
        dialect
    }

    #[test]
    fn openai_gives_up_each_thing_once() {
        let left = give_up(
            Provider::OpenAi,
            &[
                "Unsupported: 'temperature'",
                "'logprobs' is not supported with this model",
                "use max_completion_tokens",
                "unknown field response_format",
            ],
        );
        assert_eq!(
            left,
            Dialect {
                schema_by: SchemaBy::Prompt,
                holds: true,
                temperature: false,
                completion_tokens: true,
                logprobs: false
            }
        );
    }

    #[test]
    fn anthropic_goes_from_format_to_tool_to_prompt() {
        let left = give_up(
            Provider::Anthropic,
            &[
                "`temperature` is deprecated for this model.",
                "output_config: Extra inputs are not permitted",
                "tool_choice: type \"tool\" and \"any\" are not supported for this model.",
            ],
        );
        assert_eq!(left, Dialect { schema_by: SchemaBy::Prompt, temperature: false, ..Dialect::default() });
    }

    #[test]
    fn what_was_not_sent_is_not_given_up() {
        let schema = json!({});
        let question = Question {
            system: Cow::Borrowed(""),
            user: String::new(),
            again: None,
            schema: Some(&schema),
            strict: false,
            temperature: None,
            max_tokens: None,
            choices: None,
        };
        for complaint in ["temperature", "logprobs", "max_tokens", "schema", "tool"] {
            for provider in [Provider::OpenAi, Provider::Anthropic] {
                assert_eq!(Dialect::default().without(complaint, provider, &question), None);
            }
        }
    }
}
