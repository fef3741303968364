//! Contracts as JSON Schemas: validates a payload and describes violations in sentences for a dead letter.
//!
//! Payloads come from anybody, so no payload may be expensive: patterns run on an engine with linear time, references
//! are never fetched, and a sentence quotes only the beginning of a value.

use crate::cache::TextCache;
use baton_llm_settings::text::excerpt;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use std::sync::OnceLock;

/// The maximum number of violations that are listed; the others are counted.
const MOST_LISTED: usize = 10;

/// The maximum length of a quoted value and of a sentence, in characters.
const QUOTED: usize = 80;
const SENTENCE: usize = 300;

/// SQL's `contract_error`: NULL if `payload` matches `json_schema`, else the violations.
///
/// A schema that is NULL or blank is no contract. A payload that is missing or not JSON violates every contract.
#[must_use]
pub fn contract_error(payload: Option<&str>, json_schema: Option<&str>) -> Option<String> {
    static CONTRACTS: OnceLock<TextCache<Result<Contract, String>>> = OnceLock::new();
    let schema = json_schema.map(str::trim).filter(|schema| !schema.is_empty())?;
    let contract = CONTRACTS.get_or_init(|| TextCache::new(64)).get_or_make(schema, |schema| {
        let schema = serde_json::from_str(schema).map_err(|error| format!("the contract is not JSON ({error})"))?;
        Contract::new(schema).map_err(|why| format!("the contract {why}"))
    });
    let contract = match &*contract {
        Ok(contract) => contract,
        Err(error) => return Some(error.clone()),
    };
    let Some(payload) = payload else { return Some("the payload is NULL".to_owned()) };
    match serde_json::from_str(payload) {
        Ok(payload) => contract.violations(&payload),
        Err(error) if payload.trim().is_empty() => Some(format!("the payload is blank ({error})")),
        Err(error) => Some(format!("the payload is not JSON ({error}): it begins with {}", excerpt(payload, QUOTED))),
    }
}

/// A JSON Schema, ready to check values.
#[derive(Debug)]
pub(crate) struct Contract {
    schema: Value,
    validator: Validator,
}

impl Contract {
    /// The error continues after the name of the schema's source: "… is not a valid JSON Schema (…)".
    pub(crate) fn new(schema: Value) -> Result<Self, String> {
        if !schema.is_object() && !schema.is_boolean() {
            return Err("is not a valid JSON Schema (a schema is an object)".to_owned());
        }
        let options = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20));
        match options.build(&schema) {
            Ok(validator) => Ok(Self { schema, validator }),
            Err(error) => {
                let at = place(&error);
                Err(format!("is not a valid JSON Schema (at {at}: {})", excerpt(&error.to_string(), SENTENCE)))
            }
        }
    }

    pub(crate) fn schema(&self) -> &Value {
        &self.schema
    }

    /// The violations in `value`, one sentence for each; `None` if there are none.
    pub(crate) fn violations(&self, value: &Value) -> Option<String> {
        if self.validator.is_valid(value) {
            return None;
        }
        let mut errors = self.validator.iter_errors(value);
        let mut sentences: Vec<String> = errors.by_ref().take(MOST_LISTED).map(|error| sentence(&error)).collect();
        match errors.take(1000).count() {
            0 => {}
            1000 => sentences.push("and many more".to_owned()),
            more => sentences.push(format!("and {more} more")),
        }
        Some(sentences.join("; "))
    }
}

fn place(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => "the top level".to_owned(),
        path => excerpt(path, QUOTED),
    }
}

fn sentence(error: &ValidationError<'_>) -> String {
    let value = || excerpt(&cut_json(error.instance()), QUOTED);
    let what = match error.kind() {
        ValidationErrorKind::Required { property } => format!("{property} is missing"),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let shown: Vec<String> = unexpected.iter().take(5).map(|key| format!("\"{}\"", excerpt(key, 40))).collect();
            let more = if unexpected.len() > 5 { " and others" } else { "" };
            format!("{}{more} is not allowed", shown.join(", "))
        }
        _ => error.masked_with(value()).to_string(),
    };
    format!("{}: {}", place(error), excerpt(&what, SENTENCE))
}

