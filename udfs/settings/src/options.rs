//! The `options` argument of the functions: a JSON object that overrides the environment for one call.
//!
//! | Key | Function | Default | Range |
//! | --- | --- | --- | --- |
//! | `provider` | both | `BATON_LLM_PROVIDER` | `openai`, `anthropic`, `offline` |
//! | `model` | both | `BATON_LLM_MODEL` | any name |
//! | `prompt` | `llm_classify` | [`crate::prompt::CLASSIFY`] | text; the agents and the rules about the message stay |
//! | `schema` | `llm_complete` | none | a JSON Schema; the answer is JSON text that matches it |
//! | `temperature` | both | 0 in `llm_classify`, else the server's | 0 to 2, at Anthropic to 1 |
//! | `max_tokens` | both | the server's | 1 to 1000000 |
//! | `effort` | both | `BATON_LLM_EFFORT` | `none`, `minimal`, `low`, `medium`, `high` |
//! | `timeout` | both | `BATON_LLM_TIMEOUT` | `10ms` to `9m` |
//! | `deadline` | both | `BATON_LLM_DEADLINE` | `10ms` to `9m` |
//! | `max_input_chars` | both | 24000 | 1 to 10000000 |
//! | `budget_tokens`, `budget_tokens_per_day` | both | no limit | 1 to 10^15 |
//! | `budget_cost`, `budget_cost_per_day` | both | no limit | above 0, in the money of `BATON_LLM_PRICES` |
//! | `budget_name` | both | in CREATE AGENT, the agent's name | the name under which the budgets are counted |
//!
//! Anything else is an error that names the nearest key. This module checks the form of `schema`; the code that uses it
//! checks its meaning.

use crate::limits::{Budgets, MOST_COST, MOST_TOKENS, NANO};
use crate::provider::Provider;
use crate::text::{excerpt, nearest, parse_duration};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// How many characters of a message the model reads, unless the options set another number.
pub const MAX_INPUT_CHARS: usize = 24_000;

/// The function that the options belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `llm_classify`.
    Classify,
    /// `llm_complete`.
    Complete,
}

impl Function {
    /// The function that SQL calls by this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "llm_classify" => Some(Self::Classify),
            "llm_complete" => Some(Self::Complete),
            _ => None,
        }
    }

    /// The name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "llm_classify",
            Self::Complete => "llm_complete",
        }
    }

    /// The index of its options argument, counted from 0.
    #[must_use]
    pub fn options_argument(self) -> usize {
        match self {
            Self::Classify => 2,
            Self::Complete => 3,
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Classify => &[
                "provider",
                "model",
                "prompt",
                "temperature",
                "max_tokens",
                "effort",
                "timeout",
                "deadline",
                "max_input_chars",
                "budget_tokens",
                "budget_tokens_per_day",
                "budget_cost",
                "budget_cost_per_day",
                "budget_name",
            ],
            Self::Complete => &[
                "provider",
                "model",
                "schema",
                "temperature",
                "max_tokens",
                "effort",
                "timeout",
                "deadline",
                "max_input_chars",
                "budget_tokens",
                "budget_tokens_per_day",
                "budget_cost",
                "budget_cost_per_day",
                "budget_name",
            ],
        }
    }
}

/// How much a model reasons before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as the model can.
    Minimal,
    /// A little.
    Low,
    /// More.
    Medium,
    /// Much.
    High,
}

impl Effort {
    /// All names, for messages.
    pub const NAMES: &'static str = "none, minimal, low, medium, high";

