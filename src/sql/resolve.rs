//! Selects the definitions of the catalogue that a pipeline uses, including those of CREATE AGENT, and puts each after
//! the definitions that it uses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use super::agent::AgentDef;
use super::clashes::{agents_twice, topics_of_tables};
use super::definition::{Definition, InsertDef, Script, script};
use super::statement::to_span;
use super::table::{AGENT_TOPICS, DEAD_LETTERS, TableDef};
use super::{expand, name_of};
use crate::diag::{Code, Diagnostic, Span, nearest};

/// A pipeline's text and everything that it refers to, parsed, each thing after the things that it uses.
#[derive(Debug, Clone)]
pub struct PipelineText {
    /// Its name: the file's without `.sql`, or the agent's.
    pub name: String,
    /// The tables and views that it uses.
    pub definitions: Vec<Definition>,
    /// The rows of constant tables: `INSERT INTO name VALUES …`.
    pub constants: Vec<InsertDef>,
    /// Its INSERTs.
    pub inserts: Vec<InsertDef>,
    /// All agents of the project, whether it uses them or not.
    pub agents: Vec<AgentDef>,
    /// The names of tables and views whose definition is missing or wrong. Statements that use them report no further
    /// error.
    pub broken: BTreeSet<String>,
    /// The errors found so far.
    pub errors: Vec<Diagnostic>,
}

impl PipelineText {
    /// Its tables over connectors.
    pub fn tables(&self) -> impl Iterator<Item = &TableDef> {
        self.definitions.iter().filter_map(|d| match d {
            Definition::Table(table) => Some(table),
            Definition::Memory(_) | Definition::View(_) => None,
        })
    }

    /// The names of all tables and views that its views and INSERTs read.
    #[must_use]
    pub fn tables_read(&self) -> HashSet<String> {
        let views = self.definitions.iter().filter_map(|d| match d {
            Definition::View(view) => Some((&view.query, &view.span)),
            Definition::Memory(_) | Definition::Table(_) => None,
        });
        let queries = views.chain(self.inserts.iter().map(|i| (&i.query, &i.span)));
        queries.flat_map(|(query, at)| relations(query, at)).map(|(name, _)| name).collect()
    }

    /// The statements that its author wrote: views, INSERTs and agents.
    pub fn statements(&self) -> impl Iterator<Item = &Span> {
        let views = self.definitions.iter().filter_map(|d| match d {
            Definition::View(view) => Some(&view.statement),
            Definition::Memory(_) | Definition::Table(_) => None,
        });
        let all = views.chain(self.inserts.iter().map(|i| &i.span)).chain(self.agents.iter().map(|a| &a.statement));
        all.filter(|span| span.written() == *span)
    }
}

/// A pipeline's own text.
pub(super) struct Pipeline {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub at: Span,
    /// Its text.
    pub own: Script,
    /// The agents in `sql/` whose work this pipeline does.
    pub supplied: Vec<AgentDef>,
    /// Errors in its text and in the catalogue.
    pub errors: Vec<Diagnostic>,
}

