//! Mermaid flow charts, for pages that draw them.

use std::fmt::Write as _;

use super::system::System;
use super::{LONGEST, conditions, cut, place_name, table_at, title, topics_of_agents, verb};
use crate::sql::outline::{Outline, Part};

/// A pipeline.
pub fn pipeline(outline: &Outline) -> String {
    let mut out = "flowchart LR\n".to_string();
    for (id, node) in outline.nodes.iter().enumerate() {
        let shape = match &node.part {
            Part::Source { table, place } => topic(&table_at(table, place)),
            Part::Sink { table, topics, .. } if !topics.is_empty() => {
                topic(&format!("{table}, {}", topics_of_agents(topics.len())))
            }
            Part::Inbox { .. } | Part::Sink { .. } => topic(&title(&node.part)),
            Part::View { .. } => format!("[\"{}\"]", quoted(&title(&node.part))),
            Part::Call { .. } => format!("{{{{\"{}\"}}}}", quoted(&title(&node.part))),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  n{id}{shape}");
    }
    for (id, node) in outline.nodes.iter().enumerate() {
        for edge in &node.outputs {
            let label = conditions(edge)
                .map_or(String::new(), |words| format!("|\"{}\"| ", quoted(&cut(without_where(&words), LONGEST))));
            let _ = writeln!(out, "  n{id} -->{label}{}n{}", if label.is_empty() { " " } else { "" }, edge.to);
        }
    }
    out
}

/// All pipelines, and what they read and write.
pub fn system(system: &System) -> String {
    let mut out = "flowchart LR\n".to_string();
    for (id, place) in system.places.iter().enumerate() {
        let note = match (place.is_written_elsewhere(), place.is_for_people()) {
            (true, _) => "<br>written elsewhere",
            (_, true) => "<br>for people and programs elsewhere",
            _ => "",
        };
        let _ = writeln!(out, "  t{id}[(\"{}{note}\")]", quoted(place_name(&place.name)));
    }
    for (id, member) in system.members.iter().enumerate() {
        let mut lines = vec![quoted(&member.name)];
        lines.extend(member.inboxes.iter().map(|agent| quoted(agent)));
        lines.extend(member.calls.iter().map(|udf| format!("{} {}", verb(udf), quoted(udf))));
        lines.extend(member.by_hand.then(|| "run by hand".to_string()));
        let text = lines.join("<br>");
        let shape = if member.calls.is_empty() { format!("[\"{text}\"]") } else { format!("{{{{\"{text}\"}}}}") };
        let _ = writeln!(out, "  p{id}{shape}");
    }
    for (id, agent) in system.agents.iter().enumerate().filter(|(_, agent)| agent.pipeline.is_none()) {
        let _ = writeln!(out, "  a{id}[\"{}<br>a program elsewhere\"]", quoted(&agent.name));
    }
    for (id, place) in system.places.iter().enumerate() {
        let arrow = |member: &usize| if system.members[*member].by_hand { "-.->" } else { "-->" };
        for writer in &place.writers {
            let _ = writeln!(out, "  p{writer} {} t{id}", arrow(writer));
        }
        for reader in &place.readers {
            let _ = writeln!(out, "  t{id} {} p{reader}", arrow(reader));
        }
        for (agent, _) in system
            .agents
            .iter()
            .enumerate()
            .filter(|(_, agent)| agent.pipeline.is_none() && place_name(&place.name) == agent.topic)
        {
            let _ = writeln!(out, "  t{id} --> a{agent}");
        }
    }
    out
}

fn topic(text: &str) -> String {
    format!("[(\"{}\")]", quoted(text))
}

/// A label on an arrow is clearly a condition, so it needs no `where`.
fn without_where(words: &str) -> &str {
    words.strip_prefix("where ").unwrap_or(words)
}

/// A text between quotation marks, where Mermaid reads HTML.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '#' => out.push_str("#35;"),
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            '\\' => out.push_str("#92;"),
            c => out.push(c),
        }
    }
    out
}
