//! What caused a server's error, from its status, its codes and, where there are none, its sentence.

use super::Fault;

/// The cause of an error, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The key is missing, wrong, or may not do this.
    Key,
    /// The account has no credit, or has reached its spending limit.
    Credit,
    /// The server does not have the model.
    Model,
    /// The prompt does not fit into the model's context, or the body is too large.
    TooLong,
    /// A content filter refuses the prompt or the answer.
    Filtered,
    /// One bad generation of the model, which another attempt may not repeat.
    Slip,
    /// The server has too much to do, or fails.
    Busy,
    /// The model is not loaded yet.
    Loading,
    /// None of these.
    Unknown,
}

/// How much of a message is searched for a sentence, in bytes. What follows may quote the request.
const SEARCHED: usize = 400;

/// Codes and types that are equal to one of these words, in lower case.
const CODES: &[(Cause, &[&str])] = &[
    (Cause::Slip, &["json_validate_failed", "tool_use_failed", "output_parse_failed"]),
    (
        Cause::Credit,
        &[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_limit_reached",
            "billing_not_active",
            "billing_error",
            "insufficient_balance",
            "insufficient_balance_error",
            "insufficient_credits",
            "insufficient_user_quota",
            "exceeded_current_quota_error",
            "payment_required",
            "budget_exceeded",
            "arrearage",
        ],
    ),
    (
        Cause::Key,
        &[
            "invalid_api_key",
            "incorrect_api_key",
            "missing_api_key",
            "expired_api_key",
            "api_key_invalid",
            "api_key_expired",
            "invalidapikey",
            "authentication_error",
            "invalid_authentication_error",
            "authenticationerror",
            "auth_error",
            "unauthenticated",
            "unauthorized",
            "unrecognizedclientexception",
            "expiredtokenexception",
            "account_deactivated",
            "deactivated_workspace",
            "organization_deactivated",
            "token_not_found_in_db",
        ],
    ),
    (
        Cause::Model,
        &[
            "model_not_found",
            "model_not_exist",
            "model_not_available",
            "model_decommissioned",
            "model_deprecated",
            "model_terms_required",
            "model_not_allowed",
            "unknown_model",
            "unsupported_model",
            "invalid_model",
            "modelnotfound",
            "deploymentnotfound",
        ],
    ),
    (
        Cause::TooLong,
        &[
            "context_length_exceeded",
            "context_window_exceeded",
            "exceed_context_size_error",
            "string_above_max_length",
            "prompt_too_long",
            "request_too_large",
            "tokens_limit_reached",
            "contextwindowexceedederror",
        ],
    ),
    (
        Cause::Filtered,
        &[
            "content_filter",
            "content_filtered",
            "content_policy_violation",
            "contentpolicyviolationerror",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "datainspectionfailed",
            "moderation_blocked",
            "guardrail_intervened",
        ],
    ),
    (Cause::Loading, &["model_not_loaded", "model_loading", "modelnotreadyexception"]),
];

/// Sentences, in lower case. They are hints only.
const SENTENCES: &[(Cause, &[&str])] = &[
    (
        Cause::Loading,
        &["no models loaded", "model is loading", "loading model", "is currently loading", "model is not loaded"],
    ),
    (Cause::Slip, &["generated json does not match", "failed to generate json", "failed to call a function"]),
    (
        Cause::TooLong,
        &[
            "maximum context length",
            "exceeds the available context size",
            "prompt is too long",
            "input is too long",
            "input length",
            "exceeds the context",
            "exceeds the maximum number of tokens",
            "exceed context limit",
            "context window",
            "context length exceeded",
            "context too long",
            "too many tokens",
            "too large for model",
            "contextwindowexceedederror",
            "reduce the length of the messages",
            "larger than the context",
            "larger than the maximum context",
            "trying to keep the first",
        ],
    ),
    (
        Cause::Filtered,
        &[
            "content management policy",
            "content filter",
            "contentpolicyviolationerror",
            "content exists risk",
            "inappropriate content",
            "input was flagged",
            "requires moderation",
            "blocked by our moderation",
            "content policy",
            "safety system",
        ],
    ),
    (
        Cause::Credit,
        &[
            "credit balance is too low",
            "usage limits",
            "insufficient balance",
            "insufficient credit",
            "requires more credits",
            "out of credits",
            "no credits",
            "budget has been exceeded",
            "billing is not enabled",
            "requires billing to be enabled",
            "hard limit has been reached",
            "overdue payment",
        ],
    ),
    (
        Cause::Key,
        &[
            "api key not valid",
            "api key not found",
            "api key expired",
            "invalid api key",
            "incorrect api key",
            "invalid subscription key",
            "invalid x-api-key",
            "invalid bearer token",
            "security token included in the request",
            "no auth credentials",
            "no api key",
            "api key is missing",
            "missing api key",
            "missing authentication",
            "authentication fails",
            "authenticationerror",
        ],
    ),
    (
        Cause::Model,
        &[
            "no such model",
            "unknown model",
            "invalid model",
            "unsupported model",
            "model not found",
            "model not exist",
            "not a valid model",
            "model identifier is invalid",
            "no endpoints found for",
            "model: claude",
        ],
    ),
];

