//! The agents of a call: the `agents` argument of `llm_classify`, parsed once for each text of the argument.
//!
//! `prompt` describes them to a model, `offline` compares texts with them.

use crate::agent::{Agent, NONE};
use crate::confidence::Choice;
use crate::decisions::digest;
use crate::offline::TextMethod;
use crate::prompt;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::OnceLock;

/// All agents of one call: at least one, with unique names.
#[derive(Debug)]
pub(crate) struct Catalogue {
    agents: Vec<Agent>,
    listing: String,
    answer_schema: Value,
    choices: Vec<Choice>,
    digest: [u8; 32],
    usual_system: OnceLock<String>,
    text_method: OnceLock<TextMethod>,
}

impl Catalogue {
    /// Reads the JSON array `[{"name", "topic", "description", "input", "examples"}, …]`; other keys are ignored.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, String> {
        const SHAPE: &str = r#"write them like [{"name": "…", "description": "…", "input": "…"}]"#;
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return Err(format!("the agents are NULL or blank: {SHAPE}"));
        };
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("the agents are not JSON ({error}): {SHAPE}"))?;
        let Value::Array(items) = value else {
            return Err(format!("the agents are JSON, but not an array: {SHAPE}"));
        };
        if items.is_empty() {
            return Err(format!("the list of agents is empty: {SHAPE}"));
        }
        let mut seen = HashSet::new();
        let mut agents = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let agent = Agent::read(item).map_err(|why| format!("agent {} {why}: {SHAPE}", index + 1))?;
            // A model cannot tell names apart that differ only in case.
            if !seen.insert(agent.name.to_lowercase()) {
                return Err(format!("two agents are called `{}`: give each a name of its own", agent.name));
            }
            agents.push(agent);
        }
        let listing = prompt::listing(&agents);
        let answer_schema = answer_schema(&agents);
        let names = agents.iter().map(|agent| agent.name.as_str()).chain([NONE]);
        let choices = names.map(Choice::new).collect();
        Ok(Self {
            agents,
            listing,
            answer_schema,
            choices,
            digest: digest(&[text.as_bytes()]),
            usual_system: OnceLock::new(),
            text_method: OnceLock::new(),
        })
    }

    /// The agents' names, in their order. [`NONE`] is not one of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.agents.iter().map(|agent| agent.name.as_str())
    }

    /// The topic of the agent called `name`; `None` for [`NONE`] and for agents without one.
    pub(crate) fn topic(&self, name: &str) -> Option<&str> {
        self.agents.iter().find(|agent| agent.name == name)?.topic.as_deref()
    }

    /// The agents as a prompt lists them.
    pub(crate) fn listing(&self) -> &str {
        &self.listing
    }

    /// The system prompt with the usual instruction.
    pub(crate) fn usual_system(&self) -> &str {
        self.usual_system.get_or_init(|| prompt::classify_system(prompt::CLASSIFY, &self.listing))
    }

    /// The schema of an answer: an object with one of the names. Every provider's strict subset allows it.
    pub(crate) fn answer_schema(&self) -> &Value {
        &self.answer_schema
    }

    /// The possible answers, including [`NONE`].
    pub(crate) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The digest of the argument, for the key of a question.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The offline method for these agents.
    pub(crate) fn text_method(&self) -> &TextMethod {
        self.text_method.get_or_init(|| TextMethod::new(&self.agents))
    }
}

fn answer_schema(agents: &[Agent]) -> Value {
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).chain([NONE]).collect();
    json!({
        "type": "object",
        "properties": { "agent": { "type": "string", "enum": names } },
        "required": ["agent"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_ignores_what_it_does_not_know() {
        let agents = Catalogue::parse(Some(
            r#"[{"name":" A ","description":"d","input":{"type":"object"},"topic":" a ","examples":["x",null," "]},
                {"name":"B","topic":null,"examples":null,"output":7},{"name":"C","topic":""}]"#,
        ))
        .unwrap();
        assert_eq!(agents.names().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!(["A", "B", "C", "NONE", "a"].map(|name| agents.topic(name)), [Some("a"), None, None, None, None]);
        assert_eq!((agents.agents[0].examples.as_slice(), agents.agents[1].examples.len()), (&["x".to_owned()][..], 0));
        assert_eq!(agents.agents[0].input, r#"{"type":"object"}"#);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            (None, "the agents are NULL or blank"),
            (Some(" "), "the agents are NULL or blank"),
            (Some("x"), "the agents are not JSON ("),
            (Some("{}"), "the agents are JSON, but not an array"),
            (Some("[]"), "the list of agents is empty"),
            (Some(r#"["A"]"#), "agent 1 is not an object"),
            (Some(r#"[{"name":"A"},{"description":"x"}]"#), "agent 2 has no name"),
            (Some(r#"[{"name":"A"},{"name":"a"}]"#), "two agents are called `a`"),
            (Some(r#"[{"name":"none"}]"#), "agent 1 is called NONE, which stands for no agent"),
            (Some("[{\"name\":\"a\\nb\"}]"), "agent 1 has a line break"),
            (Some(r#"[{"name":"A","topic":["a"]}]"#), "agent 1 has a topic that is not a text"),
            (Some(r#"[{"name":"A","examples":"x"}]"#), "agent 1 has examples that are not a list of texts"),
            (Some(r#"[{"name":"A","examples":[1]}]"#), "agent 1 has examples that are not a list of texts"),
        ] {
            let error = Catalogue::parse(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
