//! The dataflow of a pipeline as a picture: a tree in text, and Mermaid for pages that show it.

use std::collections::HashSet;
use std::fmt::Write;

use super::graph::{Graph, Node, NodeId, NodeKind};
use super::pipeline::Pipeline;
use super::step::Step;

/// A tree from each source down to the sinks; what several branches meet in is drawn once.
#[must_use]
pub fn text(pipeline: &Pipeline) -> String {
    let mut out = format!("{}\n", pipeline.name);
    let mut drawn = HashSet::new();
    let sources: Vec<NodeId> = pipeline.sources.keys().copied().collect();
    for (i, source) in sources.iter().enumerate() {
        branch(pipeline, *source, "", i + 1 == sources.len(), &mut drawn, &mut out);
    }
    out
}

fn branch(pipeline: &Pipeline, node: NodeId, indent: &str, last: bool, drawn: &mut HashSet<NodeId>, out: &mut String) {
    let known = !drawn.insert(node);
    let (turn, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    let again = if known { " (see above)" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{indent}{turn}{}{again}", title(pipeline, node));
    if known {
        return;
    }
    let Node { outputs, rejects, .. } = &pipeline.graph.nodes[node];
    let outputs: Vec<&NodeId> = outputs.iter().chain(rejects).collect();
    for (i, output) in outputs.iter().enumerate() {
        branch(pipeline, **output, &format!("{indent}{below}"), i + 1 == outputs.len(), drawn, out);
    }
}

/// A Mermaid flow chart.
#[must_use]
pub fn mermaid(pipeline: &Pipeline) -> String {
    let mut out = "flowchart LR\n".to_string();
    for (id, node) in pipeline.graph.nodes.iter().enumerate() {
        let title = title(pipeline, id).replace('"', "'");
        let shape = match node.kind {
            NodeKind::Source | NodeKind::Sink => format!("[(\"{title}\")]"),
            NodeKind::Call(_) => format!("{{{{\"{title}\"}}}}"),
            NodeKind::Stage(_) | NodeKind::DeadLetters(_) => format!("[\"{title}\"]"),
        };
        let _ = writeln!(out, "  n{id}{shape}");
    }
    for (id, node) in pipeline.graph.nodes.iter().enumerate() {
        for output in &node.outputs {
            let _ = writeln!(out, "  n{id} --> n{output}");
        }
        if let Some(letters) = node.rejects {
            let _ = writeln!(out, "  n{id} -.-> n{letters}");
        }
    }
    out
}

/// The nodes and edges, for scripts.
#[must_use]
pub fn json(pipeline: &Pipeline) -> serde_json::Value {
    let Graph { nodes } = &pipeline.graph;
    let nodes: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(id, node)| serde_json::json!({ "id": id, "kind": kind(&node.kind), "name": node.label, "title": title(pipeline, id), "outputs": node.outputs.iter().chain(&node.rejects).collect::<Vec<_>>() }))
        .collect();
    serde_json::json!({ "pipeline": pipeline.name, "nodes": nodes })
}

fn kind(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Source => "source",
        NodeKind::DeadLetters(_) => "dead_letters",
        NodeKind::Stage(_) => "stage",
        NodeKind::Call(_) => "call",
        NodeKind::Sink => "sink",
    }
}

fn title(pipeline: &Pipeline, id: NodeId) -> String {
    let node = &pipeline.graph.nodes[id];
    match &node.kind {
        NodeKind::Source => match pipeline.sources.get(&id) {
            Some(spec) => format!("{} ⇐ {}", node.label, spec.describe()),
            None => node.label.clone(),
        },
        NodeKind::Sink => match pipeline.sinks.get(&node.label) {
            Some(spec) => format!("{} ⇒ {}", node.label, spec.describe()),
            None => node.label.clone(),
        },
        NodeKind::DeadLetters(_) => format!("{}: what cannot be read", node.label),
        NodeKind::Call(call) => format!("{}: call {}", node.label, call.udf),
        NodeKind::Stage(steps) => {
            let words: Vec<&str> = steps
                .iter()
                .map(|s| match s {
                    Step::Filter(_) => "filter",
                    Step::Project { .. } => "project",
                    Step::Rename(_) => "union",
                    Step::Unnest(_) => "unnest",
                })
                .collect();
            format!("{}: {}", node.label, words.join(", "))
        }
    }
}
