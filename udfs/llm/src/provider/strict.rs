//! Whether a JSON Schema is in the subset that a provider's servers can enforce.
//!
//! A server refuses other schemas, so they go into the prompt instead. The answer is validated against the whole schema
//! in both cases.

use baton_llm_settings::settings::Provider;
use serde_json::{Map, Value};

/// Keywords in every subset without a schema inside.
const PLAIN: &[&str] = &["type", "description", "title", "const", "required", "additionalProperties"];

/// Additional keywords of OpenAI.
const OPENAI_PLAIN: &[&str] = &[
    "pattern",
    "multipleOf",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "$schema",
];

/// The formats that both support; Anthropic also supports `uri`.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

const MOST_DEPTH: usize = 10;
const MOST_PROPERTIES: usize = 1000;
const MOST_NAMES: usize = 500;

/// The maximum numbers of optional properties and of unions in a schema for Anthropic.
const MOST_OPTIONAL: usize = 24;
const MOST_UNIONS: usize = 16;

/// Whether a server of `provider` can enforce `schema`: an object at the root, and only keywords that the provider
/// supports.
pub(crate) fn is_strict(schema: &Value, provider: Provider) -> bool {
    let mut walk = Walk { anthropic: provider == Provider::Anthropic, ..Walk::default() };
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("anyOf").is_none()
        && walk.takes(schema, 0, false)
        && walk.properties <= MOST_PROPERTIES
        && walk.names <= MOST_NAMES
        && (!walk.anthropic || (walk.optional <= MOST_OPTIONAL && walk.unions <= MOST_UNIONS))
}

/// The counters of a walk through a schema.
#[derive(Default)]
struct Walk {
    anthropic: bool,
    properties: usize,
    names: usize,
    optional: usize,
    unions: usize,
}

impl Walk {
    /// Whether the subset allows this part of a schema. `defined` is true inside a definition.
    fn takes(&mut self, schema: &Value, depth: usize, defined: bool) -> bool {
        let Value::Object(keywords) = schema else { return false };
        if depth > MOST_DEPTH || !self.takes_object(keywords) {
            return false;
        }
        keywords.iter().all(|(keyword, value)| match keyword.as_str() {
            "properties" => self.takes_each(value, depth, defined),
            "$defs" | "definitions" => self.takes_each(value, depth, true),
            "items" => self.takes(value, depth + 1, defined),
            "anyOf" => {
                self.unions += 1;
                self.takes_all(value, depth, defined)
            }
            "allOf" => self.anthropic && self.takes_all(value, depth, defined),
            // Anthropic rejects recursive schemas. Without references between definitions, no schema is recursive.
            "$ref" => value.as_str().is_some_and(|target| {
                if self.anthropic { !defined && target.starts_with("#/") } else { target.starts_with('#') }
            }),
            "enum" => value.as_array().is_some_and(|values| {
                self.names += values.len();
                !values.iter().any(|value| value.is_object() || value.is_array())
            }),
            "format" => value.as_str().is_some_and(|name| FORMATS.contains(&name) || self.anthropic && name == "uri"),
            "type" if value.is_array() => {
                self.unions += 1;
                true
            }
            "default" => self.anthropic,
            "minItems" if self.anthropic => matches!(value.as_u64(), Some(0 | 1)),
            "pattern" if self.anthropic => value.as_str().is_some_and(is_simple_pattern),
            plain => PLAIN.contains(&plain) || (!self.anthropic && OPENAI_PLAIN.contains(&plain)),
        })
    }

    fn takes_each(&mut self, schemas: &Value, depth: usize, defined: bool) -> bool {
        let Value::Object(schemas) = schemas else { return false };
        self.properties += schemas.len();
        schemas.values().all(|schema| self.takes(schema, depth + 1, defined))
    }

    fn takes_all(&mut self, schemas: &Value, depth: usize, defined: bool) -> bool {
        let Value::Array(schemas) = schemas else { return false };
        schemas.iter().all(|schema| self.takes(schema, depth + 1, defined))
    }

