//! One agent that can receive a message, as described in the `agents` argument of `llm_classify`.

use serde_json::Value;

/// The name for no agent.
pub(crate) const NONE: &str = "NONE";

/// One agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// The topic of its messages. No model sees it; it is only returned with the agent's name.
    pub(crate) topic: Option<String>,
    pub(crate) description: String,
    pub(crate) input: String,
    /// The message that the agent publishes when it is done.
    pub(crate) output: String,
    /// Texts that the agent accepts.
    pub(crate) examples: Vec<String>,
}

impl Agent {
    /// Reads one element of the argument. The error continues after "agent 1".
    pub(crate) fn read(item: &Value) -> Result<Self, String> {
        let Value::Object(fields) = item else { return Err("is not an object".to_owned()) };
        let text = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        };
        let name = text("name");
        if name.is_empty() {
            return Err("has no name".to_owned());
        }
        if name.chars().any(char::is_control) {
            return Err("has a line break or another control character in its name".to_owned());
        }
        if name.eq_ignore_ascii_case(NONE) {
            return Err(format!("is called {NONE}, which stands for no agent"));
        }
        let topic = match fields.get("topic") {
            None | Some(Value::Null) => None,
            Some(Value::String(topic)) => Some(topic.trim().to_owned()).filter(|topic| !topic.is_empty()),
            Some(_) => return Err("has a topic that is not a text".to_owned()),
        };
        let examples = read_examples(fields.get("examples"))
            .ok_or_else(|| "has examples that are not a list of texts".to_owned())?;
        let (description, input, output) = (text("description"), text("input"), text("output"));
        Ok(Self { name, topic, description, input, output, examples })
    }
}

/// NULL is not an example, neither as the whole value nor in the list: SQL builds such lists from columns that may be
/// NULL.
fn read_examples(value: Option<&Value>) -> Option<Vec<String>> {
    let items = match value {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return None,
    };
    let mut examples = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            Value::String(text) => examples.push(text.clone()),
            _ => return None,
        }
    }
    Some(examples)
}
