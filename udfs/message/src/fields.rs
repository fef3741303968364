//! The contract of a message: its fields and their allowed values. `docs/agents/message.schema.json` has the same
//! contract as a JSON Schema.

use crate::Object;
use serde_json::{Number, Value};

/// The maximum length of an id or name, in characters.
pub(crate) const LONGEST_ID: usize = 200;
/// The maximum length of `created_at`, in characters.
const LONGEST_TIME: usize = 100;
/// The highest valid `hop`.
const HIGHEST_HOP: u32 = 1_000_000_000;
/// The maximum length of a quoted wrong value, in characters.
const QUOTED: usize = 80;

/// The text fields with their maximum lengths.
const TEXTS: [(&str, usize); 5] = [
    ("message_id", LONGEST_ID),
    ("workflow_id", LONGEST_ID),
    ("parent_id", LONGEST_ID),
    ("sender", LONGEST_ID),
    ("created_at", LONGEST_TIME),
];

/// All violations in a message, one sentence per field; `None` if there are none.
pub(crate) fn violations(message: &Object) -> Option<String> {
    let mut wrong = Vec::new();
    for (name, longest) in TEXTS {
        match message.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                let length = text.chars().count();
                if length > longest {
                    wrong.push(format!("`{name}` has {length} characters: at most {longest} are allowed"));
                }
            }
            Some(other) => wrong.push(format!("`{name}` is {}: it must be a text", shown(other))),
        }
    }
    match message.get("hop") {
        None | Some(Value::Null) => {}
        Some(Value::Number(number)) if hop_of(number).is_some() => {}
        Some(other) => {
            wrong.push(format!("`hop` is {}: it must be a whole number from 0 to {HIGHEST_HOP}", shown(other)));
        }
    }
    match message.get("context") {
        Some(Value::String(text)) if !text.trim().is_empty() => {}
        Some(Value::String(_)) => wrong.push("`context` is blank: it must say what the message is".to_owned()),
        None | Some(Value::Null) => wrong.push("`context` is missing: it must say what the message is".to_owned()),
        Some(other) => wrong.push(format!("`context` is {}: it must be a text", shown(other))),
    }
    match message.get("lead_data") {
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(other) => wrong.push(format!("`lead_data` is {}: it must be an object", shown(other))),
    }
    match message.get("emails") {
        None | Some(Value::Null | Value::Array(_) | Value::String(_)) => {}
        Some(other) => wrong.push(format!("`emails` is {}: it must be a list", shown(other))),
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// The `hop` of a valid message.
pub(crate) fn hop(message: &Object) -> Option<u32> {
    match message.get("hop") {
        Some(Value::Number(number)) => hop_of(number),
        _ => None,
    }
}

/// A whole number in any notation: `3`, `3.0` and `3e0` are the same.
fn hop_of(number: &Number) -> Option<u32> {
    let whole = number.as_u64().or_else(|| {
        let value = number.as_f64()?;
        let in_range = value.fract() == 0.0 && (0.0..=f64::from(HIGHEST_HOP)).contains(&value);
        in_range.then_some(value as u64)
    })?;
    u32::try_from(whole).ok().filter(|hop| *hop <= HIGHEST_HOP)
}

/// A text field without surrounding blanks; `None` if nothing is left.
pub(crate) fn text<'a>(message: &'a Object, name: &str) -> Option<&'a str> {
    let text = message.get(name)?.as_str()?.trim_matches(' ');
    (!text.is_empty()).then_some(text)
}

/// A value as it is quoted in a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("\"{}\"", cut(text, QUOTED)),
        other => cut(&other.to_string(), QUOTED),
    }
}

/// The first characters of a text, with blanks for control characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut out: String = text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Option<String> {
        violations(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn a_context_is_enough() {
        for kept in [
            r#"{"context":"x"}"#,
            r#"{"context":"x","hop":0,"message_id":null,"lead_data":{},"emails":"[]","other":[1]}"#,
            r#"{"context":"x","hop":1000000000}"#,
            r#"{"context":"x","hop":3.0}"#,
            r#"{"context":"x","hop":3e0}"#,
        ] {
            assert_eq!(wrong(kept), None, "{kept}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_with_its_value() {
        assert_eq!(
            wrong(r#"{"message_id":7,"hop":-1,"lead_data":[1],"context":" \n"}"#).unwrap(),
            "`message_id` is 7: it must be a text; `hop` is -1: it must be a whole number from 0 to 1000000000; \
             `context` is blank: it must say what the message is; `lead_data` is a list of 1: it must be an object"
        );
        for hop in ["1e+30", "1000000001", "0.5", "-0.1", "\"2\"", "true", "1000000000000000000000000000000"] {
            let message = format!(r#"{{"context":"x","hop":{hop}}}"#);
            assert!(wrong(&message).unwrap().starts_with(&format!("`hop` is {hop}")), "{:?}", wrong(&message));
        }
        let long = format!(r#"{{"context":"x","workflow_id":"{}"}}"#, "ü".repeat(201));
        assert_eq!(wrong(&long).unwrap(), "`workflow_id` has 201 characters: at most 200 are allowed");
    }
}
