//! Whether a JSON Schema lies in the subset that servers accept for strict structured output.
//!
//! Outside of it a server would refuse the request, so such a schema goes into the prompt instead. The answer is checked
//! against the whole schema either way.

use serde_json::Value;

/// Keywords of the subset that hold no further schemas to look into.
const PLAIN: &[&str] = &[
    "type",
    "description",
    "title",
    "enum",
    "const",
    "pattern",
    "format",
    "multipleOf",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "$ref",
    "required",
    "additionalProperties",
    "$schema",
    "default",
];

const MOST_DEPTH: usize = 10;
const MOST_PROPERTIES: usize = 1000;

/// Whether a strict server takes `schema`: an object at the root, every property required, nothing else allowed.
pub(crate) fn is_strict(schema: &Value) -> bool {
    let mut properties = 0;
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("anyOf").is_none()
        && walk(schema, 0, &mut properties)
}

fn walk(schema: &Value, depth: usize, properties: &mut usize) -> bool {
    let Value::Object(keywords) = schema else { return false };
    if depth > MOST_DEPTH {
        return false;
    }
    let is_object = match keywords.get("type") {
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        _ => keywords.contains_key("properties"),
    };
    if is_object && !is_closed(keywords) {
        return false;
    }
    keywords.iter().all(|(keyword, value)| match keyword.as_str() {
        "properties" | "$defs" | "definitions" => match value {
            Value::Object(schemas) => {
                *properties += schemas.len();
                *properties <= MOST_PROPERTIES && schemas.values().all(|schema| walk(schema, depth + 1, properties))
            }
            _ => false,
        },
        "items" => walk(value, depth + 1, properties),
        "anyOf" => match value {
            Value::Array(schemas) => schemas.iter().all(|schema| walk(schema, depth + 1, properties)),
            _ => false,
        },
        "$ref" => value.as_str().is_some_and(|target| target.starts_with('#')),
        plain => PLAIN.contains(&plain),
    })
}

/// Whether an object schema requires all its properties and allows no other.
fn is_closed(keywords: &serde_json::Map<String, Value>) -> bool {
    let required = keywords.get("required").and_then(Value::as_array);
    let Some(properties) = keywords.get("properties").and_then(Value::as_object) else { return false };
    keywords.get("additionalProperties") == Some(&Value::Bool(false))
        && required
            .is_some_and(|names| properties.keys().all(|key| names.iter().any(|name| name.as_str() == Some(key))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_subset() {
        let inner = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
                           "additionalProperties": false});
        assert!(is_strict(&inner));
        assert!(is_strict(&json!({"type": "object", "properties": {"list": {"type": "array", "items": inner}},
                                  "required": ["list"], "additionalProperties": false})));
        for outside in [
            json!({"type": "array", "items": inner}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {}}, "required": [], "additionalProperties": false}),
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"a": {"oneOf": []}}, "required": ["a"],
                   "additionalProperties": false}),
            json!({"type": "object", "properties": {"a": true}, "required": ["a"], "additionalProperties": false}),
            json!({"type": "object", "properties": {"a": {"$ref": "http://x/y"}}, "required": ["a"],
                   "additionalProperties": false}),
            json!(true),
        ] {
            assert!(!is_strict(&outside), "{outside}");
        }
    }
}
