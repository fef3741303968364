//! Trees of lines, for a terminal.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::system::{Agent, Member, Place, System};
use super::{LONGEST, conditions, cut, place_name, title, topics_of_agents};
use crate::sql::outline::{Edge, Outline, Part};

/// A pipeline, from each source down to the sinks. A part that several branches lead to is drawn once.
pub fn pipeline(outline: &Outline) -> String {
    let by_hand = if outline.is_bounded { " (ends by itself: run by hand)" } else { "" };
    let mut tree = Tree { outline, drawn: HashSet::new(), out: format!("{}{by_hand}\n", outline.name) };
    let roots: Vec<Edge> = outline.roots().into_iter().map(|to| Edge { to, conditions: Vec::new() }).collect();
    tree.branches(&roots, "");
    tree.out
}

struct Tree<'a> {
    outline: &'a Outline,
    drawn: HashSet<usize>,
    out: String,
}

impl Tree<'_> {
    fn branches(&mut self, edges: &[Edge], indent: &str) {
        for (i, edge) in edges.iter().enumerate() {
            let node = &self.outline.nodes[edge.to];
            let is_last = i + 1 == edges.len();
            let turn = if is_last { '└' } else { '├' };
            let arrow = if matches!(node.part, Part::Sink { .. }) { '→' } else { '─' };
            let again = !node.outputs.is_empty() && !self.drawn.insert(edge.to);
            let condition = conditions(edge).map_or(String::new(), |words| format!(", {}", cut(&words, LONGEST)));
            let mark = if again { " (see above)" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(self.out, "{indent}{turn}{arrow} {}{condition}{mark}", title(&node.part));
            if !again {
                let below = if is_last { "   " } else { "│  " };
                self.branches(&node.outputs, &format!("{indent}{below}"));
            }
        }
    }
}

/// All pipelines, from the sources on, and the agents.
pub fn system(system: &System) -> String {
    let mut out = String::new();
    for member in &system.members {
        let _ = writeln!(out, "{}", headline(member));
        let reads: Vec<String> = member.reads.iter().map(|place| read(system, place)).collect();
        let mut lines = vec![format!("reads {}", reads.join(", "))];
        lines.extend(member.calls.iter().map(|udf| format!("{} {udf}", super::verb(udf))));
        let writes: Vec<String> = member.writes.iter().map(|place| place_name(place).to_string()).collect();
        let topics = (member.agent_topics > 0).then(|| topics_of_agents(member.agent_topics));
        lines.push(format!("writes {}", writes.into_iter().chain(topics).collect::<Vec<_>>().join(", ")));
        for (i, line) in lines.iter().enumerate() {
            let turn = if i + 1 == lines.len() { '└' } else { '├' };
            let _ = writeln!(out, "{turn}─ {line}");
        }
        out.push('\n');
    }
    if !system.agents.is_empty() {
        out.push_str("Agents\n");
        let width = |of: &dyn Fn(&Agent) -> usize| system.agents.iter().map(of).max().unwrap_or(0);
        let (names, topics) = (width(&|a| a.name.chars().count()), width(&|a| a.topic.chars().count()));
        for agent in &system.agents {
            let who = agent.pipeline.as_deref().unwrap_or("a program elsewhere");
            let _ = writeln!(out, "  {:names$}  topic {:topics$}  {who}", agent.name, agent.topic);
        }
        out.push('\n');
    }
    let left: Vec<&str> = system.places.iter().filter(|p| p.is_for_people()).map(|p| place_name(&p.name)).collect();
    if !left.is_empty() {
        let _ = writeln!(out, "For people and programs elsewhere: {}", left.join(", "));
    }
    format!("{}\n", out.trim_end())
}

fn headline(member: &Member) -> String {
    let agents = if member.inboxes.is_empty() { String::new() } else { format!(", for {}", member.inboxes.join(", ")) };
    let by_hand = if member.by_hand { " (run by hand)" } else { "" };
    format!("{}{by_hand}{agents}", member.name)
}

fn read(system: &System, place: &str) -> String {
    let elsewhere = system.place(place).is_some_and(Place::is_written_elsewhere);
    let mark = if elsewhere { " (written elsewhere)" } else { "" };
    format!("{}{mark}", place_name(place))
}
