//! Copies JSON text compactly, with numbers as they were written. `sql::json` parses values.

use jiter::{Jiter, JsonErrorType, Peek};

use super::wrong::Wrong;
use crate::sql::json::MAX_DEPTH;

/// Appends the next value to `out` without white space: keys in their order, numbers as they are.
pub(super) fn copy(json: &mut Jiter<'_>, peek: Peek, out: &mut Vec<u8>) -> Result<(), Wrong> {
    copy_nested(json, peek, out, MAX_DEPTH)
}

fn copy_nested(json: &mut Jiter<'_>, peek: Peek, out: &mut Vec<u8>, depth: usize) -> Result<(), Wrong> {
    let too_deep = |json: &Jiter<'_>| Wrong::syntax(JsonErrorType::RecursionLimitExceeded, json.current_index());
    match peek {
        Peek::Object => {
            let depth = depth.checked_sub(1).ok_or_else(|| too_deep(json))?;
            out.push(b'{');
            let mut more = json.known_object()?.map(|key| write_text(key, out)).is_some();
            while more {
                out.push(b':');
                let peek = json.peek()?;
                copy_nested(json, peek, out, depth)?;
                more = match json.next_key()? {
                    Some(key) => {
                        out.push(b',');
                        write_text(key, out);
                        true
                    }
                    None => false,
                };
            }
            out.push(b'}');
        }
        Peek::Array => {
            let depth = depth.checked_sub(1).ok_or_else(|| too_deep(json))?;
            out.push(b'[');
            let mut next = json.known_array()?;
            while let Some(peek) = next {
                copy_nested(json, peek, out, depth)?;
                next = json.array_step()?;
                if next.is_some() {
                    out.push(b',');
                }
            }
            out.push(b']');
        }
        Peek::String => write_text(json.known_str()?, out),
        Peek::Null => {
            json.known_null()?;
            out.extend_from_slice(b"null");
        }
        Peek::True | Peek::False => {
            let value = json.known_bool(peek)?;
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        _ => out.extend_from_slice(json.known_number_bytes(peek)?),
    }
    Ok(())
}

/// Appends a JSON string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::json::parse;

    fn sorted(text: &str) -> Option<String> {
        parse(text).map(|v| v.to_string())
    }

    fn copied(text: &str) -> Option<String> {
        let mut json = Jiter::new(text.as_bytes());
        let mut out = Vec::new();
        let peek = json.peek().ok()?;
        copy(&mut json, peek, &mut out).ok()?;
        json.finish().ok()?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn numbers_stay_as_they_were() {
        for number in ["1e2", "1E2", "1e+2", "1E-2", "1.0", "-0", "-0.0", "12345678901234567890", "0.1", "1e400"] {
            assert_eq!(sorted(number).as_deref(), Some(number));
            assert_eq!(copied(number).as_deref(), Some(number));
        }
    }

    #[test]
    fn a_parsed_value_is_sorted_and_a_copied_one_is_not() {
        let text = r#" {"z" : 1, "a" : {"c" : [ ], "b" : { } }, "z" : "é\u0007\/" } "#;
        assert_eq!(sorted(text).as_deref(), Some(r#"{"a":{"b":{},"c":[]},"z":"é\u0007/"}"#));
        assert_eq!(copied(text).as_deref(), Some(r#"{"z":1,"a":{"c":[],"b":{}},"z":"é\u0007/"}"#));
    }

    #[test]
    fn what_is_no_json_has_no_value() {
        for text in ["", " ", "{", "nope", "1 2", "{} {}", "01", "NaN", "[1,]", r#""\ud83d""#, "\u{feff}{}", "'a'"] {
            assert_eq!(sorted(text), None, "{text}");
            assert_eq!(copied(text), None, "{text}");
        }
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(sorted(&nested(MAX_DEPTH)).is_some());
        assert!(sorted(&nested(MAX_DEPTH + 1)).is_none());
        assert!(copied(&nested(MAX_DEPTH + 1)).is_none());
        assert!(sorted(&nested(1_000_000)).is_none());
        assert!(copied(&"{\"a\":".repeat(1_000_000)).is_none());
    }
}
