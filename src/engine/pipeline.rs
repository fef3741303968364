//! A pipeline that is ready to run: planned, its tables checked by their connectors, its UDFs known. Nothing has been
//! opened yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::graph::{self, Graph, NodeId, NodeKind};
use super::{http, llm};
use crate::config::Environment;
use crate::connectors::dead_letters::DeadLetters;
use crate::connectors::registry::{self, connector};
use crate::connectors::{Connector, InFlightLimits, SinkSpec, SourceSpec};
use crate::diag::{Code, Diagnostic, nearest};
use crate::formats::Direction;
use crate::sql::definition::Definition;
use crate::sql::outline::{Outline, outline};
use crate::sql::plan::{attempt, plan};
use crate::sql::render::{Rendered, Use, render};
use crate::sql::resolve::PipelineText;
use crate::sql::table::{AGENT_TOPICS, ColumnKind, DEAD_LETTERS, TableDef};
use crate::sql::udfs::UdfSet;
use crate::udf::{AsyncOptions, LoadedSlot, UdfSource, scalar_udf};

/// A pipeline that is ready to run.
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its dataflow.
    pub graph: Graph,
    /// The connectors of its sources, by node.
    pub sources: BTreeMap<NodeId, Box<dyn SourceSpec>>,
    /// The connectors of its sinks, by table: statements that write the same table share it.
    pub sinks: BTreeMap<String, Box<dyn SinkSpec>>,
    /// The UDFs that it calls, each with the slot that must be filled before it runs.
    pub udfs: Vec<(UdfSource, Arc<LoadedSlot>)>,
    /// Its outline, as its author thinks of it.
    pub outline: Outline,
}

impl Pipeline {
    /// Whether it ends by itself, because all its sources do.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.outline.is_bounded
    }

    /// How much a source may have in flight: enough to keep every async UDF busy while the next batches arrive, and no
    /// more, because a stop drains it and a crash redelivers it.
    #[must_use]
    pub fn limits(&self) -> InFlightLimits {
        let calls = self.graph.nodes.iter().filter_map(|n| match &n.kind {
            NodeKind::Call(call) => self.udfs.iter().find(|(u, _)| u.name == call.udf)?.0.async_options(),
            _ => None,
        });
        let (rows, resume_rows) = match calls.map(|o: AsyncOptions| o.allowed_in_flight as usize).max() {
            Some(most) => (most + 512, most + 256),
            // A sink's client sends more together when it has more.
            None => (32_768, 16_384),
        };
        InFlightLimits { rows, resume_rows, bytes: 64 << 20 }
    }
}

/// Plans a pipeline and checks its tables.
///
/// # Errors
/// All errors that can be found without running.
pub async fn compile(
    text: PipelineText,
    udfs: &[UdfSource],
    environment: &Environment,
) -> Result<Pipeline, Vec<Diagnostic>> {
    let slots: Vec<(UdfSource, Arc<LoadedSlot>)> = udfs.iter().map(|u| (u.clone(), LoadedSlot::new())).collect();
    let set = udf_set(&slots);
    // Errors in tables are certain even when queries have errors too, so both are reported.
    let mut errors = Vec::new();
    let tables = check_tables(&text, environment, &mut errors);
    let (plan, wrong) = attempt(text.clone(), &set).await;
    let graph = if wrong.is_empty() { graph::build(&plan, &set) } else { Err(wrong) };
    errors.extend(graph.as_ref().err().into_iter().flatten().cloned());
    let Tables { sources: mut by_table, mut sinks, mut dead_letters } = tables;
    for table in plan.inferred.iter().filter_map(|name| plan.tables.get(name)) {
        check_sink(table, environment, &mut sinks, &mut errors);
    }
    errors.extend(llm::check(&plan, udfs, environment));
    errors.extend(http::check(&plan, &text.agents, udfs, environment));
    let Ok(mut graph) = graph else { return Err(errors) };
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut sources = BTreeMap::new();
    let mut letters = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.kind, NodeKind::Source) {
            let Some(spec) = by_table.remove(&node.label) else {
                let message = format!("`{}` is read in a way that is not understood here", node.label);
                return Err(vec![
                    Diagnostic::new(Code::QUERY, message).at(node.span.clone()).help("read it in a view of its own"),
                ]);
            };
            sources.insert(id, spec);
            letters.extend(dead_letters.remove(&node.label).map(|made| (id, made)));
        }
    }
    for (source, made) in letters {
        graph.add_dead_letters(source, made);
    }
    let udfs = slots.into_iter().filter(|(u, _)| plan.udfs.contains(&u.name)).collect();
    let places = |table: &str, is_read: bool| {
        let mut read = sources.iter().filter(|(node, _)| graph.nodes[**node].label == table);
        if is_read {
            read.next().map(|(_, spec)| spec.describe())
        } else {
            sinks.get(table).map(|spec| spec.describe())
        }
    };
    let mut outline = outline(&text, &|udf| set.asynchronous.contains(udf), &places);
    outline.is_bounded = sources.values().all(|source| source.is_bounded());
    Ok(Pipeline { name: plan.name, graph, sources, sinks, udfs, outline })
}

