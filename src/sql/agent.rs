//! `CREATE AGENT`: an agent's name, its input and output, and who does its work. [`expand`](super::expand) turns it
//! into plain SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Array, Expr, Spanned, SqlOption, Value, ValueWithSpan};
use serde_json::{Map, Value as Json};

use super::name_of;
use super::options::{OptionDoc, option, quoted_key, read_option};
use super::statement::{CreateAgent, to_span};
use crate::diag::{Code, Diagnostic, SourceText, Span, nearest};

/// The options of `CREATE AGENT`.
pub const OPTIONS: &[OptionDoc] = &[
    option(
        "name",
        "Required. The agent's name: the model answers with it, and it is the `sender` of the agent's messages.",
    ),
    option("description", "Required. What the agent does."),
    option(
        "input",
        "Required. What it takes: say what such a message is and how far the work on it has come, in the words that the \
         message begins with. No two agents should take the same.",
    ),
    option("output", "Required. The message that it publishes when it is done."),
    option("topic", "Its topic. Without it, the identifier after CREATE AGENT."),
    option(
        "examples",
        "Texts that this agent takes, as a list: `ARRAY['…', '…']`. The model sees them, and the offline method compares \
         messages with them.",
    ),
    option("prompt", "The instructions for the model. Baton supplies the agent's pipeline."),
    option(
        "reply",
        "With `prompt`, required: how the agent's message begins. The router chooses the next agent by it. The model's answer follows.",
    ),
    option(
        "schema",
        "With `prompt`: a JSON Schema. The answer is then JSON that follows it, in the message's field `answer`.",
    ),
    option(
        "url",
        "Instead of `prompt`: the URL of an HTTP service that does the work. It gets the message as JSON and answers 200 with \
         `{\"context\": \"…\"}`; other fields of the answer go into the message. `${NAME}` in it is the value of that environment \
         variable, which no log and no error shows.",
    ),
    option(
        "options",
        "With `prompt` the options of `llm_complete`, with `url` those of `http_call`: a JSON object. A budget in them \
         (`budget_cost_per_day` and others) is counted under the agent's name. In a header, `${NAME}` is the value of that \
         environment variable.",
    ),
];

const REQUIRED: [&str; 4] = ["name", "description", "input", "output"];

/// The longest name, in characters: it is the `sender` of messages.
pub const LONGEST_NAME: usize = 200;

/// An agent.
#[derive(Debug, Clone)]
pub struct AgentDef {
    /// The identifier. Its inbox in SQL has this name, and so has the pipeline that Baton supplies.
    pub ident: String,
    /// Where the identifier stands.
    pub span: Span,
    /// The whole statement.
    pub statement: Span,
    /// The option `name`.
    pub name: String,
    /// The option `topic`, or the identifier.
    pub topic: String,
    /// The option `description`.
    pub description: String,
    /// The option `input`.
    pub input: String,
    /// The option `output`.
    pub output: String,
    /// The option `examples`.
    pub examples: Vec<String>,
    /// Who does its work.
    pub work: Work,
    /// Where the values of `name` and `topic` stand.
    pub places: Places,
}

/// Where two values stand that no other agent may have.
#[derive(Debug, Clone)]
pub struct Places {
    /// The name.
    pub name: Span,
    /// The topic, or the identifier if there is no option `topic`.
    pub topic: Span,
}

/// Who does an agent's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// SQL that reads the agent's inbox, or a program that reads its topic.
    Elsewhere,
    /// A model.
    Prompt {
        /// The prompt.
        prompt: String,
        /// The beginning of the agent's message.
        reply: String,
        /// The options of the call, `schema` among them: a JSON object.
        options: String,
        /// Whether the answer is JSON.
        has_schema: bool,
    },
    /// An HTTP service.
    Url {
        /// Its URL.
        url: String,
        /// The options of the call: a JSON object.
        options: String,
    },
}

