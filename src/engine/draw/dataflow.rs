//! The engine's own nodes, for scripts that compare dataflows.

use serde_json::{Value, json};

use crate::engine::graph::{Graph, Node, NodeKind};
use crate::engine::pipeline::Pipeline;
use crate::engine::step::Step;

/// The nodes of a pipeline's dataflow, each with what it does and who gets its rows.
#[must_use]
pub fn dataflow(pipeline: &Pipeline) -> Value {
    let Graph { nodes } = &pipeline.graph;
    let nodes = nodes.iter().enumerate().map(|(id, node)| {
        let (kind, does) = does(pipeline, id, node);
        let outputs: Vec<usize> = node.outputs.iter().chain(&node.rejects).copied().collect();
        json!({ "id": id, "kind": kind, "name": node.label, "does": does, "outputs": outputs })
    });
    nodes.collect()
}

fn does(pipeline: &Pipeline, id: usize, node: &Node) -> (&'static str, String) {
    match &node.kind {
        NodeKind::Source => ("source", pipeline.sources.get(&id).map(|source| source.describe()).unwrap_or_default()),
        NodeKind::Sink => ("sink", pipeline.sinks.get(&node.label).map(|sink| sink.describe()).unwrap_or_default()),
        NodeKind::DeadLetters(_) => ("dead_letters", "what cannot be read".into()),
        NodeKind::Call(call) => ("call", call.udf.clone()),
        NodeKind::Stage(steps) => {
            let words = steps.iter().map(|step| match step {
                Step::Filter(_) => "filter",
                Step::Project { .. } => "project",
                Step::Rename(_) => "union",
                Step::Unnest(_) => "unnest",
            });
            ("stage", words.collect::<Vec<_>>().join(", "))
        }
    }
}
