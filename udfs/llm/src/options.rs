//! The `options` argument of the functions: a JSON object with what one call wants otherwise than the environment.
//!
//! | Key | Function | Default | Range |
//! | --- | --- | --- | --- |
//! | `provider` | both | `BATON_LLM_PROVIDER` | `openai`, `anthropic`, `offline` |
//! | `model` | both | `BATON_LLM_MODEL` | any name |
//! | `prompt` | `llm_classify` | [`crate::prompt::CLASSIFY`] | text; the agents and the rules about the message stay |
//! | `schema` | `llm_complete` | none | a JSON Schema; the answer is JSON text that keeps it |
//! | `temperature` | both | 0 in `llm_classify`, else the server's | 0 to 2 |
//! | `max_tokens` | both | the server's | 1 to 1000000 |
//! | `timeout` | both | `BATON_LLM_TIMEOUT` | `10ms` to `9m` |
//! | `deadline` | both | `BATON_LLM_DEADLINE` | `10ms` to `9m` |
//! | `max_input_chars` | both | 24000 | 1 to 10000000 |
//!
//! Anything else is an error that names the nearest key there is.

use crate::contract::Contract;
use crate::settings::{Provider, parse_duration};
use serde_json::{Map, Value};
use std::time::Duration;

/// How much of a message a model gets to read unless the options say otherwise, in characters.
pub const MAX_INPUT_CHARS: usize = 24_000;

/// Whose options they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Classify,
    Complete,
}

impl Function {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Classify => {
                &["provider", "model", "prompt", "temperature", "max_tokens", "timeout", "deadline", "max_input_chars"]
            }
            Self::Complete => {
                &["provider", "model", "schema", "temperature", "max_tokens", "timeout", "deadline", "max_input_chars"]
            }
        }
    }
}

/// The options of one call, checked.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) provider: Option<Provider>,
    pub(crate) model: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) schema: Option<Contract>,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_input_chars: usize,
}

impl Options {
    /// Reads `text`; NULL and blank are no options. The error has every mistake in it.
    pub(crate) fn parse(text: Option<&str>, function: Function) -> Result<Self, String> {
        let mut object = parse_object(text)?;
        let mut errors = unknown_keys(&object, function.keys());
        if function == Function::Complete && object.contains_key("prompt") {
            errors = vec![
                "the option `prompt` is for llm_classify: the prompt of llm_complete is its first argument".to_owned(),
            ];
        }
        let mut options = Reader { object: &mut object, errors: &mut errors };
        let parsed = Self {
            provider: options.take("provider", &format!("one of {}", Provider::NAMES), |value| {
                value.as_str().and_then(Provider::from_name)
            }),
            model: options.text("model"),
            prompt: options.text("prompt"),
            temperature: options.take("temperature", "a number from 0 to 2", |value| {
                value.as_f64().filter(|number| (0.0..=2.0).contains(number))
            }),
            max_tokens: options.whole_number("max_tokens", 1_000_000),
            timeout: options.duration("timeout"),
            deadline: options.duration("deadline"),
            max_input_chars: options
                .whole_number("max_input_chars", 10_000_000)
                .map_or(MAX_INPUT_CHARS, |number| number as usize),
            schema: options.schema(),
        };
        if errors.is_empty() { Ok(parsed) } else { Err(errors.join("; ")) }
    }
}

/// The object that an `options` argument holds.
pub(crate) fn parse_object(text: Option<&str>) -> Result<Map<String, Value>, String> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Map::new()) };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the options are JSON, but no object: write them like '{\"timeout\": \"10s\"}'".to_owned()),
        Err(error) => Err(format!("the options are not JSON ({error}): write them like '{{\"timeout\": \"10s\"}}'")),
    }
}

/// One sentence for each key of `object` that is not among `known`.
pub(crate) fn unknown_keys(object: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    object
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .map(|key| {
            let shown = crate::result::excerpt(key, 40);
            match nearest(key, known) {
                Some(near) => format!("there is no option `{shown}`: did you mean `{near}`?"),
                None => format!("there is no option `{shown}`: there are {}", known.join(", ")),
            }
        })
        .collect()
}

