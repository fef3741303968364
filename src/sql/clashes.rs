//! Agents with the name or the topic of another, or with the topic of a table.

use std::collections::{BTreeMap, HashMap};

use super::agent::AgentDef;
use super::definition::Definition;
use super::table::TableDef;
use crate::diag::{Code, Diagnostic, Span};

/// Agents with the same name or topic.
pub(super) fn agents_twice(agents: &[AgentDef]) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for (i, agent) in agents.iter().enumerate() {
        let mut twice = |message: String, at: &Span, first: &Span| {
            let help = format!("the other one is at {}: give each its own", first.place());
            errors.push(Diagnostic::new(Code::AGENT_TWICE, message).at(at.clone()).help(help));
        };
        for first in &agents[..i] {
            if first.ident == agent.ident {
                twice(format!("there are two agents `{}`", agent.ident), &agent.span, &first.span);
            } else if first.topic == agent.topic {
                let message = format!("two agents have the topic `{}`", agent.topic);
                twice(message, &agent.places.topic, &first.places.topic);
            }
            // A model cannot tell names apart that differ only in case.
            if first.name.to_lowercase() == agent.name.to_lowercase() {
                let message = format!("two agents are called `{}`", agent.name);
                twice(message, &agent.places.name, &first.places.name);
            }
        }
    }
    errors
}

/// Agents whose topic is also the topic of a table. The table's messages would be read as messages to the agent.
pub(super) fn topics_of_tables(agents: &[AgentDef], definitions: &BTreeMap<String, Definition>) -> Vec<Diagnostic> {
    let topics: HashMap<&str, &TableDef> = definitions
        .values()
        .filter_map(|definition| match definition {
            Definition::Table(table) => Some((table.option("topic")?.value.as_str(), table)),
            Definition::Memory(_) | Definition::View(_) => None,
        })
        .collect();
    let wrong = agents.iter().filter_map(|agent| {
        let table = topics.get(agent.topic.as_str())?;
        let is_free =
            |topic: &String| !topics.contains_key(topic.as_str()) && agents.iter().all(|other| other.topic != *topic);
        let plain = agent.ident.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_");
        let free = [plain.clone(), format!("{plain}_inbox")].into_iter().find(is_free);
        let message =
            format!("topic `{}` of agent `{}` is the topic of table `{}` too", agent.topic, agent.ident, table.name);
        let free = free.as_deref().unwrap_or("…");
        let help = format!("write `topic = '{free}'`; the table is at {}", table.span.place());
        Some(Diagnostic::new(Code::AGENT_TWICE, message).at(agent.places.topic.clone()).help(help))
    });
    wrong.collect()
}
