//! Checks the form of a JSON Schema, so that a typing error is reported early. `baton-llm` compiles the schema.

use crate::text::{excerpt, nearest};
use serde_json::{Map, Value};

/// The types in a schema.
const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords whose value is a schema.
const SCHEMA: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is an object of schemas.
const SCHEMAS_BY_NAME: &[&str] = &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// Keywords whose value is a list of schemas.
const SCHEMAS: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];

/// Keywords whose value is a whole number from 0 on.
const COUNTS: &[&str] =
    &["maxContains", "maxItems", "maxLength", "maxProperties", "minContains", "minItems", "minLength", "minProperties"];

/// Keywords whose value is a number; draft 4 has a boolean for two of them.
const NUMBERS: &[&str] = &["maximum", "minimum", "multipleOf"];

const TEXTS: &[&str] = &["$anchor", "$comment", "$id", "$ref", "$schema", "description", "format", "pattern", "title"];

/// The error in the form of a schema, with its place as a JSON pointer; `None` if there is none.
pub fn mistake(schema: &Value) -> Option<String> {
    at(schema, "")
}

fn at(schema: &Value, place: &str) -> Option<String> {
    match schema {
        Value::Bool(_) => None,
        Value::Object(keywords) => in_object(keywords, place),
        other => Some(wrong(other, place, "a schema, which is an object")),
    }
}

fn in_object(keywords: &Map<String, Value>, place: &str) -> Option<String> {
    keywords.iter().find_map(|(keyword, value)| {
        let place = format!("{place}/{keyword}");
        let is = |names: &[&str]| names.contains(&keyword.as_str());
        let expected = match keyword.as_str() {
            "type" => return of_type(value, &place),
            "items" if value.is_array() => return in_list(value, &place),
            "items" => return at(value, &place),
            "enum" => (!value.is_array()).then_some("a list of values"),
            "required" => (!is_texts(value)).then_some("a list of names"),
            "uniqueItems" => (!value.is_boolean()).then_some("true or false"),
            _ if is(SCHEMA) => return at(value, &place),
            _ if is(SCHEMAS_BY_NAME) => match value {
                Value::Object(named) => {
                    return named.iter().find_map(|(name, schema)| at(schema, &format!("{place}/{name}")));
                }
                _ => Some("an object of schemas"),
            },
            _ if is(SCHEMAS) => return in_list(value, &place),
            _ if is(COUNTS) => {
                (!value.as_f64().is_some_and(|n| n >= 0.0 && n.fract() == 0.0)).then_some("a whole number")
            }
            _ if is(NUMBERS) => (!value.is_number()).then_some("a number"),
            _ if is(TEXTS) => (!value.is_string()).then_some("a text"),
            _ => None,
        };
        expected.map(|expected| wrong(value, &place, expected))
    })
}

fn in_list(value: &Value, place: &str) -> Option<String> {
    match value {
        Value::Array(schemas) => {
            schemas.iter().enumerate().find_map(|(index, schema)| at(schema, &format!("{place}/{index}")))
        }
        other => Some(wrong(other, place, "a list of schemas")),
    }
}

fn of_type(value: &Value, place: &str) -> Option<String> {
    let names = match value {
        Value::Array(names) if !names.is_empty() => names.as_slice(),
        other => std::slice::from_ref(other),
    };
    names.iter().find_map(|name| match name.as_str() {
        Some(name) if TYPES.contains(&name) => None,
        Some(other) => Some(match nearest(other, TYPES) {
            Some(near) => format!("has `{}` at {place}: did you mean `{near}`?", excerpt(other, 40)),
            None => format!("has `{}` at {place}: set one of {}", excerpt(other, 40), TYPES.join(", ")),
        }),
        None => Some(wrong(name, place, &format!("one of {}", TYPES.join(", ")))),
    })
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|names| names.iter().all(Value::is_string))
}

fn wrong(value: &Value, place: &str, expected: &str) -> String {
    let place = if place.is_empty() { "its top" } else { place };
    format!("has {} at {place}: set {expected}", excerpt(&value.to_string(), 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn good_schemas_pass() {
        for schema in [
            json!(true),
            json!({}),
            json!({"type": ["string", "null"], "minLength": 0, "enum": ["a", null], "default": 1, "x-own": {"type": "foo"}}),
            json!({"type": "object", "properties": {"type": {"type": "string"}, "required": {"const": 3}},
                   "required": ["type"], "additionalProperties": false}),
            json!({"items": [{"type": "integer"}], "prefixItems": [true], "anyOf": [{"$ref": "#/$defs/a"}],
                   "$defs": {"a": {"exclusiveMinimum": 3, "multipleOf": 0.5}}}),
            json!({"maximum": 3, "exclusiveMaximum": true, "dependencies": {"a": ["b"]}, "maxItems": 3.0}),
        ] {
            assert_eq!(mistake(&schema), None, "{schema}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (schema, message) in [
            (json!({"type": "nonsense"}), "has `nonsense` at /type: set one of array, boolean, "),
            (json!({"type": "sting"}), "has `sting` at /type: did you mean `string`?"),
            (json!({"properties": {"a": {"type": 3}}}), "has 3 at /properties/a/type: set one of "),
            (json!({"properties": ["a"]}), "has [\"a\"] at /properties: set an object of schemas"),
            (json!({"items": {"anyOf": {}}}), "has {} at /items/anyOf: set a list of schemas"),
            (json!({"required": "a"}), "has \"a\" at /required: set a list of names"),
            (json!({"minItems": -1}), "has -1 at /minItems: set a whole number"),
            (json!({"not": 3}), "has 3 at /not: set a schema, which is an object"),
            (json!([]), "has [] at its top: set a schema, which is an object"),
        ] {
            let found = mistake(&schema).unwrap_or_default();
            assert!(found.starts_with(message), "{schema}: {found}");
        }
    }
}