/// Checks definitions that no pipeline uses: views, and tables for what is wrong whether they are read or written.
pub async fn check_unused(text: PipelineText, udfs: &[UdfSource], environment: &Environment) -> Vec<Diagnostic> {
    let slots: Vec<(UdfSource, Arc<LoadedSlot>)> = udfs.iter().map(|u| (u.clone(), LoadedSlot::new())).collect();
    let mut errors = Vec::new();
    for table in text.tables() {
        let is_read = table.columns.iter().any(|c| matches!(c.kind, ColumnKind::Metadata(_)))
            && table.option(AGENT_TOPICS).is_none();
        let way = table.option("type").map_or(if is_read { "source" } else { "sink" }, |entry| &entry.value);
        let Some(connector) = direction(table, way, &mut errors) else { continue };
        let wrong = match way {
            "source" => connector.source(table, environment).err(),
            _ => connector.sink(table, environment).err(),
        };
        errors.extend(wrong.into_iter().flatten());
    }
    errors.extend(plan(text, &udf_set(&slots)).await.err().into_iter().flatten());
    errors
}

/// Checks a pipeline as [`compile`] does, and renders it in Arroyo's dialect.
///
/// # Errors
/// All errors in it, and what has no form that Arroyo runs the same way.
pub async fn rendered(
    text: PipelineText,
    udfs: &[UdfSource],
    environment: &Environment,
) -> Result<Rendered, Vec<Diagnostic>> {
    // `${…}` stays as written, so no variable need be set.
    compile(text.clone(), udfs, &environment.clone().keeping_unset()).await?;
    let slots: Vec<(UdfSource, Arc<LoadedSlot>)> = udfs.iter().map(|u| (u.clone(), LoadedSlot::new())).collect();
    let set = udf_set(&slots);
    let planned = plan(text.clone(), &set).await?;
    let spelled_out = |table: &TableDef, used: Use| {
        let direction = if used == Use::Sink { Direction::Sink } else { Direction::Source };
        let connector = table.option("connector").and_then(|entry| connector(&entry.value));
        connector.map_or(&[][..], |connector| connector.for_arroyo(direction))
    };
    render(&text, &planned, &set, &spelled_out, &llm::remarks(&planned, udfs)).await
}

fn udf_set(slots: &[(UdfSource, Arc<LoadedSlot>)]) -> UdfSet {
    let asynchronous = slots.iter().filter(|(u, _)| u.async_options().is_some());
    UdfSet {
        functions: slots.iter().map(|(u, slot)| Arc::new(scalar_udf(u, Arc::clone(slot)))).collect(),
        asynchronous: asynchronous.map(|(u, _)| u.name.clone()).collect(),
    }
}

/// Tables that their connectors have read, by name.
#[derive(Default)]
struct Tables {
    sources: BTreeMap<String, Box<dyn SourceSpec>>,
    sinks: BTreeMap<String, Box<dyn SinkSpec>>,
    /// By the source.
    dead_letters: BTreeMap<String, DeadLetters>,
}

fn check_tables(text: &PipelineText, environment: &Environment, errors: &mut Vec<Diagnostic>) -> Tables {
    let Tables { mut sources, mut sinks, mut dead_letters } = Tables::default();
    let mut written: Vec<&str> = text.inserts.iter().map(|i| i.table.as_str()).collect();
    let read = text.tables_read();
    for source in text.tables().filter(|t| read.contains(&t.name)) {
        let Some(entry) = source.option(DEAD_LETTERS) else { continue };
        match dead_letter_table(text, &entry.value) {
            Ok(target) => {
                written.push(&target.name);
                match DeadLetters::new(target, &entry.value_span, &text.name) {
                    Ok(letters) => drop(dead_letters.insert(source.name.clone(), letters)),
                    // Several sources may name the same table.
                    Err(wrong) => errors.extend(wrong.into_iter().filter(|e| !errors.contains(e)).collect::<Vec<_>>()),
                }
            }
            // A missing or wrong table has been reported already.
            Err(_) if text.broken.contains(&entry.value) => {}
            Err(wrong) => errors.push(wrong.at(entry.value_span.clone())),
        }
    }
    for table in text.tables() {
        let is_written = written.contains(&table.name.as_str());
        let is_read = read.contains(&table.name);
        if is_read && table.columns.is_empty() {
            let error = Diagnostic::new(Code::FORMAT_COLUMNS, format!("`{}` is read, but has no columns", table.name));
            errors.push(error.at(table.span.clone()).help("declare them: `CREATE TABLE name (id BIGINT, …) WITH (…)`"));
        } else if is_read && let Some(connector) = direction(table, "source", errors) {
            check_metadata(table, connector, errors);
            match connector.source(table, environment) {
                Ok(spec) => drop(sources.insert(table.name.clone(), spec)),
                Err(wrong) => errors.extend(wrong),
            }
        }
        let generated = table.columns.iter().find(|c| matches!(c.kind, ColumnKind::Generated(_)));
        if is_written && let Some(column) = generated.filter(|_| !table.is_both_ways()) {
            let message = format!("column `{}` is generated, and `{}` is written here", column.name, table.name);
            errors.push(
                Diagnostic::new(Code::FORMAT_COLUMNS, message)
                    .at(column.span.clone())
                    .help("leave the expression out, and put it into the SELECT"),
            );
        } else if is_written && !table.columns.is_empty() {
            check_sink(table, environment, &mut sinks, errors);
        }
    }
    for table in text.tables().filter(|t| t.option("connector").is_some_and(|c| c.value == "single_file")) {
        let Some(sink) = sinks.get(&table.name) else { continue };
        if sources.values().any(|source| source.describe() == sink.describe()) {
            let error =
                Diagnostic::new(Code::TABLE_DIRECTION, format!("`{}` writes the file that is read here", table.name));
            errors.push(error.at(table.span.clone()).help("writing empties it first: give it another path"));
        }
    }
    Tables { sources, sinks, dead_letters }
}