    /// The effort called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High]
            .into_iter()
            .find(|effort| effort.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The options of one call, checked.
#[derive(Debug)]
pub struct Options {
    /// The provider of this call.
    pub provider: Option<Provider>,
    /// The model of this call.
    pub model: Option<String>,
    /// The instruction of `llm_classify`.
    pub prompt: Option<String>,
    /// The schema for the answer of `llm_complete`: a JSON object or boolean.
    pub schema: Option<Value>,
    /// The model's temperature.
    pub temperature: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// How much the model reasons before it answers.
    pub effort: Option<Effort>,
    /// The timeout of one HTTP call.
    pub timeout: Option<Duration>,
    /// One row with all its calls and waits.
    pub deadline: Option<Duration>,
    /// How many characters of the text the model reads.
    pub max_input_chars: usize,
    /// The budgets of the calls with these options.
    pub budget: Option<Budget>,
}

/// Budgets in the options of a call, counted under a name. All calls with that name share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The name, in CREATE AGENT the agent's.
    pub name: String,
    /// The limits.
    pub limits: Budgets,
}

impl Options {
    /// Reads `text`; NULL and blank mean no options. The error lists every mistake.
    pub fn parse(text: Option<&str>, function: Function) -> Result<Self, Vec<String>> {
        let mut object = parse_object(text).map_err(|error| vec![error])?;
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
            effort: options.take("effort", &format!("one of {}", Effort::NAMES), |value| {
                value.as_str().and_then(Effort::from_name)
            }),
            timeout: options.duration("timeout"),
            deadline: options.duration("deadline"),
            max_input_chars: options
                .whole_number("max_input_chars", 10_000_000)
                .map_or(MAX_INPUT_CHARS, |number| number as usize),
            schema: options.schema(),
            budget: options.budget(),
        };
        if let (Some(provider), Some(temperature)) = (parsed.provider, parsed.temperature)
            && temperature > provider.most_temperature()
        {
            let most = provider.most_temperature();
            errors.push(format!(
                "the option `temperature` is {temperature}: set a number from 0 to {most}, for {provider}"
            ));
        }
        if errors.is_empty() { Ok(parsed) } else { Err(errors) }
    }
}

/// Checks `text` as the options of `function`.
///
/// # Errors
/// One sentence for each error, with the edit to make.
pub fn check_options(function: Function, text: &str) -> Result<(), Vec<String>> {
    Options::parse(Some(text), function).map(|_| ())
}

/// The object in an `options` argument.
pub fn parse_object(text: Option<&str>) -> Result<Map<String, Value>, String> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Map::new()) };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the options are JSON, but not an object: write them like '{\"timeout\": \"10s\"}'".to_owned()),
        Err(error) => Err(format!("the options are not JSON ({error}): write them like '{{\"timeout\": \"10s\"}}'")),
    }
}

/// One sentence for each key of `object` that is not among `known`.
pub fn unknown_keys(object: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    object
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .map(|key| {
            let shown = excerpt(key, 40);
            match nearest(key, known) {
                Some(near) => format!("there is no option `{shown}`: did you mean `{near}`?"),
                None => format!("there is no option `{shown}`: the options are {}", known.join(", ")),
            }
        })
        .collect()
}