/// The words that follow on the name of a model that does not exist.
const NO_MODEL: &[&str] =
    &["not found", "does not exist", "not exist", "has been decommissioned", "has been deprecated"];

/// The cause of `fault`, and whether it is certain.
pub(crate) fn cause_of(fault: &Fault) -> (Cause, bool) {
    if fault.quotes_generation {
        return (Cause::Slip, true);
    }
    let said = fault.message[..fault.message.floor_char_boundary(SEARCHED)].to_lowercase();
    // LM Studio gives this the code of a model that does not exist.
    if said.contains("no models loaded") {
        return (Cause::Loading, false);
    }
    if let Some((cause, _)) = CODES.iter().find(|(_, codes)| has_code(fault, codes)) {
        return (*cause, true);
    }
    if fault.words.iter().any(|word| word.contains("deactivated")) {
        return (Cause::Key, true);
    }
    let sentence = || SENTENCES.iter().find(|(_, parts)| parts.iter().any(|part| said.contains(part)));
    let by_sentence = sentence().map(|(cause, _)| *cause).or_else(|| names_no_model(&said).then_some(Cause::Model));
    match fault.status {
        // The key's account may lack credit all the same.
        401 => (Cause::Key, true),
        402 => (Cause::Credit, true),
        413 => (Cause::TooLong, false),
        408 | 425 | 429 => match by_sentence {
            Some(Cause::Loading) => (Cause::Loading, false),
            // OpenAI's answer to a message that alone takes more tokens than a minute may have.
            _ if said.contains("request too large") => (Cause::TooLong, false),
            _ => (Cause::Busy, false),
        },
        500.. => match by_sentence {
            Some(cause @ (Cause::Loading | Cause::TooLong | Cause::Slip)) => (cause, false),
            _ => (Cause::Busy, false),
        },
        403 => (by_sentence.unwrap_or(Cause::Key), false),
        _ => (by_sentence.unwrap_or(Cause::Unknown), false),
    }
}

fn has_code(fault: &Fault, codes: &[&str]) -> bool {
    fault.words.iter().any(|word| codes.contains(&word.rsplit(['.', '#']).next().unwrap_or(word)))
}

/// Whether a sentence says that a model does not exist: `model 'x' not found`.
fn names_no_model(said: &str) -> bool {
    said.split_once("model").is_some_and(|(_, rest)| {
        let rest = &rest[..rest.floor_char_boundary(150)];
        NO_MODEL.iter().any(|words| rest.contains(words))
    })
}

