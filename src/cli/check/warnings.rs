//! Warnings: what runs, but may not do what its author wanted.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::eval::expected_names;
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::agent::AgentDef;
use crate::sql::catalogue::Project;
use crate::sql::resolve::PipelineText;
use crate::sql::table::TableDef;

/// From this share of common words on, two inputs count as nearly the same. The inputs of two stages of one workflow
/// often share three words in four, and models tell them apart well.
const SAME: f64 = 0.85;

/// Agents whose inputs are easily confused.
pub fn overlap(pipelines: &[PipelineText]) -> Vec<Diagnostic> {
    let agents = pipelines.first().map_or(&[][..], |text| &text.agents);
    let mut found = Vec::new();
    for (i, agent) in agents.iter().enumerate() {
        for first in &agents[..i] {
            if likeness(&first.input, &agent.input) >= SAME {
                let message = format!("`{}` and `{}` take nearly the same input", first.name, agent.name);
                let help = format!("say what sets them apart; the other one is at {}", first.span.place());
                found.push(Diagnostic::warning(Code::AGENTS_OVERLAP, message).at(agent.span.clone()).help(help));
            }
        }
    }
    found
}

/// Twice the number of common words over the number of all words.
fn likeness(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    };
    let (a, b) = (words(a), words(b));
    let count = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
    2.0 * count(a.intersection(&b).count()) / count(a.len() + b.len())
}

/// Agents with a text of `baton new agent` that nobody has filled in.
pub fn not_filled_in(pipelines: &[PipelineText]) -> Vec<Diagnostic> {
    const TEMPLATE: &str = include_str!("../new/agent.sql");
    let agents = pipelines.first().map_or(&[][..], |text| &text.agents);
    let is_template = |text: &String| !text.is_empty() && TEMPLATE.contains(&format!("= '{text}'"));
    let empty =
        agents.iter().filter(|agent| [&agent.description, &agent.input, &agent.output].into_iter().any(is_template));
    let told = empty.map(|agent| {
        let message = format!("`{}` still has a text of `baton new agent`", agent.name);
        let help = "write what it does, takes and publishes in its place";
        Diagnostic::warning(Code::AGENT_NOT_FILLED_IN, message).at(agent.span.clone()).help(help)
    });
    told.collect()
}

/// Agents that no labelled message in `evals/` expects.
pub fn not_expected(project: &Project, pipelines: &[PipelineText]) -> Vec<Diagnostic> {
    let agents = pipelines.first().map_or(&[][..], |text| &text.agents);
    let expected = expected_names(&project.root.join("evals"));
    // Labelled messages of another system say nothing about these agents.
    if !agents.iter().any(|agent| expected.contains(&agent.name)) {
        return Vec::new();
    }
    let missing = agents.iter().filter(|agent| !expected.contains(&agent.name));
    let told = missing.map(|agent| {
        let message = format!("no labelled message expects `{}`", agent.name);
        let help = format!("add a line to evals/: {{\"text\": \"…\", \"expected\": \"{}\"}}", agent.name);
        Diagnostic::warning(Code::AGENT_NOT_EXPECTED, message).at(agent.span.clone()).help(help)
    });
    told.collect()
}

/// Tables that no pipeline reads or writes.
pub fn unused(catalogue: &PipelineText, used: &BTreeSet<&str>) -> Vec<Diagnostic> {
    let tables = catalogue.tables().filter(|table| !used.contains(table.name.as_str()) && !is_made(&table.statement));
    let told = tables.map(|table| {
        let topic = table.option("topic").filter(|topic| topic.value != table.name);
        let topic = topic.map_or_else(String::new, |topic| format!(" (topic `{}`)", topic.value));
        let message = format!("no pipeline reads or writes `{}`{topic}", table.name);
        Diagnostic::warning(Code::TABLE_UNUSED, message).at(table.span.clone()).help("use it, or remove it")
    });
    told.collect()
}

/// Whether a statement comes from CREATE AGENT.
fn is_made(statement: &Span) -> bool {
    statement.written() != statement
}

/// Pipelines that read the same messages. In one consumer group, each gets a part; in two, each gets all.
pub fn read_twice(pipelines: &[PipelineText]) -> Vec<Diagnostic> {
    let mut readers: BTreeMap<(String, String), Vec<(&str, &TableDef)>> = BTreeMap::new();
    let mut inboxes: BTreeMap<&str, Vec<(&str, &AgentDef)>> = BTreeMap::new();
    for text in pipelines {
        let read = text.tables_read();
        for table in text.tables().filter(|table| read.contains(&table.name)) {
            let option = |key: &str| table.option(key).map(|option| option.value.clone());
            if let (Some(topic), Some(group)) = (option("topic"), option("source.group_id")) {
                readers.entry((topic, group)).or_default().push((&text.name, table));
            }
        }
        for agent in text.agents.iter().filter(|agent| read.contains(&agent.ident)) {
            inboxes.entry(&agent.ident).or_default().push((&text.name, agent));
        }
    }
    let mut found = Vec::new();
    for ((topic, group), readers) in &readers {
        if let [(first, _), (second, table), ..] = readers.as_slice() {
            let message = format!(
                "`{first}` and `{second}` share the consumer group `{group}` on topic `{topic}`: each gets a part of its messages"
            );
            let help = "give each pipeline a table with a `source.group_id` of its own";
            found.push(Diagnostic::warning(Code::READ_TWICE, message).at(table.span.clone()).help(help));
        }
    }
    for readers in inboxes.values() {
        if let [(first, agent), (second, _), ..] = readers.as_slice() {
            let message = format!(
                "`{first}` and `{second}` both read the inbox of `{}`: each message is worked on twice",
                agent.name
            );
            let help = "let one of them do the agent's work";
            found.push(Diagnostic::warning(Code::READ_TWICE, message).at(agent.span.clone()).help(help));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_two_stages_are_told_apart() {
        let engage = "A scored lead whose next step is Actively Engage. No e-mail has been written yet.";
        let nurture = "A scored lead whose next step is Nurture. No e-mails have been written yet.";
        assert!(likeness(engage, nurture) < SAME);
        assert!(
            likeness(engage, "A scored lead, whose next step is Actively Engage: no e-mail has been written.") >= SAME
        );
    }
}
