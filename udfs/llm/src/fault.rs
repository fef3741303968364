//! A server's error: what its body says, whatever its shape, and what caused it.
//!
//! Servers disagree on the status as well as on the shape: a wrong key may be 400, and an overloaded provider 200 with an
//! error in the body. `cause` decides what an error means. `ask` decides what follows from it, and `dialect` which feature
//! a server refuses.

mod cause;

pub(crate) use cause::Cause;

use cause::{cause_of, status_of};
use reqwest::StatusCode;
use serde_json::Value;

/// An error of a model's server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status that the error amounts to: of HTTP, or of the body if HTTP reports a success.
    pub(crate) status: u16,
    /// The error's code, else its type, in lower case; empty if there is none.
    pub(crate) code: String,
    /// The name of the refused parameter; empty if there is none.
    pub(crate) param: String,
    /// The error's sentence. If the body has no known shape, its beginning.
    pub(crate) message: String,
    /// The code and all other words that stand for it, in lower case.
    pub(crate) words: Vec<String>,
    /// The model generated something unusable, and the server quotes it.
    pub(crate) quotes_generation: bool,
    cause: Option<(Cause, bool)>,
}

/// How much of a message is kept, in bytes.
const MOST_OF_MESSAGE: usize = 2000;

/// How often an error may contain another one.
const DEEPEST: usize = 8;

impl Fault {
    /// The error in an answer; `None` if it is an answer of the model.
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut fault = Self { status: status.as_u16(), ..Self::default() };
        if status.is_success() {
            if !may_be_error(body) {
                return None;
            }
            let value = values(body).into_iter().find(is_error)?;
            let in_body = fault.read_value(&value, 0);
            fault.status = in_body.unwrap_or_else(|| status_of(&fault));
        } else if let Some(value) = values(body).into_iter().find(|value| value.is_object() || value.is_array()) {
            fault.read_value(&value, 0);
            if fault.message.is_empty() && fault.words.is_empty() {
                fault.set_message(&value.to_string());
            }
        } else {
            let text = String::from_utf8_lossy(&body[..body.len().min(MOST_OF_MESSAGE)]);
            if !text.trim_start().starts_with('<') {
                fault.set_message(text.trim().trim_matches('"'));
            }
        }
        fault.code = fault.words.first().cloned().unwrap_or_default();
        fault.cause = Some(cause_of(&fault));
        Some(fault)
    }

    /// What caused the error.
    pub(crate) fn cause(&self) -> Cause {
        self.cause.map_or(Cause::Unknown, |(cause, _)| cause)
    }

    /// Whether the cause follows from the status or from a code. A sentence may mislead: it is only a hint, and it may
    /// quote the request.
    pub(crate) fn is_certain(&self) -> bool {
        self.cause.is_some_and(|(_, certain)| certain)
    }

    /// Adds what an error's JSON says. What was found first is kept. Returns the status in it.
    fn read_value(&mut self, value: &Value, depth: usize) -> Option<u16> {
        if depth > DEEPEST {
            return None;
        }
        let fields = match value {
            Value::String(text) if text.trim_start().starts_with('{') => {
                return match serde_json::from_str(text) {
                    Ok(inner) => self.read_value(&inner, depth + 1),
                    Err(_) => {
                        self.set_message(text);
                        None
                    }
                };
            }
            Value::String(text) => {
                self.set_message(text);
                return None;
            }
            Value::Array(items) if items.iter().any(|item| item.get("loc").is_some()) => {
                self.read_details(items);
                return None;
            }
            Value::Array(items) => return self.read_value(items.iter().find(|item| !item.is_null())?, depth + 1),
            Value::Object(fields) => fields,
            _ => return None,
        };
        let get = |key: &str| fields.get(key).filter(|value| says_something(value));
        // Most specific first: what the provider behind a gateway says, then the error itself.
        let inner = [
            value.pointer("/metadata/raw"),
            get("error"),
            value.pointer("/choices/0/error"),
            get("errors"),
            get("innererror"),
        ];
        let mut status = None;
        for inner in inner.into_iter().flatten().filter(|inner| says_something(inner)) {
            let found = self.read_value(inner, depth + 1);
            status = status.or(found);
        }
        for details in get("details").and_then(Value::as_array).into_iter().flatten() {
            self.add_word(details.get("reason"));
            self.set_param(details.pointer("/fieldViolations/0/field"));
        }
        for key in ["code", "type", "status", "error_type", "__type", "error_code"] {
            self.add_word(get(key));
        }
        self.quotes_generation |= fields.contains_key("failed_generation");
        self.set_param(get("param"));
        for key in ["message", "detail", "msg", "error_msg", "error_message"] {
            if let Some(text) = get(key) {
                self.read_value(text, depth + 1);
            }
        }
        status.or_else(|| ["code", "status", "status_code", "statusCode"].iter().find_map(|key| http(get(key)?)))
    }

    /// Adds a list of mistakes in a request, as FastAPI writes it.
    fn read_details(&mut self, items: &[Value]) {
        for item in items {
            let place: Vec<String> = match item.get("loc") {
                Some(Value::Array(parts)) => parts.iter().map(plain).filter(|part| part != "body").collect(),
                Some(part) => vec![plain(part)],
                None => continue,
            };
            let place = place.join(".");
            self.add_word(item.get("type"));
            let said = item.get("msg").map(plain).unwrap_or_default();
            self.set_message(&format!("{place}: {said}"));
            self.set_param(Some(&Value::from(place)));
        }
    }

    fn set_message(&mut self, text: &str) {
        // Gateways say only that somebody else failed.
        if self.message.is_empty() || self.message == "Provider returned error" {
            let end = text.floor_char_boundary(MOST_OF_MESSAGE);
            text[..end].trim().clone_into(&mut self.message);
        }
    }

    fn set_param(&mut self, param: Option<&Value>) {
        if let Some(Value::String(param)) = param
            && self.param.is_empty()
            && !matches!(param.to_ascii_lowercase().as_str(), "none" | "null")
        {
            param.clone_into(&mut self.param);
        }
    }

    /// Adds a code or a type. Numbers are statuses, not words.
    fn add_word(&mut self, word: Option<&Value>) {
        if let Some(Value::String(word)) = word {
            let word = word.trim().to_lowercase();
            let says_nothing = matches!(word.as_str(), "" | "error" | "none" | "null" | "message");
            if !says_nothing && word.parse::<f64>().is_err() && word.len() < 100 && !self.words.contains(&word) {
                self.words.push(word);
            }
        }
    }
}