/// The status that the words of an error stand for, if HTTP reported a success.
pub(crate) fn status_of(fault: &Fault) -> u16 {
    match cause_of(fault) {
        (Cause::Key, true) => return 401,
        (Cause::Credit, true) => return 402,
        (Cause::Model, true) => return 404,
        (Cause::TooLong, true) => return 413,
        (Cause::Slip | Cause::Filtered, true) => return 400,
        (Cause::Loading, _) => return 503,
        _ => {}
    }
    let says = |part: &str| fault.words.iter().any(|word| word.contains(part));
    let parts: &[(&[&str], u16)] = &[
        (&["rate_limit", "ratelimit", "throttl", "resource_exhausted", "too_many_requests"], 429),
        (&["overloaded"], 529),
        (&["authentication", "api_key"], 401),
        (&["extra_forbidden"], 422),
        (&["permission", "forbidden", "accessdenied"], 403),
        (&["not_found", "notfound"], 404),
        (&["quota", "billing"], 402),
        (&["unavailable"], 503),
        (&["timeout", "deadline"], 504),
        (&["invalid_request", "badrequest", "bad_request", "invalid_argument", "validation", "unsupported"], 400),
    ];
    parts.iter().find(|(words, _)| words.iter().any(|word| says(word))).map_or(502, |(_, status)| *status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{Busy, Credit, Filtered, Key, Loading, Model, Slip, TooLong, Unknown};
    use reqwest::StatusCode;
    use serde_json::json;

    fn of(status: u16, body: &str) -> (Cause, bool) {
        let fault = Fault::read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap();
        (fault.cause(), fault.is_certain())
    }

    #[test]
    fn codes_are_certain() {
        for (code, cause) in [
            ("invalid_api_key", Key),
            ("authentication_error", Key),
            ("account_deactivated", Key),
            ("some_deactivated_thing", Key),
            ("insufficient_quota", Credit),
            ("billing_hard_limit_reached", Credit),
            ("model_not_found", Model),
            ("DeploymentNotFound", Model),
            ("context_length_exceeded", TooLong),
            ("exceed_context_size_error", TooLong),
            ("content_filter", Filtered),
            ("content_policy_violation", Filtered),
            ("json_validate_failed", Slip),
            ("tool_use_failed", Slip),
        ] {
            for status in [400, 403, 429, 500] {
                for key in ["code", "type"] {
                    let body = json!({ "error": { "message": "m", key: code } }).to_string();
                    assert_eq!(of(status, &body), (cause, true), "{status} {key} {code}");
                }
            }
        }
        assert_eq!(of(400, r#"{"error":{"message":"m","failed_generation":""}}"#), (Slip, true));
        assert_eq!(of(401, ""), (Key, true));
        assert_eq!(of(402, "Your credit balance"), (Credit, true));
    }

    #[test]
    fn sentences_are_hints() {
        for (status, message, cause) in [
            (400, "API key not valid. Please pass a valid API key.", Key),
            (403, "", Key),
            (400, "Model Not Exist", Model),
            (404, "model 'x' not found", Model),
            (404, "model \"x\" not found, try pulling it first", Model),
            (404, "The model `x` does not exist or you do not have access to it.", Model),
            (400, "The model `x` has been decommissioned and is no longer supported.", Model),
            (400, "x is not a valid model ID", Model),
            (404, "model: claude-x", Model),
            (400, "/chat/completions: Invalid model name passed in model=x", Model),
            (400, "Your credit balance is too low to access the Anthropic API.", Credit),
            (400, "You have reached your specified API usage limits until 2026-12-01.", Credit),
            (400, "This model's maximum context length is 4096 tokens. However, you requested 9000", TooLong),
            (400, "the request exceeds the available context size, try increasing it", TooLong),
            (400, "prompt is too long: 208310 tokens > 200000 maximum", TooLong),
            (400, "The input token count (1200000) exceeds the maximum number of tokens allowed", TooLong),
            (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", TooLong),
            (400, "Input is too long for requested model.", TooLong),
            (413, "", TooLong),
            (500, "the prompt is too long", TooLong),
            (400, "The response was filtered due to the prompt triggering Azure's content management policy", Filtered),
            (400, "Content Exists Risk", Filtered),
            (403, "Input was flagged: your chosen model requires moderation", Filtered),
            (400, "Generated JSON does not match the expected schema", Slip),
            (404, "No models loaded. Please load a model in the developer page", Loading),
            (503, "Loading model", Loading),
            (503, "Model x is currently loading", Loading),
            (500, "model is loading", Loading),
            (408, "", Busy),
            (425, "", Busy),
            (429, "You exceeded your current quota, please check your plan", Busy),
            (500, "oops", Busy),
            (529, "Overloaded", Busy),
            (500, "Your credit balance is too low", Busy),
            (400, "temperature is not supported with this model", Unknown),
            (400, "`temperature` is deprecated for this model.", Unknown),
            (404, "Not Found", Unknown),
            (405, "", Unknown),
            (302, "", Unknown),
        ] {
            let body = json!({ "error": { "message": message, "type": "invalid_request_error" } }).to_string();
            assert_eq!(of(status, &body), (cause, false), "{status} {message}");
        }
    }

    #[test]
    fn what_a_request_says_is_no_cause() {
        let quoted = format!("Invalid value: {} your credit balance is too low, no such model", "x".repeat(400));
        assert_eq!(of(400, &json!({ "error": { "message": quoted } }).to_string()), (Unknown, false));
        let elsewhere = json!({ "error": { "message": "no" }, "request": "prompt is too long; invalid api key" });
        assert_eq!(of(400, &elsewhere.to_string()), (Unknown, false));
    }
}
