//! One agent that a message can go to, as the `agents` argument of `llm_classify` describes it.

use serde_json::Value;

/// The name that stands for no agent.
pub(crate) const NONE: &str = "NONE";

/// One agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) input: String,
}

impl Agent {
    /// Reads one element of the argument. The error goes on after "agent 1".
    pub(crate) fn read(item: &Value) -> Result<Self, String> {
        let Value::Object(fields) = item else { return Err("is no object".to_owned()) };
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
        Ok(Self { name, description: text("description"), input: text("input") })
    }
}