/// Whether a success may contain an error. Answers of models are not parsed for it.
fn may_be_error(body: &[u8]) -> bool {
    // In a text inside of JSON, the quotes have a backslash.
    contains(body, "\"error\"") || !(contains(body, "choices\"") || contains(body, "content\""))
}

fn contains(body: &[u8], needle: &str) -> bool {
    match std::str::from_utf8(body) {
        Ok(text) => text.contains(needle),
        Err(_) => body.windows(needle.len()).any(|window| window == needle.as_bytes()),
    }
}

/// The JSON values of a body: one, or those of an event stream.
fn values(body: &[u8]) -> Vec<Value> {
    match serde_json::from_slice(body) {
        Ok(value) => vec![value],
        Err(_) => events(body).filter_map(|event| serde_json::from_slice(event).ok()).collect(),
    }
}

/// The data of an event stream; nothing if it is none.
pub(crate) fn events(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = body.trim_ascii_start();
    let is_stream = ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| body.starts_with(field.as_bytes()));
    let lines = if is_stream { body } else { &[] };
    lines
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii)
        .filter(|data| !data.is_empty())
}

/// Whether the JSON of a success is an error and not an answer.
fn is_error(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some_and(says_something);
    let is = |key: &str, text: &str| value.get(key).and_then(Value::as_str) == Some(text);
    if let Value::Array(items) = value {
        return items.first().is_some_and(|item| item.get("error").is_some_and(says_something));
    }
    if is("type", "error") || is("object", "error") {
        return true;
    }
    let choice = value.pointer("/choices/0");
    if choice.and_then(|choice| choice.get("error")).is_some_and(says_something) {
        return true;
    }
    if has("error") {
        let broke = choice.and_then(|choice| choice.get("finish_reason")).and_then(Value::as_str) == Some("error");
        let answers = ["message", "delta"].iter().filter_map(|key| choice?.get(key)).any(|message| {
            ["content", "tool_calls", "refusal"].iter().any(|key| message.get(key).is_some_and(says_something))
        });
        let text = choice.and_then(|choice| choice.get("text")).is_some_and(says_something);
        return broke || !(answers || text || has("content"));
    }
    let answers = value.get("choices").is_some() || value.get("content").is_some();
    let says = ["detail", "message", "msg", "error_msg"].iter().any(|key| value.get(key).is_some_and(Value::is_string));
    !answers && (says || has("errors") || value.get("detail").is_some_and(Value::is_array))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A text without its quotes; another value as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The status of an error in HTTP, from a number or its text.
fn http(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (400..=599).find(|status| f64::from(*status) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Option<Fault> {
        Fault::read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn answers_are_no_errors() {
        for body in [
            r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#,
            r#"{"error":null,"choices":[{"message":{"content":"x"}}]}"#,
            r#"{"error":{},"choices":[]}"#,
            r#"{"error":"a warning","choices":[{"message":{"content":"x"}}]}"#,
            r#"{"choices":[{"message":{"content":"{\"error\":{\"code\":500}}"}}]}"#,
            r#"{"type":"message","content":[{"type":"text","text":"x"}]}"#,
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{"function":{}}]}}],"error":"x"}"#,
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\"\"}}]}\n\ndata: [DONE]\n",
            "garbage",
            "<html>",
            "",
            "[]",
            "[1]",
            "null",
            "\"error\"",
        ] {
            assert_eq!(read(200, body), None, "{body}");
        }
        assert_eq!(Fault::read(StatusCode::OK, b"\xff\"error\"\xfe"), None);
    }

    #[test]
    fn errors_in_a_success_are_found() {
        let deep = "[".repeat(100_000);
        assert_eq!(read(200, &deep), None);
        for (body, status, message) in [
            (r#"{"error":{"code":429,"message":"Provider returned error"}}"#, 429, "Provider returned error"),
            (r#"{"choices":null,"error":{"code":503,"message":"busy"}}"#, 503, "busy"),
            (r#"{"choices":[],"error":{"code":"503","message":"busy"}}"#, 503, "busy"),
            ("\u{feff} {\"error\":\"busy\"}", 502, "busy"),
            (r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#, 400, "m"),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, 529, "Overloaded"),
            (r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#, 429, "slow"),
            (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, 400, "m"),
            (r#"{"detail":"m"}"#, 502, "m"),
            (r#"{"detail":[{"loc":["body","x"],"msg":"m","type":"extra_forbidden"}]}"#, 422, "x: m"),
            (r#"{"message":"m"}"#, 502, "m"),
            (r#"{"choices":[{"error":{"code":502,"message":"m"},"finish_reason":"error"}]}"#, 502, "m"),
            (r#"{"error":"m","choices":[{"finish_reason":"error","message":{"content":"Half"}}]}"#, 502, "m"),
            (r#"{"error":{"message":"m","code":7},"status_code":504}"#, 504, "m"),
            (r#"{"error":{"message":"m","type":"insufficient_quota"}}"#, 402, "m"),
            (r#"{"error":{"message":"m","code":"invalid_api_key"}}"#, 401, "m"),
            (r#"{"error":{"message":"m","type":"permission_error"}}"#, 403, "m"),
            (r#"{"error":{"message":"m","type":"not_found_error"}}"#, 404, "m"),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"m\"}}\n",
                502,
                "m",
            ),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
                529,
                "m",
            ),
        ] {
            let fault = read(200, body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!((fault.status, fault.message.as_str()), (status, message), "{body}");
        }
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        for (body, code, param, message) in [
            ("", "", "", ""),
            ("<html><title>502</title>", "", "", ""),
            ("no such model", "", "", "no such model"),
            ("\"quoted\"", "", "", "quoted"),
            (r#"{"odd":1}"#, "", "", r#"{"odd":1}"#),
            (r#"{"error":"m","error_type":"Overloaded"}"#, "overloaded", "", "m"),
            (r#"{"error":{"message":"m","type":"t","param":"p","code":"C"}}"#, "c", "p", "m"),
            (r#"{"error":{"message":"m","type":"t","param":"None","code":"400"}}"#, "t", "", "m"),
            (r#"{"error":{"message":"m","type":"t","param":null,"code":null}}"#, "t", "", "m"),
            (r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#, "not_found", "", "m"),
            (
                r#"{"detail":[{"loc":["body","messages",0,"role"],"msg":"m","type":"enum"}]}"#,
                "enum",
                "messages.0.role",
                "messages.0.role: m",
            ),
            (
                r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","reasoning_effort"],"msg":"m"}]},"type":"invalid_request_error"}"#,
                "invalid_request_error",
                "reasoning_effort",
                "reasoning_effort: m",
            ),
            (
                r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"m\",\"param\":\"temperature\",\"code\":\"unsupported_value\"}}","provider_name":"x"}}}"#,
                "unsupported_value",
                "temperature",
                "m",
            ),
            (r#"{"error":{"message":"{\"error\":{\"message\":\"m\",\"code\":\"c\"}}","code":"400"}}"#, "c", "", "m"),
            (r#"{"success":false,"errors":[{"code":7003,"message":"m"}]}"#, "", "", "m"),
            (r#"{"__type":"ThrottlingException","message":"m"}"#, "throttlingexception", "", "m"),
            (r#"{"statusCode":401,"message":"m"}"#, "", "", "m"),
            (
                r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
                "api_key_invalid",
                "",
                "m",
            ),
        ] {
            let fault = read(400, body).unwrap();
            assert_eq!((fault.code.as_str(), fault.param.as_str()), (code, param), "{body}");
            assert_eq!((fault.message.as_str(), fault.status), (message, 400), "{body}");
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            "\"error\"",
            ":",
            ",",
            "\"message\"",
            "\"x\"",
            "1",
            "null",
            "\"choices\"",
            "\"detail\"",
            "\"loc\"",
            "data: ",
            "\n",
            "\u{feff}",
            "é",
            "\"code\"",
            "400",
            "\"raw\"",
            "\"metadata\"",
            "\\",
        ];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let body: String = (0..random.usize(0..20)).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            for status in [200, 400, 500] {
                let fault = read(status, &body);
                assert!(fault.is_some() || status == 200);
                assert!(fault.is_none_or(|fault| fault.status >= 400), "{body}");
            }
        }
    }
}