/// Takes options out of their object and collects the errors.
pub struct Reader<'a> {
    /// The options that have not been taken yet.
    pub object: &'a mut Map<String, Value>,
    /// A sentence for each mistake.
    pub errors: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// The option `key`, parsed by `read`. JSON null means no option.
    pub fn take<T>(&mut self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.remove(key).filter(|value| !value.is_null())?;
        let result = read(&value);
        if result.is_none() {
            let shown = excerpt(&value.to_string(), 60);
            self.errors.push(format!("the option `{key}` is {shown}: set {expected}"));
        }
        result
    }

    /// A text that is not blank.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a text that is not blank", |value| {
            value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        })
    }

    fn schema(&mut self) -> Option<Value> {
        let value = self.object.remove("schema").filter(|value| !value.is_null())?;
        let mistake = crate::schema::mistake(&value);
        self.errors.extend(mistake.map(|mistake| format!("the option `schema` {mistake}")));
        Some(value)
    }

    fn budget(&mut self) -> Option<Budget> {
        let mut tokens = |key| {
            self.take(key, &format!("a whole number from 1 to {MOST_TOKENS}"), |value| {
                value.as_u64().filter(|number| (1..=MOST_TOKENS).contains(number))
            })
        };
        let (all_tokens, tokens_per_day) = (tokens("budget_tokens"), tokens("budget_tokens_per_day"));
        let mut cost = |key| {
            self.take(key, "a number above 0, such as 5 or 0.50", |value| {
                let cost = value.as_f64().filter(|cost| *cost > 0.0 && *cost <= MOST_COST)?;
                Some((cost * NANO) as u64)
            })
        };
        let (cost, cost_per_day) = (cost("budget_cost"), cost("budget_cost_per_day"));
        let limits = Budgets { tokens: all_tokens, tokens_per_day, cost, cost_per_day };
        let name = self.text("budget_name");
        if limits.is_empty() {
            return None;
        }
        if name.is_none() {
            self.errors.push(
                "a budget in the options is counted under a name: set the option `budget_name`, such as the agent's name"
                    .to_owned(),
            );
        }
        Some(Budget { name: name?, limits })
    }

    /// A whole number from 1 to `most`.
    pub fn whole_number(&mut self, key: &str, most: u32) -> Option<u32> {
        self.take(key, &format!("a whole number from 1 to {most}"), |value| {
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number))
        })
    }

    /// A time such as `10s`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.take(key, "a time from 10ms to 9m, such as \"10s\"", |value| {
            value.as_str().and_then(|text| parse_duration(text).ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_are_read() {
        let options = Options::parse(
            Some(
                r#"{"provider":"offline","model":"m","prompt":"p","temperature":0.5,"max_tokens":7,"timeout":"1s",
                    "effort":"low","deadline":"2s","max_input_chars":9}"#,
            ),
            Function::Classify,
        )
        .unwrap();
        assert_eq!(options.provider, Some(Provider::Offline));
        assert_eq!((options.model.as_deref(), options.prompt.as_deref()), (Some("m"), Some("p")));
        assert_eq!((options.temperature, options.max_tokens, options.max_input_chars), (Some(0.5), Some(7), 9));
        assert_eq!((options.timeout, options.deadline), (Some(Duration::from_secs(1)), Some(Duration::from_secs(2))));
        assert_eq!(options.effort, Some(Effort::Low));
        let complete = Options::parse(Some(r#"{"schema":{"type":"object"}}"#), Function::Complete).unwrap();
        assert!(complete.schema.is_some());
    }

    #[test]
    fn a_budget_has_a_name() {
        let parse = |text| Options::parse(Some(text), Function::Complete);
        let budget = parse(r#"{"budget_cost_per_day":0.5,"budget_tokens":7,"budget_name":"a"}"#).unwrap().budget;
        let limits = Budgets { tokens: Some(7), cost_per_day: Some(500_000_000), ..Budgets::default() };
        assert_eq!(budget, Some(Budget { name: "a".to_owned(), limits }));
        assert_eq!(parse(r#"{"budget_name":"a"}"#).unwrap().budget, None);
        assert_eq!(
            parse(r#"{"budget_tokens":7}"#).unwrap_err(),
            ["a budget in the options is counted under a name: set the option `budget_name`, such as the agent's name"]
        );
        assert_eq!(
            parse(r#"{"budget_cost":0,"budget_tokens_per_day":"7"}"#).unwrap_err(),
            [
                "the option `budget_tokens_per_day` is \"7\": set a whole number from 1 to 1000000000000000",
                "the option `budget_cost` is 0: set a number above 0, such as 5 or 0.50",
            ]
        );
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
                "there is no option `zzz`: the options are provider, model, schema, temperature, max_tokens, effort, \
                 timeout, deadline, max_input_chars, budget_tokens, budget_tokens_per_day, budget_cost, \
                 budget_cost_per_day, budget_name",
            ),
            (
                r#"{"temperature":3,"timeout":10}"#,
                Function::Classify,
                "the option `temperature` is 3: set a number from 0 to 2; the option `timeout` is 10: set a time from \
                 10ms to 9m, such as \"10s\"",
            ),
            (
                r#"{"temperature":1e400,"max_tokens":7.0}"#,
                Function::Classify,
                "the option `temperature` is 1e+400: set a number from 0 to 2; the option `max_tokens` is 7.0: set a whole \
                 number from 1 to 1000000",
            ),
            (
                r#"{"provider":"anthropic","temperature":1.5}"#,
                Function::Complete,
                "the option `temperature` is 1.5: set a number from 0 to 1, for anthropic",
            ),
            (
                r#"{"effort":"hihg"}"#,
                Function::Classify,
                "the option `effort` is \"hihg\": set one of none, minimal, low, medium, high",
            ),
            (
                r#"{"prompt":"x"}"#,
                Function::Complete,
                "the option `prompt` is for llm_classify: the prompt of llm_complete is its first argument",
            ),
            (
                "[]",
                Function::Classify,
                "the options are JSON, but not an object: write them like '{\"timeout\": \"10s\"}'",
            ),
            (
                r#"{"schema":"x"}"#,
                Function::Complete,
                "the option `schema` has \"x\" at its top: set a schema, which is an object",
            ),
        ] {
            let error = Options::parse(Some(text), function).unwrap_err().join("; ");
            assert!(error.starts_with(message), "{text}: {error}");
        }
        assert!(Options::parse(Some("{"), Function::Classify).unwrap_err()[0].starts_with("the options are not JSON"));
    }
}
