//! How an answer ended: only one that the model finished is an answer.

use serde_json::Value;

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The model finished it.
    Complete,
    /// It reached its maximum length.
    Cut,
    /// The model's context is full.
    Full,
    /// A content filter stopped it.
    Filtered,
    /// The model refuses to answer.
    Refused,
    /// The server broke it off, with the reason that it gives.
    Broken(String),
}

/// Reasons for a finished answer, in lower case. Some servers give none.
const COMPLETE: &[&str] = &[
    "",
    "stop",
    "end_turn",
    "eos",
    "eos_token",
    "stop_sequence",
    "tool_calls",
    "tool_call",
    "tool_use",
    "function_call",
    "complete",
    "completed",
    "done",
    "end",
    "null",
    "unknown",
    "finish_reason_unspecified",
];

const CUT: &[&str] = &[
    "length",
    "max_tokens",
    "model_length",
    "max_length",
    "max_output_tokens",
    "max_completion_tokens",
    "token_limit",
];

const FULL: &[&str] =
    &["model_context_window_exceeded", "context_window_exceeded", "context_length_exceeded", "context_length"];

const FILTERED: &[&str] = &[
    "content_filter",
    "content_filtered",
    "safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "image_safety",
    "guardrail_intervened",
    "sensitive",
    "moderation",
    "error_toxic",
    "model_armor",
];

impl End {
    /// The end that a server's reason means.
    pub(super) fn of(reason: &str) -> Self {
        let lower = reason.trim().to_lowercase();
        // Gemini adds what its filter found: `content_filter: PROHIBITED_CONTENT`.
        let word = lower.split(':').next().unwrap_or_default().trim();
        let word = word.strip_prefix("finish_reason_").filter(|word| *word != "unspecified").unwrap_or(word);
        let is = |words: &[&str]| words.contains(&word);
        match word {
            _ if is(COMPLETE) => Self::Complete,
            _ if is(CUT) => Self::Cut,
            _ if is(FULL) => Self::Full,
            _ if is(FILTERED) => Self::Filtered,
            "refusal" => Self::Refused,
            _ => Self::Broken(reason.trim().to_owned()),
        }
    }

    /// The same for a reason of any JSON type. A missing one counts as complete, because some servers give none.
    pub(super) fn of_value(reason: Option<&Value>) -> Self {
        match reason {
            None | Some(Value::Null) => Self::Complete,
            Some(Value::String(reason)) => Self::of(reason),
            Some(Value::Object(fields)) => match fields.get("type").or_else(|| fields.get("reason")) {
                Some(Value::String(reason)) => Self::of(reason),
                _ => Self::Broken(Value::from(fields.clone()).to_string()),
            },
            Some(other) => Self::Broken(other.to_string()),
        }
    }

    /// Why the answer cannot be used.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Complete => "the answer is complete".to_owned(),
            Self::Cut => {
                "the answer was cut off at its maximum length: set the option max_tokens higher (for all calls: \
                 BATON_LLM_MAX_TOKENS), or effort lower if the model thinks before it answers"
                    .to_owned()
            }
            Self::Full => "the model's context is full: set the option max_input_chars lower".to_owned(),
            Self::Filtered => "the server's content filter stopped the answer".to_owned(),
            Self::Refused => "the model refuses to answer".to_owned(),
            Self::Broken(reason) => format!("the server broke the answer off ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_known_reasons_mean_complete() {
        for (reason, end) in [
            (json!(null), End::Complete),
            (json!(""), End::Complete),
            (json!("stop"), End::Complete),
            (json!("STOP"), End::Complete),
            (json!("end_turn"), End::Complete),
            (json!("tool_calls"), End::Complete),
            (json!({ "type": "stop" }), End::Complete),
            (json!("length"), End::Cut),
            (json!("MAX_TOKENS"), End::Cut),
            (json!("FINISH_REASON_MAX_TOKENS"), End::Cut),
            (json!("model_length"), End::Cut),
            (json!("content_filter"), End::Filtered),
            (json!("content_filter: RECITATION"), End::Filtered),
            (json!("SAFETY"), End::Filtered),
            (json!("refusal"), End::Refused),
            (json!("model_context_window_exceeded"), End::Full),
            (json!("insufficient_system_resource"), End::Broken("insufficient_system_resource".into())),
            (json!("error"), End::Broken("error".into())),
            (json!("pause_turn"), End::Broken("pause_turn".into())),
            (json!(7), End::Broken("7".into())),
            (json!({ "odd": 1 }), End::Broken(r#"{"odd":1}"#.into())),
        ] {
            assert_eq!(End::of_value(Some(&reason)), end, "{reason}");
        }
        assert_eq!(End::of_value(None), End::Complete);
    }
}