    /// An object must forbid additional properties. OpenAI requires all its properties to be required.
    fn takes_object(&mut self, keywords: &Map<String, Value>) -> bool {
        let is_object = match keywords.get("type") {
            Some(Value::String(name)) => name == "object",
            Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
            _ => keywords.contains_key("properties"),
        };
        if !is_object {
            return true;
        }
        let Some(properties) = keywords.get("properties").and_then(Value::as_object) else { return false };
        let required = keywords.get("required").and_then(Value::as_array);
        let is_required = |key: &str| required.is_some_and(|names| names.iter().any(|name| name == key));
        let optional = properties.keys().filter(|key| !is_required(key)).count();
        self.optional += optional;
        keywords.get("additionalProperties") == Some(&Value::Bool(false)) && (self.anthropic || optional == 0)
    }
}

/// Whether a pattern has only features that Anthropic supports for certain: no word boundary, look-around or count.
fn is_simple_pattern(pattern: &str) -> bool {
    !["\\b", "\\B", "(?", "{"].iter().any(|part| pattern.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BOTH: [Provider; 2] = [Provider::OpenAi, Provider::Anthropic];

    /// An object with one required property that has the schema `a`.
    fn object(a: Value) -> Value {
        json!({"type": "object", "properties": {"a": a}, "required": ["a"], "additionalProperties": false})
    }

    #[test]
    fn what_both_take() {
        for schema in [
            object(json!({"type": "string"})),
            object(json!({"type": "array", "items": object(json!({"type": ["integer", "null"]}))})),
            object(json!({"enum": ["x", 1, true, null]})),
            object(json!({"type": "string", "format": "email", "description": "d", "title": "t"})),
            object(json!({"anyOf": [{"type": "string"}, {"const": 1}]})),
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"],
                   "additionalProperties": false, "$defs": {"a": {"type": "string"}}}),
        ] {
            for provider in BOTH {
                assert!(is_strict(&schema, provider), "{provider}: {schema}");
            }
        }
    }

    #[test]
    fn what_neither_takes() {
        let inner = object(json!({"type": "string"}));
        for schema in [
            json!({"type": "array", "items": inner}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            object(json!({"oneOf": []})),
            object(json!({"type": "string", "minLength": 1})),
            object(json!({"type": "string", "format": "phone"})),
            object(json!({"enum": [{"x": 1}]})),
            object(json!(true)),
            object(json!({"$ref": "http://x/y"})),
            object(json!({"enum": (0..501).collect::<Vec<_>>()})),
            json!(true),
        ] {
            for provider in BOTH {
                assert!(!is_strict(&schema, provider), "{provider}: {schema}");
            }
        }
        let deep = (0..12).fold(json!({"type": "string"}), |inner, _| object(inner));
        assert!(BOTH.iter().all(|provider| !is_strict(&deep, *provider)));
    }

    #[test]
    fn what_only_openai_takes() {
        let loops = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"],
                           "additionalProperties": false, "$defs": {"a": object(json!({"$ref": "#/$defs/a"}))}});
        for schema in [
            object(json!({"type": "integer", "minimum": 0, "maximum": 100})),
            object(json!({"type": "array", "items": {"type": "string"}, "minItems": 3})),
            object(json!({"type": "array", "items": {"type": "string"}, "maxItems": 3})),
            object(json!({"type": "string", "pattern": "^[a-z]{2}$"})),
            object(json!({"$ref": "#"})),
            loops,
        ] {
            assert!(is_strict(&schema, Provider::OpenAi), "{schema}");
            assert!(!is_strict(&schema, Provider::Anthropic), "{schema}");
        }
    }

    #[test]
    fn what_only_anthropic_takes() {
        let optional =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
        for schema in [
            optional,
            object(json!({"type": "string", "format": "uri"})),
            object(json!({"type": "string", "default": "x"})),
            object(json!({"allOf": [{"type": "string"}]})),
        ] {
            assert!(!is_strict(&schema, Provider::OpenAi), "{schema}");
            assert!(is_strict(&schema, Provider::Anthropic), "{schema}");
        }
        let one = object(json!({"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "minItems": 1}));
        assert!(is_strict(&one, Provider::Anthropic));
        let many: Map<String, Value> = (0..25).map(|n| (n.to_string(), json!({"type": "string"}))).collect();
        let many = json!({"type": "object", "properties": many, "additionalProperties": false});
        assert!(!is_strict(&many, Provider::Anthropic));
    }
}