/// A value's JSON text, without writing a large one completely.
fn cut_json(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 4 * QUOTED => {
            format!("\"{}\"", text.chars().take(QUOTED).collect::<String>())
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        small => small.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: &str = r#"{"type":"object","required":["name","email"],"additionalProperties":false,"properties":{
        "name":{"type":"string","minLength":1},"email":{"type":"string","format":"email"},
        "score":{"type":"integer","maximum":100},"step":{"enum":["Nurture","Actively Engage"]},
        "code":{"type":"string","pattern":"^(a+)+$"},"tags":{"type":"array","items":{"type":"string"}}}}"#;

    #[test]
    fn a_kept_contract_is_null() {
        assert_eq!(contract_error(Some(r#"{"name":"A","email":"a@b.example"}"#), Some(LEAD)), None);
        for schema in [None, Some(""), Some(" \n")] {
            assert_eq!(contract_error(Some("not json"), schema), None);
            assert_eq!(contract_error(None, schema), None);
        }
    }

    #[test]
    fn every_violation_has_its_sentence() {
        for (payload, expected) in [
            (r#"{"name":"A"}"#, r#"the top level: "email" is missing"#),
            (r#"{"name":"A","email":"nobody"}"#, r#"/email: "nobody" is not a "email""#),
            (
                r#"{"name":"","email":"a@b.example","score":120.5}"#,
                "/name: \"\" is shorter than 1 character; /score: 120.5 is not of type \"integer\"; /score: 120.5 is \
                 greater than the maximum of 100",
            ),
            (r#"{"name":"A","email":"a@b.example","x":1}"#, r#"the top level: "x" is not allowed"#),
            (
                r#"{"name":"A","email":"a@b.example","step":"Ignore"}"#,
                r#"/step: "Ignore" is not one of "Nurture" or "Actively Engage""#,
            ),
            (r#"{"name":"A","email":"a@b.example","tags":["x",1]}"#, r#"/tags/1: 1 is not of type "string""#),
            ("[]", r#"the top level: an array of 0 is not of type "object""#),
        ] {
            assert_eq!(contract_error(Some(payload), Some(LEAD)).as_deref(), Some(expected), "{payload}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        assert_eq!(contract_error(None, Some(LEAD)).as_deref(), Some("the payload is NULL"));
        let error = contract_error(Some("Sure! Here is"), Some(LEAD)).unwrap();
        assert!(error.starts_with("the payload is not JSON ("), "{error}");
        assert!(error.ends_with("it begins with Sure! Here is"), "{error}");
        assert!(contract_error(Some(" "), Some(LEAD)).unwrap().starts_with("the payload is blank"));
        let deep = "[".repeat(100_000);
        assert!(contract_error(Some(&deep), Some(LEAD)).unwrap().starts_with("the payload is not JSON"));
    }

    #[test]
    fn a_wrong_schema_says_so() {
        assert!(contract_error(Some("{}"), Some("{")).unwrap().starts_with("the contract is not JSON ("));
        for schema in [r#"{"type":"text"}"#, "[]", r#"{"$ref":"http://127.0.0.1:1/x"}"#, r#"{"pattern":"("}"#] {
            let error = contract_error(Some("{}"), Some(schema)).unwrap();
            assert!(error.starts_with("the contract is not a valid JSON Schema ("), "{error}");
        }
    }

    #[test]
    fn a_large_value_is_quoted_in_part() {
        let payload = serde_json::json!({ "name": "A", "email": "x".repeat(1_000_000) }).to_string();
        let error = contract_error(Some(&payload), Some(LEAD)).unwrap();
        assert!(error.chars().count() < 200, "{error}");
        let tags: Vec<u32> = (0..5000).collect();
        let payload = serde_json::json!({ "name": "A", "email": "a@b.example", "tags": tags }).to_string();
        let error = contract_error(Some(&payload), Some(LEAD)).unwrap();
        assert!(error.ends_with("; and many more"), "{error}");
    }

    #[test]
    fn a_pattern_cannot_be_made_slow() {
        let payload =
            serde_json::json!({ "name": "A", "email": "a@b.example", "code": format!("{}!", "a".repeat(50_000)) });
        let started = std::time::Instant::now();
        assert!(contract_error(Some(&payload.to_string()), Some(LEAD)).is_some());
        assert!(started.elapsed().as_secs() < 20);
    }

    #[test]
    fn numbers_are_checked_as_they_are_written() {
        let error = |schema: &str, payload: &str| contract_error(Some(payload), Some(schema));
        for (schema, payload) in [
            (r#"{"type":"integer"}"#, "1.0"),
            (r#"{"type":"integer"}"#, "9007199254740993"),
            (r#"{"multipleOf":0.01}"#, "0.07"),
            (r#"{"multipleOf":0.1}"#, "123456789012345678901.3"),
            (r#"{"maximum":9007199254740993}"#, "9007199254740993"),
            (r#"{"const":1}"#, "1.0"),
            (r#"{"enum":[0.50]}"#, "5e-1"),
        ] {
            assert_eq!(error(schema, payload), None, "{schema} {payload}");
        }
        for (schema, payload) in [
            (r#"{"type":"integer"}"#, "1.5"),
            (r#"{"type":"string"}"#, "1"),
            (r#"{"maximum":9007199254740992}"#, "9007199254740993"),
            (r#"{"maximum":100}"#, "1e400"),
            (r#"{"minimum":0}"#, "-1e400"),
            (r#"{"const":1}"#, "1.0000000000000000000001"),
            (r#"{"uniqueItems":true}"#, "[1,1.0]"),
        ] {
            assert!(error(schema, payload).is_some(), "{schema} {payload}");
        }
        let error = error(r#"{"maximum":100}"#, "100.10").unwrap();
        assert!(error.contains("100.10"), "{error}");
    }

    #[test]
    fn a_number_cannot_be_made_slow() {
        let started = std::time::Instant::now();
        let digits = "7".repeat(300_000);
        for number in ["1e999999999", "-1e-999999999", "1e99999999999999999999", &digits, &format!("0.{digits}")] {
            for schema in [
                r#"{"type":"integer"}"#,
                r#"{"type":"integer","multipleOf":7}"#,
                r#"{"multipleOf":0.01}"#,
                r#"{"maximum":5,"minimum":1}"#,
                r#"{"const":5}"#,
                r#"{"enum":[1,2.5]}"#,
                r#"{"items":true,"uniqueItems":true}"#,
            ] {
                for payload in [number.to_owned(), format!("[{number},{number},1]")] {
                    let _verdict = contract_error(Some(&payload), Some(schema));
                }
            }
        }
        // It would be minutes; a busy machine needs some seconds.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