impl AgentDef {
    /// Whether Baton supplies the agent's pipeline.
    #[must_use]
    pub fn is_supplied(&self) -> bool {
        self.work != Work::Elsewhere
    }
}

/// Reads a statement.
///
/// # Errors
/// All errors in its options.
pub fn read_agent(
    source: &Arc<SourceText>,
    agent: &CreateAgent,
    statement: &Span,
) -> Result<AgentDef, Vec<Diagnostic>> {
    let ident = name_of(&agent.name);
    let span = to_span(source, agent.name.span).unwrap_or_else(|| statement.clone());
    let mut reader = Reader {
        ident: &ident,
        span: &span,
        texts: BTreeMap::new(),
        examples: Vec::new(),
        given: BTreeSet::new(),
        errors: Vec::new(),
    };
    for option in &agent.options {
        reader.take(source, option, statement);
    }
    for key in REQUIRED {
        reader.require(key, "");
    }
    let name = reader.line("name");
    if let Some((name, at)) = &name {
        reader.check_name(name, at);
    }
    let topic = reader.line("topic").unwrap_or_else(|| (ident.clone(), span.clone()));
    reader.check_topic(&topic);
    let examples = std::mem::take(&mut reader.examples);
    let work = reader.work();
    let mut line = |key| reader.line(key).map(|(text, _)| text).unwrap_or_default();
    let (description, input, output) = (line("description"), line("input"), line("output"));
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let (name, name_place) = name.unwrap_or_else(|| (ident.clone(), span.clone()));
    let (topic, topic_place) = topic;
    let places = Places { name: name_place, topic: topic_place };
    let examples = examples.iter().map(|example| one_line(example)).collect();
    let statement = statement.clone();
    Ok(AgentDef { ident, span, statement, name, topic, description, input, output, examples, work, places })
}