/// Combines a pipeline with the definitions that it uses from a catalogue.
pub(super) fn resolve(pipeline: Pipeline, catalogue: Script) -> PipelineText {
    let Pipeline { name, at, own, supplied, mut errors } = pipeline;
    let mut broken = catalogue.broken;
    broken.extend(own.broken.iter().cloned());
    if own.unreadable || catalogue.unreadable {
        // The definitions are unknown, so other apparent errors may be none.
        return PipelineText {
            name,
            definitions: Vec::new(),
            constants: Vec::new(),
            inserts: Vec::new(),
            agents: Vec::new(),
            broken,
            errors,
        };
    }
    // A statement that cannot be read may be the INSERT that seems to be missing.
    let is_read_whole = errors.iter().all(|error| error.span.as_ref().is_none_or(|span| span.source != at.source));
    errors.extend(used_too_early(&own));
    let mut agents: Vec<AgentDef> = catalogue.agents.iter().chain(&own.agents).cloned().collect();
    // The order is the same in every pipeline: the text shown to a model must not depend on the pipeline.
    agents.sort_by(|a, b| {
        let key = |agent: &AgentDef| (agent.span.source.name.clone(), agent.span.range.start);
        key(a).cmp(&key(b))
    });
    errors.extend(agents_twice(&agents));
    let mut idents = HashSet::new();
    agents.retain(|agent| idents.insert(agent.ident.clone()));
    let mut known = Known { definitions: BTreeMap::new(), broken, errors };
    for definition in catalogue.definitions {
        known.add(definition, false);
    }
    // INSERTs of the catalogue fill the catalogue's table of that name.
    let catalogue_inserts: Vec<InsertDef> = catalogue
        .inserts
        .into_iter()
        .filter(|insert| !own.definitions.iter().any(|d| d.name() == insert.table))
        .collect();
    let own_names: Vec<(String, Span)> =
        own.definitions.iter().map(|d| (d.name().to_string(), d.span().clone())).collect();
    // A pipeline's own definitions override the catalogue's.
    for definition in own.definitions {
        known.add(definition, true);
    }
    known.errors.extend(topics_of_tables(&agents, &known.definitions));
    let mut inserts = own.inserts;
    inserts.extend(catalogue_inserts);
    let is_kept = |agent: &&AgentDef| agent.is_supplied() && agents.iter().any(|kept| kept.span == agent.span);
    let worked: Vec<&AgentDef> = own.agents.iter().chain(&supplied).filter(is_kept).collect();
    inserts.extend(known.expand(&name, &agents, &worked));
    let declares_only = inserts.iter().all(InsertDef::is_values) && !own.agents.is_empty() && worked.is_empty();
    let (constants, mut inserts): (Vec<_>, Vec<_>) = inserts
        .into_iter()
        .partition(|i| i.is_values() && matches!(known.definitions.get(&i.table), Some(Definition::Memory(_))));
    if inserts.is_empty() && known.broken.is_empty() && is_read_whole {
        let agent = own.agents.first().filter(|_| declares_only);
        let (message, at, help) = match agent {
            Some(agent) => (
                format!("nothing in pipeline `{name}` does the work of agent `{}`", agent.ident),
                agent.span.clone(),
                "add a `prompt` or a `url`, or read its inbox with INSERT INTO … SELECT; if a program does the work, there is \
                 nothing to run",
            ),
            None => (
                format!("pipeline `{name}` does nothing: it has no INSERT INTO"),
                at,
                "add `INSERT INTO table SELECT … FROM table`",
            ),
        };
        known.errors.push(Diagnostic::new(Code::NO_INSERT, message).at(at).help(help));
    }
    let mut order = Order::new(&known);
    for insert in &inserts {
        order.visit(&insert.table, &insert.table_span);
        order.visit_query(&insert.query, &insert.span);
    }
    // A definition that the pipeline does not use is checked too.
    for (name, span) in own_names {
        order.visit(&name, &span);
    }
    // A pipeline that reads an inbox also handles the messages that cannot be processed.
    for agent in &agents {
        let letters = order.known.get(expand::DEAD_LETTERS);
        if let (true, Some(Definition::Table(letters))) = (order.done.contains(&agent.ident), letters) {
            let refusals = script(&expand::refusals(agent, &name, letters), &mut order.errors).inserts;
            for insert in &refusals {
                order.visit(&insert.table, &insert.table_span);
            }
            inserts.extend(refusals);
        }
    }
    let Order { sorted, missing, errors, .. } = order;
    let used: HashSet<&str> = sorted.iter().map(String::as_str).collect();
    let constants = constants.into_iter().filter(|c| used.contains(c.table.as_str())).collect();
    let definitions = sorted.iter().filter_map(|n| known.definitions.get(n).cloned()).collect();
    let broken = known.broken.union(&missing).cloned().collect();
    PipelineText { name, definitions, constants, inserts, agents, broken, errors }
}

