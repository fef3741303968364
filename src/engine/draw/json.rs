//! Nodes and edges for scripts, with nothing cut.

use serde_json::{Map, Value, json};

use super::system::System;
use super::{place_name, verb};
use crate::sql::outline::{Outline, Part, in_words};

/// A pipeline.
pub fn pipeline(outline: &Outline) -> Value {
    let nodes = outline.nodes.iter().enumerate().map(|(id, node)| {
        let mut object = match &node.part {
            Part::Source { table, place } => json!({ "id": id, "kind": "source", "table": table, "place": place }),
            Part::Inbox { agent, place } => json!({ "id": id, "kind": "inbox", "agent": agent, "place": place }),
            Part::View { name } => json!({ "id": id, "kind": "view", "view": name }),
            Part::Call { view, udf } => {
                json!({ "id": id, "kind": "call", "view": view, "function": udf, "asks_a_model": verb(udf) == "asks" })
            }
            Part::Sink { table, place, .. } => json!({ "id": id, "kind": "sink", "table": table, "place": place }),
        };
        if let (Part::Sink { topics, .. }, Some(object)) = (&node.part, object.as_object_mut())
            && !topics.is_empty()
        {
            object.insert("topics_of_agents".into(), json!(topics));
        }
        object
    });
    let edges = outline.nodes.iter().enumerate().flat_map(|(from, node)| {
        node.outputs.iter().map(move |edge| {
            let mut object = Map::from_iter([("from".to_string(), json!(from)), ("to".to_string(), json!(edge.to))]);
            let (wheres, whens) = in_words(&edge.conditions);
            object.extend(wheres.map(|text| ("where".to_string(), Value::from(text))));
            object.extend(whens.map(|text| ("when".to_string(), Value::from(text))));
            Value::Object(object)
        })
    });
    json!({
        "pipeline": outline.name,
        "run_by_hand": outline.is_bounded,
        "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
    })
}

/// All pipelines, what they read and write, and the agents.
pub fn system(system: &System) -> Value {
    let topics = system.topics_of_agents();
    let name = |member: &usize| system.members[*member].name.clone();
    let pipelines = system.members.iter().map(|member| {
        json!({
            "name": member.name,
            "run_by_hand": member.by_hand,
            "reads": member.reads,
            "calls": member.calls,
            "writes": member.all_writes(&topics).collect::<Vec<_>>(),
            "agents": member.inboxes,
        })
    });
    let places = system.places.iter().map(|place| {
        json!({
            "place": place.name,
            "name": place_name(&place.name),
            "written_by": place.writers.iter().map(name).collect::<Vec<_>>(),
            "read_by": place.readers.iter().map(name).collect::<Vec<_>>(),
            "is_written_elsewhere": place.is_written_elsewhere(),
            "is_for_people_and_programs_elsewhere": place.is_for_people(),
        })
    });
    let agents = system
        .agents
        .iter()
        .map(|agent| json!({ "name": agent.name, "topic": agent.topic, "pipeline": agent.pipeline }));
    json!({
        "pipelines": pipelines.collect::<Vec<_>>(),
        "places": places.collect::<Vec<_>>(),
        "agents": agents.collect::<Vec<_>>(),
    })
}
