//! The headers in `BATON_LLM_HEADERS`, which are sent with every call to the provider's server.

use crate::secret::Secret;
use crate::text::excerpt;
use serde_json::Value;
use std::sync::Arc;

/// Headers, with their names in lower case.
pub type Headers = Arc<[(String, Secret)]>;

/// Headers that cannot be set, because the protocol needs its own.
const RESERVED: &[&str] = &["connection", "content-length", "content-type", "host", "transfer-encoding"];

/// Parses `BATON_LLM_HEADERS`. No error shows a value, because it may be a key.
pub(crate) fn parse_headers(text: &str) -> Result<Headers, String> {
    let wrong = |why: String| {
        format!("BATON_LLM_HEADERS {why}: set a JSON object of names to texts, like {{\"x-team\": \"leads\"}}")
    };
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON ({error})")))?;
    let Value::Object(object) = value else { return Err(wrong("is JSON, but not an object".to_owned())) };
    let mut headers = Vec::with_capacity(object.len());
    for (name, value) in &object {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(wrong(format!("has `{}`, which is not a valid header name", excerpt(name, 60))));
        }
        let name = name.to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("BATON_LLM_HEADERS has `{name}`, which cannot be set: leave it out"));
        }
        match value.as_str() {
            Some(text) if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
                headers.push((name, Secret::new(text)));
            }
            Some(_) => {
                let why = "whose value holds a character that no header has (a line break, an accent)";
                return Err(format!("BATON_LLM_HEADERS has `{name}`, {why}: set plain ASCII"));
            }
            None => return Err(wrong(format!("has `{name}`, whose value is not text"))),
        }
    }
    Ok(headers.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_headers_are_named_without_their_values() {
        for (text, expected) in [
            ("x-team: canary", "BATON_LLM_HEADERS is not JSON ("),
            (r#"["canary"]"#, "BATON_LLM_HEADERS is JSON, but not an object: set a JSON object of names to texts"),
            (r#"{"x team":"canary"}"#, "BATON_LLM_HEADERS has `x team`, which is not a valid header name"),
            (r#"{"":"canary"}"#, "BATON_LLM_HEADERS has ``, which is not a valid header name"),
            (r#"{"x-team":["canary"]}"#, "BATON_LLM_HEADERS has `x-team`, whose value is not text"),
            (r#"{"x-team":"canary\r\nhost: x"}"#, "BATON_LLM_HEADERS has `x-team`, whose value holds a character"),
            (r#"{"Content-Type":"canary"}"#, "BATON_LLM_HEADERS has `content-type`, which cannot be set"),
            (r#"{"Host":"canary"}"#, "BATON_LLM_HEADERS has `host`, which cannot be set: leave it out"),
        ] {
            let error = parse_headers(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        assert!(parse_headers("{}").unwrap().is_empty());
    }
}