/// Takes options out of their object and notes what is wrong with them.
pub(crate) struct Reader<'a> {
    pub(crate) object: &'a mut Map<String, Value>,
    pub(crate) errors: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// The option `key` as `read` understands it; JSON null is the same as no option.
    pub(crate) fn take<T>(&mut self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.remove(key).filter(|value| !value.is_null())?;
        let result = read(&value);
        if result.is_none() {
            let shown = crate::result::excerpt(&value.to_string(), 60);
            self.errors.push(format!("the option `{key}` is {shown}: set {expected}"));
        }
        result
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a text that is not blank", |value| {
            value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        })
    }

    pub(crate) fn whole_number(&mut self, key: &str, most: u32) -> Option<u32> {
        self.take(key, &format!("a whole number from 1 to {most}"), |value| {
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number))
        })
    }

    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.take(key, "a time from 10ms to 9m, such as \"10s\"", |value| {
            value.as_str().and_then(|text| parse_duration(text).ok())
        })
    }

    fn schema(&mut self) -> Option<Contract> {
        let value = self.object.remove("schema").filter(|value| !value.is_null())?;
        Contract::new(value).map_err(|why| self.errors.push(format!("the option `schema` {why}"))).ok()
    }
}

/// The name among `known` that `name` is most likely meant to be.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let (distance, near) = known.iter().map(|near| (edit_distance(&name, near), *near)).min()?;
    (distance <= near.len().max(name.len()) / 3 + 1 && distance < near.len()).then_some(near)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_are_read() {
        let options = Options::parse(
            Some(
                r#"{"provider":"offline","model":"m","prompt":"p","temperature":0.5,"max_tokens":7,"timeout":"1s",
                    "deadline":"2s","max_input_chars":9}"#,
            ),
            Function::Classify,
        )
        .unwrap();
        assert_eq!(options.provider, Some(Provider::Offline));
        assert_eq!((options.model.as_deref(), options.prompt.as_deref()), (Some("m"), Some("p")));
        assert_eq!((options.temperature, options.max_tokens, options.max_input_chars), (Some(0.5), Some(7), 9));
        assert_eq!((options.timeout, options.deadline), (Some(Duration::from_secs(1)), Some(Duration::from_secs(2))));
        let complete = Options::parse(Some(r#"{"schema":{"type":"object"}}"#), Function::Complete).unwrap();
        assert!(complete.schema.is_some());
    }

    #[test]
    fn null_and_blank_are_no_options() {
        for text in [None, Some(""), Some("  "), Some("{}"), Some(r#"{"model":null}"#)] {
            assert!(Options::parse(text, Function::Classify).unwrap().model.is_none());
        }
    }

    #[test]
    fn mistakes_are_all_named() {
        for (text, function, message) in [
            (r#"{"modell":"x"}"#, Function::Classify, "there is no option `modell`: did you mean `model`?"),
            (r#"{"timout":"x"}"#, Function::Classify, "there is no option `timout`: did you mean `timeout`?"),
            (
                r#"{"zzz":1}"#,
                Function::Complete,
                "there is no option `zzz`: there are provider, model, schema, temperature, max_tokens, timeout, \
                 deadline, max_input_chars",
            ),
            (
                r#"{"temperature":3,"timeout":10}"#,
                Function::Classify,
                "the option `temperature` is 3: set a number from 0 to 2; the option `timeout` is 10: set a time from \
                 10ms to 9m, such as \"10s\"",
            ),
            (
                r#"{"prompt":"x"}"#,
                Function::Complete,
                "the option `prompt` is for llm_classify: the prompt of llm_complete is its first argument",
            ),
            ("[]", Function::Classify, "the options are JSON, but no object: write them like '{\"timeout\": \"10s\"}'"),
            (r#"{"schema":{"type":"nonsense"}}"#, Function::Complete, "the option `schema` is no valid JSON Schema"),
        ] {
            let error = Options::parse(Some(text), function).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        assert!(Options::parse(Some("{"), Function::Classify).unwrap_err().starts_with("the options are not JSON"));
    }
}
