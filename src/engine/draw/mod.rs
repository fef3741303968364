//! Pictures of a pipeline and of the whole system, as an analyst thinks of them: text, Mermaid, JSON and SVG.
//!
//! An [`Outline`] is drawn for one pipeline, a [`System`] for all of them. Nothing here knows the engine's own steps.

mod canvas;
mod json;
mod layers;
mod map;
mod measure;
mod mermaid;
mod picture;
mod style;
mod system;
mod text;
mod tree;

pub use style::Theme;
pub use system::System;

use serde_json::Value;

use crate::sql::outline::{Outline, Part, in_words};

/// What can be drawn.
#[derive(Debug, Clone, Copy)]
pub enum Drawing<'a> {
    /// One pipeline.
    Pipeline(&'a Outline),
    /// All pipelines of a project, and its agents.
    System(&'a System),
}

impl Drawing<'_> {
    /// As a tree of lines.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Pipeline(outline) => text::pipeline(outline),
            Self::System(system) => text::system(system),
        }
    }

    /// As a Mermaid flow chart.
    #[must_use]
    pub fn mermaid(self) -> String {
        match self {
            Self::Pipeline(outline) => mermaid::pipeline(outline),
            Self::System(system) => mermaid::system(system),
        }
    }

    /// As nodes and edges, with nothing cut.
    #[must_use]
    pub fn json(self) -> Value {
        match self {
            Self::Pipeline(outline) => json::pipeline(outline),
            Self::System(system) => json::system(system),
        }
    }

    /// As a picture.
    #[must_use]
    pub fn svg(self, theme: Theme) -> String {
        match self {
            Self::Pipeline(outline) => picture::draw(outline, theme),
            Self::System(system) => map::draw(system, theme),
        }
    }
}

/// How many characters of a condition are shown.
const LONGEST: usize = 100;

/// A text, cut when it is too long to be read at a glance.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_string();
    }
    let kept: String = text.chars().take(longest - 1).collect();
    format!("{}…", kept.trim_end())
}

/// `where …` and `when …`, as far as they are known, with nothing cut.
fn conditions(edge: &crate::sql::outline::Edge) -> Option<String> {
    let (wheres, whens) = in_words(&edge.conditions);
    let words: Vec<String> =
        whens.map(|w| format!("when {w}")).into_iter().chain(wheres.map(|w| format!("where {w}"))).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The verb for a call: a model is asked, anything else is called.
fn verb(udf: &str) -> &'static str {
    if udf.starts_with("llm_") { "asks" } else { "calls" }
}

/// A table with what its connector reads or writes: `leads (topic incoming-leads)`, `leads (topic)`.
fn table_at(table: &str, place: &str) -> String {
    match place.strip_suffix(table).map(str::trim_end) {
        Some("topic") => format!("{table} (topic)"),
        _ => format!("{table} ({place})"),
    }
}

/// The name of a place where it is clear what it is: of a topic, the name alone.
fn place_name(place: &str) -> &str {
    place.strip_prefix("topic ").unwrap_or(place)
}

/// `the topics of 5 agents`.
fn topics_of_agents(count: usize) -> String {
    let agents = if count == 1 { "agent" } else { "agents" };
    format!("the topics of {count} {agents}")
}

/// What a part of an outline is called, on one line.
fn title(part: &Part) -> String {
    match part {
        Part::Source { table, place } => table_at(table, place),
        Part::Inbox { agent, place } => format!("inbox of {agent} ({place})"),
        Part::View { name } => name.clone(),
        Part::Call { view: Some(view), udf } => format!("{view}: {} {udf}", verb(udf)),
        Part::Call { view: None, udf } => format!("{} {udf}", verb(udf)),
        Part::Sink { table, topics, .. } if !topics.is_empty() => {
            format!("{table}, {} ({})", topics_of_agents(topics.len()), topics.join(", "))
        }
        Part::Sink { table, place, .. } if *place == format!("topic {table}") => table.clone(),
        Part::Sink { table, place, .. } => format!("{table} ({place})"),
    }
}
