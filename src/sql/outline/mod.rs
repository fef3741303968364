//! A pipeline as its author thinks of it: sources, async calls, conditions and sinks.
//!
//! It is made from the text of the queries alone. `engine::graph` decides how rows are computed, `engine::draw` how an
//! outline looks.
//!
//! The SQL of CREATE AGENT is shown in an agent's terms: its inbox, the call that does its work, and the messages that
//! it cannot process.

mod branches;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use datafusion::sql::sqlparser::ast::Query;

use super::agent::AgentDef;
use super::definition::{Definition, InsertDef};
use super::expand::Names;
use super::resolve::PipelineText;
use super::table::{DEAD_LETTERS, TableDef};
use crate::diag::Span;
use branches::{Branch, Step, branches};

/// A pipeline as its author thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The pipeline's name.
    pub name: String,
    /// Its parts, each after the parts that it reads.
    pub nodes: Vec<Node>,
    /// Whether it ends by itself, because all its sources do.
    pub is_bounded: bool,
    /// All agents of the project.
    pub agents: Vec<AgentName>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentName {
    /// The `sender` of its messages.
    pub name: String,
    /// Its topic.
    pub topic: String,
}

/// A part of an outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its kind.
    pub part: Part,
    /// The nodes that get its rows, in the order of the text.
    pub outputs: Vec<Edge>,
}

/// The kind of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A table that is read.
    Source {
        /// The table.
        table: String,
        /// The place that its connector reads: `topic agent_messages`.
        place: String,
    },
    /// The inbox of an agent.
    Inbox {
        /// The agent's name.
        agent: String,
        /// The place that the connector of its topic reads.
        place: String,
    },
    /// A view that several statements read, each under its condition.
    View {
        /// The view.
        name: String,
    },
    /// The call of an async UDF for each row.
    Call {
        /// The view that calls it; none if an INSERT or the SQL of CREATE AGENT calls it.
        view: Option<String>,
        /// The UDF.
        udf: String,
    },
    /// A table that is written.
    Sink {
        /// The table.
        table: String,
        /// The place that its connector writes: `topic agent_messages`.
        place: String,
        /// The topics of the agents, if it writes to them.
        topics: Vec<String>,
    },
}

/// A path of rows from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The node that gets them.
    pub to: usize,
    /// The conditions that all must hold.
    pub conditions: Vec<Condition>,
}

/// A condition on rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A WHERE.
    Where {
        /// As it is written, on one line.
        text: String,
        /// Whether it has an OR outside of brackets.
        is_alternative: bool,
    },
    /// A condition of Baton's own: `the call fails`.
    When(&'static str),
}

/// Conditions in words, without the first word: the text after `where`, and the text after `when`.
#[must_use]
pub fn in_words(conditions: &[Condition]) -> (Option<String>, Option<String>) {
    let mut alone = conditions.iter().filter(|c| matches!(c, Condition::Where { .. }));
    let brackets = alone.next().is_some() && alone.next().is_some();
    let (mut wheres, mut whens) = (String::new(), String::new());
    for condition in conditions {
        let (words, text) = match condition {
            Condition::Where { text, is_alternative } if brackets && *is_alternative => {
                (&mut wheres, format!("({text})"))
            }
            Condition::Where { text, .. } => (&mut wheres, text.clone()),
            Condition::When(text) => (&mut whens, (*text).to_string()),
        };
        let and = match (words.is_empty(), matches!(condition, Condition::When(_))) {
            (true, _) => "",
            (false, true) => " and ",
            (false, false) => " AND ",
        };
        // Writing to a String cannot fail.
        let _ = write!(words, "{and}{text}");
    }
    (Some(wheres).filter(|w| !w.is_empty()), Some(whens).filter(|w| !w.is_empty()))
}

impl Outline {
    /// The nodes without an input: the sources, in the order in which the text reads them.
    #[must_use]
    pub fn roots(&self) -> Vec<usize> {
        let fed: HashSet<usize> = self.nodes.iter().flat_map(|node| &node.outputs).map(|edge| edge.to).collect();
        (0..self.nodes.len()).filter(|node| !fed.contains(node)).collect()
    }

    /// The UDFs that the pipeline calls, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<&str> {
        let mut calls = Vec::new();
        for node in &self.nodes {
            if let Part::Call { udf, .. } = &node.part
                && !calls.contains(&udf.as_str())
            {
                calls.push(udf.as_str());
            }
        }
        calls
    }
}