/// The options of one agent, and the errors found in them.
struct Reader<'a> {
    ident: &'a str,
    span: &'a Span,
    texts: BTreeMap<&'static str, (String, Span)>,
    examples: Vec<String>,
    /// The options that are present. An option with a wrong value or a misspelt key counts too, so it is not reported
    /// as missing.
    given: BTreeSet<&'static str>,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn fail(&mut self, code: Code, message: String, at: &Span, help: impl Into<String>) {
        self.errors.push(Diagnostic::new(code, message).at(at.clone()).help(help));
    }

    /// Takes an option if the key is known and the value has the right type.
    fn take(&mut self, source: &Arc<SourceText>, option: &SqlOption, statement: &Span) {
        let SqlOption::KeyValue { key, value } = option else {
            let message = format!("`{option}` is not a valid option");
            return self.fail(Code::SYNTAX, message, self.span, "write `key = 'value'`");
        };
        let key_span = to_span(source, key.span).unwrap_or_else(|| quoted_key(source, statement, option));
        let Some(doc) = OPTIONS.iter().find(|doc| doc.key == key.value) else {
            let keys: Vec<&'static str> = OPTIONS.iter().map(|doc| doc.key).collect();
            let near = keys.iter().copied().find(|known| nearest(&key.value, keys.iter().copied()) == Some(*known));
            self.given.extend(near);
            let help = near.map_or_else(
                || format!("the options are {}", keys.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("CREATE AGENT has no option `{}`", key.value);
            return self.fail(Code::OPTION_UNKNOWN, message, &key_span, help);
        };
        if !self.given.insert(doc.key) {
            let message = format!("option `{}` is given twice", doc.key);
            return self.fail(Code::OPTION_VALUE, message, &key_span, "remove one of them");
        }
        let value_span = to_span(source, value.span()).unwrap_or(key_span);
        if doc.key == "examples" {
            let texts = texts_of(value).filter(|texts| texts.iter().all(|text| !text.trim().is_empty()));
            self.examples = texts.unwrap_or_else(|| {
                let message = "option `examples` is not a list of texts".to_string();
                let written = if text_of(value).is_some() { value_span.text() } else { "'…', '…'" };
                self.fail(Code::OPTION_VALUE, message, &value_span, format!("write `examples = ARRAY[{written}]`"));
                Vec::new()
            });
            return;
        }
        match read_option(source, option, statement) {
            Ok(entry) if !entry.quoted => {
                let message = format!("option `{}` cannot be `{}`", entry.key, entry.value);
                let help = format!("write it in quotes: `'{}'`", entry.value);
                self.fail(Code::OPTION_VALUE, message, &entry.value_span, help);
            }
            Ok(entry) if entry.value.trim().is_empty() => {
                let message = format!("option `{}` of agent `{}` is empty", entry.key, self.ident);
                let help = format!("write here: {}", first_sentence(doc.description));
                self.fail(Code::OPTION_VALUE, message, &entry.value_span, help);
            }
            Ok(entry) => drop(self.texts.insert(doc.key, (entry.value, entry.value_span))),
            Err(_) => {
                let message = format!("option `{}` must be a text in quotes", doc.key);
                let help = format!("write `{} = '…'`: an expression is not computed here", doc.key);
                self.fail(Code::OPTION_VALUE, message, &value_span, help);
            }
        }
    }

    fn require(&mut self, key: &'static str, because: &str) {
        if !self.given.contains(key) {
            let description = OPTIONS.iter().find(|doc| doc.key == key).map_or("", |doc| doc.description);
            let message = format!("agent `{}` needs the option `{key}`{because}", self.ident);
            let help = format!("add `{key} = '…'`: {}", first_sentence(description));
            self.fail(Code::OPTION_MISSING, message, self.span, help);
        }
    }

    /// The text of an option on one line.
    fn line(&mut self, key: &str) -> Option<(String, Span)> {
        self.texts.remove(key).map(|(text, at)| (one_line(&text), at))
    }

    fn check_name(&mut self, name: &str, at: &Span) {
        let length = name.chars().count();
        if length > LONGEST_NAME {
            let message = format!("the name of agent `{}` has {length} characters", self.ident);
            self.fail(Code::OPTION_VALUE, message, at, format!("at most {LONGEST_NAME} are allowed"));
        }
        if name.eq_ignore_ascii_case("none") {
            let message = format!("an agent cannot be called `{name}`");
            self.fail(
                Code::OPTION_VALUE,
                message,
                at,
                "give it another name: NONE means that no agent takes a message",
            );
        }
    }

    fn check_topic(&mut self, (topic, at): &(String, Span)) {
        let is_valid = (1..=249).contains(&topic.len())
            && topic.chars().all(is_of_a_topic)
            && !matches!(topic.as_str(), "." | "..");
        if !is_valid {
            let message = format!("`{topic}` is not a valid topic name");
            let mut valid: String = topic.to_lowercase().replace(|c: char| !is_of_a_topic(c), "_");
            valid.truncate(249);
            let has_words = valid.contains(|c: char| c.is_ascii_alphanumeric());
            let valid = if has_words { valid } else { "…".into() };
            let help = format!(
                "write `topic = '{valid}'`: a topic's name has letters, digits, `.`, `_` and `-`, and at most 249 of them"
            );
            self.fail(Code::OPTION_VALUE, message, at, help);
        }
    }

    fn work(&mut self) -> Work {
        let mut take = |key| self.texts.remove(key);
        let (prompt, url, schema, options) = (take("prompt"), take("url"), take("schema"), take("options"));
        for (key, given) in [("schema", &schema), ("reply", &self.texts.get("reply").cloned())] {
            if let (Some((_, at)), None) = (given, &prompt) {
                let message = format!("option `{key}` does nothing without `prompt`");
                let help = "add `prompt = '…'`, or take it out";
                self.errors.push(Diagnostic::new(Code::OPTION_VALUE, message).at(at.clone()).help(help));
            }
        }
        if let (Some((_, at)), None, None) = (&options, &prompt, &url) {
            let message = "option `options` does nothing without `prompt` or `url`".to_string();
            self.fail(Code::OPTION_VALUE, message, at, "add one of them, or take it out");
        }
        if let (Some(_), Some((_, at))) = (&prompt, &url) {
            let message = format!("agent `{}` has both `prompt` and `url`", self.ident);
            self.fail(Code::OPTION_VALUE, message, at, "a model or a service does its work: remove one of the two");
        }
        let merged = self.options_with(options.as_ref(), schema.as_ref());
        let has = |key: &str| serde_json::from_str::<Json>(&merged).is_ok_and(|merged| merged.get(key).is_some());
        if let (Some((_, at)), Some(_)) = (options.as_ref().filter(|_| has("idempotency_key")), &url) {
            let message = "`options` gives an `idempotency_key`, which Baton makes from the message's id".to_string();
            self.fail(Code::OPTION_VALUE, message, at, "take it out");
        }
        match (prompt, url) {
            (Some((prompt, _)), url) => {
                let has_schema = has("schema");
                // If both are given, it is not known which one stays.
                if url.is_none() {
                    self.require("reply", ", since it has a `prompt`");
                }
                let reply = self.line("reply").map(|(text, _)| text).unwrap_or_default();
                Work::Prompt { prompt, reply, options: merged, has_schema }
            }
            (None, Some((url, _))) => Work::Url { url, options: merged },
            (None, None) => Work::Elsewhere,
        }
    }

    /// The options of the call as a JSON object, with the schema added. Without a schema the text stays as written, so
    /// that an error found later can point to its place.
    fn options_with(&mut self, options: Option<&(String, Span)>, schema: Option<&(String, Span)>) -> String {
        let given = options.map_or("{}", |(text, _)| text);
        let mut merged = match serde_json::from_str(given) {
            Ok(Json::Object(fields)) => fields,
            parsed => {
                let at = options.map_or_else(|| self.span.clone(), |(_, at)| at.clone());
                let message = not_an_object("options", "a JSON object", parsed.err());
                self.fail(Code::OPTION_VALUE, message, &at, "write `options = '{\"temperature\": 0}'`");
                Map::new()
            }
        };
        let Some((schema, at)) = schema else { return given.to_string() };
        if merged.contains_key("schema") {
            let message = "a schema is given twice: as `schema` and in `options`".to_string();
            self.fail(Code::OPTION_VALUE, message, at, "remove one of them");
        }
        match serde_json::from_str(schema) {
            Ok(value @ (Json::Object(_) | Json::Bool(_))) => drop(merged.insert("schema".into(), value)),
            parsed => {
                let message = not_an_object("schema", "a JSON Schema", parsed.err());
                self.fail(
                    Code::OPTION_VALUE,
                    message,
                    at,
                    "write a JSON object: `schema = '{\"type\": \"object\", …}'`",
                );
            }
        }
        Json::Object(merged).to_string()
    }
}

/// The message for a value that must be a JSON object.
fn not_an_object(key: &str, what: &str, error: Option<serde_json::Error>) -> String {
    match error {
        Some(error) => {
            let (line, column) = (error.line(), error.column());
            let why = if error.is_eof() { "it ends too early" } else { "a sign is wrong" };
            format!("option `{key}` is not JSON: {why}, in line {line} of the text, column {column}")
        }
        None => format!("option `{key}` is not {what}"),
    }
}

fn is_of_a_topic(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The first sentence of an option's description, to follow a colon.
fn first_sentence(description: &str) -> String {
    let text = description.trim_start_matches("Required. ").trim_start_matches("With `prompt`, required: ");
    let first = text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.');
    let mut chars = first.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// The texts of `ARRAY['…', '…']` or `['…', '…']`.
fn texts_of(value: &Expr) -> Option<Vec<String>> {
    let Expr::Array(Array { elem, .. }) = value else { return None };
    elem.iter().map(text_of).collect()
}

fn text_of(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

/// A text on one line. Authors may break it anywhere.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
