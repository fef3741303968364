//! All pipelines of a project and what connects them: who writes a topic, and who reads it.

use std::collections::VecDeque;

use crate::sql::outline::{Outline, Part};

/// The pipelines of a project, their topics and the agents.
#[derive(Debug, Clone)]
pub struct System {
    /// The pipelines, from the sources on. Those that are run by hand come last.
    pub members: Vec<Member>,
    /// What they read and write: topics, files, …
    pub places: Vec<Place>,
    /// The agents.
    pub agents: Vec<Agent>,
}

/// A pipeline.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether it ends by itself, so somebody runs it when needed.
    pub by_hand: bool,
    /// What it reads: `topic agent_messages`.
    pub reads: Vec<String>,
    /// What it writes, without the topics of agents when it writes to all of them.
    pub writes: Vec<String>,
    /// How many topics of agents it writes to through one table.
    pub agent_topics: usize,
    /// The async UDFs that it calls.
    pub calls: Vec<String>,
    /// The agents whose work it does.
    pub inboxes: Vec<String>,
}

/// What is read or written.
#[derive(Debug, Clone)]
pub struct Place {
    /// What its connector calls it: `topic agent_messages`.
    pub name: String,
    /// The pipelines that write it.
    pub writers: Vec<usize>,
    /// The pipelines that read it.
    pub readers: Vec<usize>,
    /// Whether a pipeline that is not run by hand writes it.
    has_writer: bool,
    /// Whether it is the topic of an agent.
    is_inbox: bool,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The `sender` of its messages.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// The pipeline that does its work; `None` when a program elsewhere does.
    pub pipeline: Option<String>,
}

impl Place {
    /// Whether its messages come from outside.
    #[must_use]
    pub fn is_written_elsewhere(&self) -> bool {
        !self.has_writer
    }

    /// Whether no pipeline and no agent reads it.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        self.readers.is_empty() && !self.is_inbox
    }
}

impl System {
    /// Puts the outlines of all pipelines of a project together.
    #[must_use]
    pub fn new<'a>(outlines: impl IntoIterator<Item = &'a Outline>) -> Self {
        let mut agents = Vec::new();
        let mut members = Vec::new();
        for outline in outlines {
            agents.clone_from(&outline.agents);
            members.push(member(outline));
        }
        let topics: Vec<String> = agents.iter().map(|agent| format!("topic {}", agent.topic)).collect();
        // Who reads an agent's topic does its work, even with a table of its own.
        for member in members.iter_mut().filter(|member| !member.by_hand) {
            for (agent, topic) in agents.iter().zip(&topics) {
                if member.reads.contains(topic) && !member.inboxes.contains(&agent.name) {
                    member.inboxes.push(agent.name.clone());
                }
            }
        }
        let members = in_order(members, &topics);
        let agents = agents.into_iter().map(|agent| {
            let working = members.iter().find(|m: &&Member| m.inboxes.contains(&agent.name));
            Agent { pipeline: working.map(|m| m.name.clone()), name: agent.name, topic: agent.topic }
        });
        let agents: Vec<Agent> = agents.collect();
        let places = places(&members, &topics);
        Self { members, places, agents }
    }

    /// What is known of a place.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.name == name)
    }

    /// The topics of all agents, as places.
    #[must_use]
    pub fn topics_of_agents(&self) -> Vec<String> {
        self.agents.iter().map(|agent| format!("topic {}", agent.topic)).collect()
    }
}

impl Member {
    /// What it writes, including the topics of agents.
    pub fn all_writes<'a>(&'a self, topics: &'a [String]) -> impl Iterator<Item = &'a str> {
        let topics = topics.iter().filter(|topic| self.agent_topics > 0 && !self.writes.contains(topic));
        self.writes.iter().chain(topics).map(String::as_str)
    }
}

/// All that the pipelines read and write, and the topics of the agents.
fn places(members: &[Member], topics: &[String]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut at = |name: &str| {
        places.iter().position(|place| place.name == name).unwrap_or_else(|| {
            let (name, is_inbox) = (name.to_string(), topics.iter().any(|topic| topic == name));
            places.push(Place { name, writers: Vec::new(), readers: Vec::new(), has_writer: false, is_inbox });
            places.len() - 1
        })
    };
    let mut found = Vec::new();
    for (i, member) in members.iter().enumerate() {
        found.extend(member.reads.iter().map(|name| (at(name), i, false)));
        found.extend(member.all_writes(topics).map(|name| (at(name), i, true)));
    }
    for topic in topics {
        at(topic);
    }
    for (place, member, writes) in found {
        let place = &mut places[place];
        let known = if writes { &mut place.writers } else { &mut place.readers };
        known.push(member);
        place.has_writer |= writes && !members[member].by_hand;
    }
    places
}

fn member(outline: &Outline) -> Member {
    let mut member = Member {
        name: outline.name.clone(),
        by_hand: outline.is_bounded,
        reads: Vec::new(),
        writes: Vec::new(),
        agent_topics: 0,
        calls: outline.calls().into_iter().map(str::to_string).collect(),
        inboxes: Vec::new(),
    };
    let add = |places: &mut Vec<String>, place: &str| {
        if !places.iter().any(|known| known == place) {
            places.push(place.to_string());
        }
    };
    for node in &outline.nodes {
        match &node.part {
            Part::Source { place, .. } => add(&mut member.reads, place),
            Part::Inbox { agent, place } => {
                add(&mut member.reads, place);
                member.inboxes.push(agent.clone());
            }
            Part::Sink { topics, .. } if !topics.is_empty() => member.agent_topics = topics.len(),
            Part::Sink { place, .. } => add(&mut member.writes, place),
            Part::View { .. } | Part::Call { .. } => {}
        }
    }
    member
}

/// The pipelines in order: first those that read what nobody here writes, then those that read what these write, and so
/// on.
fn in_order(members: Vec<Member>, topics: &[String]) -> Vec<Member> {
    let standing: Vec<usize> = (0..members.len()).filter(|i| !members[*i].by_hand).collect();
    let writers = |place: &str| standing.iter().filter(|i| members[**i].all_writes(topics).any(|w| w == place)).count();
    let mut order: Vec<usize> = Vec::new();
    let mut open: VecDeque<usize> = VecDeque::new();
    let reads_from_outside = |i: &&usize| members[**i].reads.iter().any(|place| writers(place) == 0);
    open.extend(standing.iter().filter(reads_from_outside));
    loop {
        while let Some(next) = open.pop_front() {
            if order.contains(&next) {
                continue;
            }
            order.push(next);
            for place in members[next].all_writes(topics) {
                open.extend(standing.iter().filter(|i| members[**i].reads.iter().any(|read| read == place)));
            }
        }
        // All that is left is a circle: it begins where most comes together.
        let left = standing.iter().filter(|i| !order.contains(i));
        let busiest = |i: &&usize| members[**i].reads.iter().map(|place| writers(place)).max();
        match left.rev().max_by_key(busiest) {
            Some(next) => open.push_back(*next),
            None => break,
        }
    }
    order.extend((0..members.len()).filter(|i| members[*i].by_hand));
    let mut members: Vec<Option<Member>> = members.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| members[i].take()).collect()
}