/// Outlines a planned pipeline. `place` describes what a table's connector reads (`true`) or writes (`false`).
#[must_use]
pub fn outline(
    text: &PipelineText,
    is_async: &dyn Fn(&str) -> bool,
    place: &dyn Fn(&str, bool) -> Option<String>,
) -> Outline {
    let mut builder = Builder {
        text,
        place,
        statements: statements(text, is_async),
        uses: HashMap::new(),
        known: BTreeMap::new(),
        open: Vec::new(),
        nodes: Vec::new(),
    };
    builder.count_uses();
    for (i, insert) in text.inserts.iter().enumerate() {
        if builder.table(&insert.table).is_some() {
            builder.insert(i, insert);
        }
    }
    builder.dead_letters();
    let agents = text.agents.iter().map(|agent| AgentName { name: agent.name.clone(), topic: agent.topic.clone() });
    let (nodes, agents) = (builder.nodes, agents.collect());
    Outline { name: text.name.clone(), nodes, is_bounded: false, agents }
}

/// Views and memory tables by name, and INSERTs by their place in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Statement {
    Relation(String),
    Insert(usize),
}

fn statements(text: &PipelineText, is_async: &dyn Fn(&str) -> bool) -> BTreeMap<Statement, Vec<Branch>> {
    let mut found = BTreeMap::new();
    let of = |query: &Query, at: &Span| branches(query, at, is_async);
    for definition in &text.definitions {
        if let Definition::View(view) = definition {
            found.insert(Statement::Relation(view.name.clone()), of(&view.query, &view.statement));
        }
    }
    for (i, insert) in text.inserts.iter().enumerate() {
        let is_memory = text.definitions.iter().any(|d| matches!(d, Definition::Memory(m) if m.name == insert.table));
        let statement = if is_memory { Statement::Relation(insert.table.clone()) } else { Statement::Insert(i) };
        found.insert(statement, of(&insert.query, &insert.span));
    }
    found
}

/// Rows that leave a node, and the conditions on them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    from: usize,
    conditions: Vec<Condition>,
}