/// The unused definitions of a catalogue, with everything that they use themselves.
pub(super) fn unused(catalogue: Script, used: &BTreeSet<&str>, errors: Vec<Diagnostic>) -> PipelineText {
    let mut known = Known { definitions: BTreeMap::new(), broken: catalogue.broken, errors };
    let agents = catalogue.agents;
    let wanted: Vec<(String, Span)> = catalogue
        .definitions
        .iter()
        .filter(|definition| !used.contains(definition.name()))
        .map(|definition| (definition.name().to_string(), definition.span().clone()))
        .collect();
    for definition in catalogue.definitions {
        known.add(definition, false);
    }
    let mut constants: Vec<InsertDef> = catalogue.inserts;
    constants.extend(known.expand("sql", &agents, &[]));
    let mut order = Order::new(&known);
    for (name, span) in wanted {
        order.visit(&name, &span);
    }
    let Order { sorted, missing, errors, .. } = order;
    constants.retain(|insert| sorted.contains(&insert.table));
    let definitions = sorted.iter().filter_map(|n| known.definitions.get(n).cloned()).collect();
    let broken = known.broken.union(&missing).cloned().collect();
    PipelineText { name: "sql".into(), definitions, constants, inserts: Vec::new(), agents, broken, errors }
}

/// The names that queries can use.
struct Known {
    definitions: BTreeMap<String, Definition>,
    broken: BTreeSet<String>,
    errors: Vec<Diagnostic>,
}

impl Known {
    /// Adds a definition. With `replace` it replaces one from another file.
    fn add(&mut self, definition: Definition, replace: bool) {
        match self.definitions.get(definition.name()) {
            Some(first) if !replace || first.span().source == definition.span().source => {
                let error = Diagnostic::new(Code::TABLE_TWICE, format!("`{}` is defined twice", definition.name()));
                let help = format!("the first definition is at {}", first.span().place());
                self.errors.push(error.at(definition.span().clone()).help(help));
            }
            _ => drop(self.definitions.insert(definition.name().to_string(), definition)),
        }
    }

    /// Adds the plain SQL of the agents. Returns the INSERTs of those whose work is done here.
    fn expand(&mut self, pipeline: &str, agents: &[AgentDef], worked: &[&AgentDef]) -> Vec<InsertDef> {
        let Some(table) = expand::agents(agents) else {
            // Without agents the table is missing. If the existing agents are wrong, that is already reported.
            if !self.broken.is_empty() {
                self.broken.insert(expand::AGENTS.into());
            }
            return Vec::new();
        };
        let mut expanded = script(&table, &mut self.errors);
        let all_topics: Vec<String> = agents.iter().map(|agent| agent.topic.clone()).collect();
        for definition in self.definitions.values_mut() {
            if let Definition::Table(table) = definition
                && table.option(AGENT_TOPICS).is_some()
            {
                table.agent_topics.clone_from(&all_topics);
            }
        }
        let needed = |name: &str| match self.definitions.get(name) {
            Some(Definition::Table(table)) => Ok(table.clone()),
            _ => Err(missing(name, &agents[0])),
        };
        match (needed(expand::TOPICS), needed(expand::MESSAGES), needed(expand::DEAD_LETTERS)) {
            (Ok(topics), Ok(_), Ok(letters)) => {
                for agent in agents {
                    expanded.extend(script(&expand::inbox(agent, pipeline, &topics), &mut self.errors));
                }
                for work in worked.iter().filter_map(|agent| expand::work(agent, pipeline, &letters)) {
                    expanded.extend(script(&work, &mut self.errors));
                }
            }
            (topics, messages, letters) => {
                self.broken.extend(agents.iter().map(|agent| agent.ident.clone()));
                let tables = [(expand::TOPICS, topics), (expand::MESSAGES, messages), (expand::DEAD_LETTERS, letters)];
                let missing = tables.into_iter().filter(|(name, _)| !self.broken.contains(*name));
                self.errors.extend(missing.filter_map(|(_, table)| table.err()));
            }
        }
        for definition in expanded.definitions {
            let name = definition.name().to_string();
            if let Some(first) = self.definitions.remove(&name) {
                let error = Diagnostic::new(Code::TABLE_TWICE, format!("`{name}` is defined twice"));
                let help = format!(
                    "CREATE AGENT makes a table of that name: rename this one or the agent ({})",
                    definition.span().place()
                );
                self.errors.push(error.at(first.span().clone()).help(help));
                // A statement that uses the name may mean either.
                self.broken.insert(name);
            } else {
                self.definitions.insert(name, definition);
            }
        }
        expanded.inserts.retain(|insert| !self.broken.contains(&insert.table));
        expanded.inserts
    }
}