/// The table that an option names. The catalogue has checked that something has that name.
fn dead_letter_table<'a>(text: &'a PipelineText, name: &str) -> Result<&'a TableDef, Diagnostic> {
    let what = match text.definitions.iter().find(|d| d.name() == name) {
        Some(Definition::Table(table)) => return Ok(table),
        Some(Definition::View(_)) => "a view",
        _ => "a table in memory",
    };
    Err(Diagnostic::new(Code::DEAD_LETTERS, format!("`{name}` cannot take dead letters: it is {what}"))
        .help("name a table over a connector, such as `dead_letters`"))
}

fn check_sink(
    table: &TableDef,
    environment: &Environment,
    sinks: &mut BTreeMap<String, Box<dyn SinkSpec>>,
    errors: &mut Vec<Diagnostic>,
) {
    let Some(connector) = direction(table, "sink", errors) else { return };
    match connector.sink(table, environment) {
        Ok(spec) => drop(sinks.insert(table.name.clone(), spec)),
        Err(wrong) => errors.extend(wrong),
    }
}

/// Reports metadata columns of a connector that has none. Other connectors check names and types themselves.
fn check_metadata(table: &TableDef, connector: &dyn Connector, errors: &mut Vec<Diagnostic>) {
    for column in &table.columns {
        if let ColumnKind::Metadata(name) = &column.kind
            && connector.metadata().is_empty()
        {
            let message = format!("column `{}`: `{}` has no metadata, so no `{name}`", column.name, connector.name());
            errors.push(Diagnostic::new(Code::METADATA, message).at(column.span.clone()).help("remove the column"));
        }
    }
}

/// The connector of a table, when it exists and the table's `type` allows what is done with it.
fn direction(table: &TableDef, wanted: &str, errors: &mut Vec<Diagnostic>) -> Option<&'static dyn Connector> {
    let Some(entry) = table.option("connector") else {
        let message = format!("table `{}` needs the option `connector`", table.name);
        let error = Diagnostic::new(Code::OPTION_MISSING, message)
            .at(table.span.clone())
            .help("add `connector = 'kafka'` to its WITH clause");
        if !errors.contains(&error) {
            errors.push(error);
        }
        return None;
    };
    let Some(found) = connector(&entry.value) else {
        let names: Vec<&str> = registry::all().iter().map(|c| c.name()).collect();
        let help = match nearest(&entry.value, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the embedded engine has {}; others need Arroyo", names.join(", ")),
        };
        let error = Diagnostic::new(Code::CONNECTOR_UNKNOWN, format!("there is no connector `{}`", entry.value))
            .at(entry.value_span.clone())
            .help(help);
        if !errors.contains(&error) {
            errors.push(error);
        }
        return None;
    };
    if let Some(declared) = table.option("type") {
        let says = declared.value.as_str();
        if !matches!(says, "source" | "sink") {
            errors.push(
                Diagnostic::new(Code::OPTION_VALUE, format!("option `type` cannot be `{}`", declared.value))
                    .at(declared.value_span.clone())
                    .help("it must be `source` or `sink`"),
            );
            return None;
        }
        if says != wanted {
            let done = if wanted == "sink" { "written" } else { "read" };
            errors.push(
                Diagnostic::new(
                    Code::TABLE_DIRECTION,
                    format!("table `{}` is a {says}, but it is {done} here", table.name),
                )
                .at(declared.value_span.clone())
                .help("leave `type` out: a table without it can be read and written"),
            );
            return None;
        }
    }
    Some(found)
}