struct Builder<'a> {
    text: &'a PipelineText,
    place: &'a dyn Fn(&str, bool) -> Option<String>,
    statements: BTreeMap<Statement, Vec<Branch>>,
    /// How many branches read a view or a memory table.
    uses: HashMap<String, usize>,
    /// The rows of the tables, views and memory tables visited so far.
    known: BTreeMap<String, Vec<Flow>>,
    /// The names being visited. A view that is defined by itself has no rows.
    open: Vec<String>,
    nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn table(&self, name: &str) -> Option<&'a TableDef> {
        self.text.tables().find(|table| table.name == name)
    }

    /// Counts the readers of each name, starting at the INSERTs. A view that nobody reads does not count.
    fn count_uses(&mut self) {
        let mut open: Vec<Statement> =
            self.statements.keys().filter(|statement| matches!(statement, Statement::Insert(_))).cloned().collect();
        let mut seen: HashSet<Statement> = open.iter().cloned().collect();
        while let Some(statement) = open.pop() {
            for branch in self.statements.get(&statement).into_iter().flatten() {
                *self.uses.entry(branch.reads.clone()).or_default() += 1;
                let read = Statement::Relation(branch.reads.clone());
                if seen.insert(read.clone()) {
                    open.push(read);
                }
            }
        }
    }

    /// The rows of a table, view or memory table.
    fn rows(&mut self, name: &str) -> Vec<Flow> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.open.iter().any(|open| open == name) {
            return Vec::new();
        }
        self.open.push(name.to_string());
        let flows = if let Some(agent) = self.inbox_of(name) {
            let topic = Names::of(&agent.ident).topic;
            let place = (self.place)(&topic, true).unwrap_or_else(|| format!("topic {}", agent.topic));
            let part = Part::Inbox { agent: agent.name.clone(), place };
            let known = self.nodes.iter().position(|node| node.part == part);
            let from = known.unwrap_or_else(|| self.add(part));
            vec![Flow { from, conditions: Vec::new() }]
        } else if self.table(name).is_some() {
            let place = (self.place)(name, true).unwrap_or_else(|| name.to_string());
            let from = self.add(Part::Source { table: name.to_string(), place });
            vec![Flow { from, conditions: Vec::new() }]
        } else {
            let view = Some(name).filter(|name| self.maker(name).is_none());
            let flows = self.statement(&Statement::Relation(name.to_string()), view);
            let is_shared = self.uses.get(name).is_some_and(|uses| *uses > 1);
            if is_shared && flows.iter().any(|flow| !flow.conditions.is_empty()) {
                let node = self.add(Part::View { name: name.to_string() });
                self.connect(flows, node);
                vec![Flow { from: node, conditions: Vec::new() }]
            } else {
                flows
            }
        };
        self.open.pop();
        self.known.insert(name.to_string(), flows.clone());
        flows
    }

    /// The rows of a statement. Its async calls become nodes.
    fn statement(&mut self, statement: &Statement, view: Option<&str>) -> Vec<Flow> {
        let branches = self.statements.get(statement).cloned().unwrap_or_default();
        // Branches that end with the same call share its node, because a view is computed once.
        let last = branches.first().and_then(|branch| branch.steps.last());
        let meeting = match last {
            Some(Step::Call(udf)) if branches.iter().all(|branch| branch.steps.last() == last) => Some(udf.clone()),
            _ => None,
        };
        let mut found: Vec<Flow> = Vec::new();
        for branch in &branches {
            let mut flows = self.rows(&branch.reads);
            for step in &branch.steps[..branch.steps.len() - usize::from(meeting.is_some())] {
                match step {
                    Step::Where(condition) => {
                        for flow in &mut flows {
                            flow.conditions.push(condition.clone());
                        }
                    }
                    Step::Call(udf) => flows = self.call(view, udf, flows),
                }
            }
            for flow in flows {
                if !found.contains(&flow) {
                    found.push(flow);
                }
            }
        }
        match meeting {
            Some(udf) => self.call(view, &udf, found),
            None => found,
        }
    }

    fn call(&mut self, view: Option<&str>, udf: &str, flows: Vec<Flow>) -> Vec<Flow> {
        let node = self.add(Part::Call { view: view.map(str::to_string), udf: udf.to_string() });
        self.connect(flows, node);
        vec![Flow { from: node, conditions: Vec::new() }]
    }

    fn insert(&mut self, index: usize, insert: &InsertDef) {
        let mut flows = self.statement(&Statement::Insert(index), None);
        if let Some(when) = self.when(insert) {
            for flow in &mut flows {
                flow.conditions = vec![Condition::When(when)];
            }
        }
        let node = self.sink(&insert.table);
        self.connect(flows, node);
    }

    /// The condition of an INSERT that CREATE AGENT makes.
    fn when(&self, insert: &InsertDef) -> Option<&'static str> {
        let agent = self.agent_at(&insert.span)?;
        let names = Names::of(&agent.ident);
        let reads = super::resolve::relations(&insert.query, &insert.span);
        let reads_only = |name: &str| reads.iter().all(|(read, _)| *read == name);
        Some(if reads_only(&names.opened) {
            "the message cannot be taken"
        } else if insert.table == super::expand::MESSAGES {
            "the call succeeds"
        } else {
            "the call fails"
        })
    }

    /// Adds the tables for messages that sources cannot read.
    fn dead_letters(&mut self) {
        for node in 0..self.nodes.len() {
            let Part::Source { table, .. } = &self.nodes[node].part else { continue };
            let Some(target) = self.table(table).and_then(|table| table.option(DEAD_LETTERS)) else { continue };
            let sink = self.sink(&target.value);
            let flow = Flow { from: node, conditions: vec![Condition::When("a message cannot be read")] };
            self.connect(vec![flow], sink);
        }
    }

    fn add(&mut self, part: Part) -> usize {
        self.nodes.push(Node { part, outputs: Vec::new() });
        self.nodes.len() - 1
    }

    fn sink(&mut self, table: &str) -> usize {
        let place = (self.place)(table, false).unwrap_or_else(|| table.to_string());
        let topics = self.table(table).map(|table| table.agent_topics.clone()).unwrap_or_default();
        self.add(Part::Sink { table: table.to_string(), place, topics })
    }

    fn connect(&mut self, flows: Vec<Flow>, to: usize) {
        for Flow { from, conditions } in flows {
            let edge = Edge { to, conditions };
            if !self.nodes[from].outputs.contains(&edge) {
                self.nodes[from].outputs.push(edge);
            }
        }
    }

    /// The agent whose inbox CREATE AGENT makes as this table or view.
    fn inbox_of(&self, name: &str) -> Option<&'a AgentDef> {
        self.maker(name).filter(|agent| {
            let names = Names::of(&agent.ident);
            [&agent.ident, &names.topic, &names.opened].contains(&&name.to_string())
        })
    }

    /// The agent for which a table or view is made.
    fn maker(&self, name: &str) -> Option<&'a AgentDef> {
        let statement = self.text.definitions.iter().find(|d| d.name() == name).map(|definition| match definition {
            Definition::Table(table) => &table.statement,
            Definition::View(view) => &view.statement,
            Definition::Memory(memory) => &memory.statement,
        });
        statement.and_then(|statement| self.agent_at(statement))
    }

    /// The agent for which a statement is made.
    fn agent_at(&self, statement: &Span) -> Option<&'a AgentDef> {
        let written = statement.written();
        if written == statement {
            return None;
        }
        self.text.agents.iter().find(|agent| agent.statement == *written)
    }
}