/// Reports a missing table that agents need.
fn missing(name: &str, agent: &AgentDef) -> Diagnostic {
    let (what, help) = match name {
        expand::TOPICS => ("whose options apply to the agents' topics", "`baton new` shows one"),
        expand::MESSAGES => ("to which agents write their answers", "`baton new` shows one"),
        _ => ("for messages that an agent cannot take", "`baton new` shows one"),
    };
    Diagnostic::new(Code::TABLE_UNKNOWN, format!("CREATE AGENT needs a table `{name}`, {what}"))
        .at(agent.span.clone())
        .help(format!("add `CREATE TABLE {name} (…) WITH (connector = 'kafka', …)` to sql/; {help}"))
}

/// A file is read from top to bottom, as in Arroyo: a definition stands above its users, and so does the INSERT that
/// fills a memory table.
fn used_too_early(own: &Script) -> Vec<Diagnostic> {
    let start = |span: &Span| span.range.start;
    let defined: HashMap<&str, &Definition> = own.definitions.iter().rev().map(|d| (d.name(), d)).collect();
    let agents: HashMap<&str, &AgentDef> = own.agents.iter().map(|agent| (agent.ident.as_str(), agent)).collect();
    let filling = own.inserts.iter().rev().filter(|i| !i.is_values());
    let filled: HashMap<&str, &InsertDef> = filling.map(|i| (i.table.as_str(), i)).collect();
    let mut errors = Vec::new();
    let mut check = |name: &str, at: &Span, reader: &Span| {
        if let Some(agent) = agents.get(name).filter(|agent| start(&agent.statement) > start(reader)) {
            let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("`{name}` is used before it is defined"));
            let help = format!("move its CREATE AGENT ({}) above this statement", agent.span.place());
            return errors.push(error.at(at.clone()).help(help));
        }
        let Some(definition) = defined.get(name) else { return };
        if start(definition.span()) > start(reader) {
            let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("`{name}` is used before it is defined"));
            let help = format!("move its definition ({}) above this statement", definition.span().place());
            errors.push(error.at(at.clone()).help(help));
        } else if matches!(definition, Definition::Memory(_))
            && let Some(filled) = filled.get(name)
            && start(&filled.span) > start(reader)
        {
            let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("`{name}` is read before anything fills it"));
            let help = format!("move the INSERT INTO it ({}) above this statement", filled.span.place());
            errors.push(error.at(at.clone()).help(help));
        }
    };
    for definition in &own.definitions {
        let Definition::View(view) = definition else { continue };
        for (name, at) in relations(&view.query, &view.span) {
            check(&name, &at, &view.span);
        }
    }
    for insert in &own.inserts {
        for (name, at) in relations(&insert.query, &insert.span) {
            check(&name, &at, &insert.span);
        }
    }
    for insert in &own.inserts {
        let Some(table) = defined.get(insert.table.as_str()) else { continue };
        if start(table.span()) > start(&insert.span) {
            let message = format!("`{}` is used before it is defined", insert.table);
            let help = format!("move its definition ({}) above this statement", table.span().place());
            errors.push(Diagnostic::new(Code::TABLE_UNKNOWN, message).at(insert.table_span.clone()).help(help));
        }
    }
    errors
}

/// How many views may read one another in a chain.
const MAX_VIEWS: usize = 200;

/// Depth-first order: a definition is added after everything that it uses.
struct Order<'a> {
    known: &'a BTreeMap<String, Definition>,
    done: HashSet<String>,
    open: Vec<String>,
    sorted: Vec<String>,
    broken: &'a BTreeSet<String>,
    missing: BTreeSet<String>,
    errors: Vec<Diagnostic>,
}

