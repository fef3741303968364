//! JSON values whose numbers stay as they were written.
//!
//! `serde_json` turns `1e2` into `1e+2` when it parses. Rows must keep the digits of their input, so numbers are copied
//! as text. The parser underneath is `jiter`, as in the SQL functions over JSON.

use jiter::{Jiter, JiterResult, Peek};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 128;

/// Parses a JSON text into a value with sorted keys (the last of duplicate keys counts) and numbers as written; `None`
/// if it is not JSON.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut json = Jiter::new(text.as_bytes());
    let value = json.peek().and_then(|peek| value(&mut json, peek, MAX_DEPTH)).ok()??;
    json.finish().ok()?;
    Some(value)
}

/// `Ok(None)` if it is nested too deep.
fn value(json: &mut Jiter<'_>, peek: Peek, depth: usize) -> JiterResult<Option<Value>> {
    Ok(Some(match peek {
        Peek::Object => {
            let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
            let mut map = Map::new();
            let mut key = json.known_object()?.map(str::to_string);
            while let Some(name) = key {
                let peek = json.peek()?;
                let Some(child) = value(json, peek, depth)? else { return Ok(None) };
                map.insert(name, child);
                key = json.next_key()?.map(str::to_string);
            }
            map.sort_keys();
            Value::Object(map)
        }
        Peek::Array => {
            let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
            let mut items = Vec::new();
            let mut next = json.known_array()?;
            while let Some(peek) = next {
                let Some(child) = value(json, peek, depth)? else { return Ok(None) };
                items.push(child);
                next = json.array_step()?;
            }
            Value::Array(items)
        }
        Peek::String => Value::String(json.known_str()?.to_string()),
        Peek::Null => {
            json.known_null()?;
            Value::Null
        }
        Peek::True | Peek::False => Value::Bool(json.known_bool(peek)?),
        _ => {
            let digits = String::from_utf8_lossy(json.known_number_bytes(peek)?).into_owned();
            // It is the only way around serde_json's own number parsing. The parser has just checked the text.
            Value::Number(Number::from_string_unchecked(digits))
        }
    }))
}