impl<'a> Order<'a> {
    /// Starts with the known errors.
    fn new(known: &'a Known) -> Self {
        Self {
            known: &known.definitions,
            done: HashSet::new(),
            open: Vec::new(),
            sorted: Vec::new(),
            broken: &known.broken,
            missing: BTreeSet::new(),
            errors: known.errors.clone(),
        }
    }

    fn visit(&mut self, name: &str, at: &Span) {
        if self.open.iter().any(|n| n == name) {
            self.missing.extend(self.open.iter().cloned());
            self.errors.push(
                Diagnostic::new(Code::QUERY, format!("`{name}` refers to itself: {} → {name}", self.open.join(" → ")))
                    .at(at.clone())
                    .help("a view cannot read itself, not even through other views"),
            );
            return;
        }
        if self.open.len() >= MAX_VIEWS {
            let message = format!("more than {MAX_VIEWS} views read one another in a chain");
            if !self.errors.iter().any(|e| e.message == message) {
                let error = Diagnostic::new(Code::QUERY, message).at(at.clone());
                self.errors.push(error.help("merge some of them"));
            }
            return;
        }
        if !self.done.contains(name) {
            match self.known.get(name) {
                None if self.broken.contains(name) => {}
                None => {
                    self.missing.insert(name.to_string());
                    let near = nearest(name, self.known.keys().map(String::as_str));
                    let help = near.map_or_else(
                        || match name {
                            expand::AGENTS => "declare an agent with CREATE AGENT, which makes this table".to_string(),
                            _ => "define it in this file or in sql/".to_string(),
                        },
                        |near| format!("did you mean `{near}`? it is defined at {}", self.known[near].span().place()),
                    );
                    let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("there is no table or view `{name}`"))
                        .at(at.clone())
                        .help(help);
                    if !self.errors.contains(&error) {
                        self.errors.push(error);
                    }
                }
                Some(definition) => {
                    if let Definition::View(view) = definition {
                        self.open.push(name.to_string());
                        self.visit_query(&view.query, &view.span);
                        self.open.pop();
                    }
                    if self.done.insert(name.to_string()) {
                        self.sorted.push(name.to_string());
                    }
                    if let Definition::Table(table) = definition
                        && let Some(entry) = table.option(DEAD_LETTERS)
                    {
                        self.visit(&entry.value, &entry.value_span);
                    }
                }
            }
        }
    }

    fn visit_query(&mut self, query: &Query, at: &Span) {
        for (name, span) in relations(query, at) {
            self.visit(&name, &span);
        }
    }
}

/// The tables and views that a query reads. A name in `WITH` hides a table in the rest of the query, but not in its own
/// definition.
#[must_use]
pub fn relations(query: &Query, at: &Span) -> Vec<(String, Span)> {
    struct Relations<'a> {
        at: &'a Span,
        /// For each open query, the names that hide tables.
        hidden: Vec<HashSet<String>>,
        found: Vec<(String, Span)>,
    }
    impl Visitor for Relations<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut hidden = HashSet::new();
            if let Some(with) = &query.with {
                for cte in &with.cte_tables {
                    let name = name_of(&cte.alias.name);
                    if with.recursive {
                        hidden.insert(name.clone());
                    }
                    self.hidden.push(hidden.clone());
                    // The body is visited here, where only the names before it hide tables.
                    let _ = cte.query.visit(self);
                    self.hidden.pop();
                    hidden.insert(name);
                }
            }
            self.hidden.push(hidden);
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.hidden.pop();
            ControlFlow::Continue(())
        }
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if let Some(ident) = relation.0.last().and_then(|part| part.as_ident()) {
                let name = name_of(ident);
                if !self.hidden.iter().any(|names| names.contains(&name)) {
                    let span = to_span(&self.at.source, ident.span).unwrap_or_else(|| self.at.clone());
                    if !self.found.iter().any(|(known, place)| *known == name && *place == span) {
                        self.found.push((name, span));
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Relations { at, hidden: Vec::new(), found: Vec::new() };
    let _ = query.visit(&mut visitor);
    visitor.found
}
