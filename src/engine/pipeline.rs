//! A pipeline that is ready to run: planned, its tables checked by their connectors, its UDFs known. Nothing has been
//! opened yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::graph::{self, Graph, NodeId, NodeKind};
use crate::config::Environment;
use crate::connectors::registry::{self, connector};
use crate::connectors::{Connector, InFlightLimits, SinkSpec, SourceSpec};
use crate::diag::{Code, Diagnostic, nearest};
use crate::sql::catalogue::PipelineText;
use crate::sql::plan::{UdfSet, plan};
use crate::sql::table::{ColumnKind, TableDef};
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
}

impl Pipeline {
    /// How much a source may have in flight: enough to keep every async UDF busy while the next batches arrive, and no
    /// more, since it is also what a stop has to wait for and what a crash makes read again.
    #[must_use]
    pub fn limits(&self) -> InFlightLimits {
        let calls = self.graph.nodes.iter().filter_map(|n| match &n.kind {
            NodeKind::Call(call) => self.udfs.iter().find(|(u, _)| u.name == call.udf)?.0.async_options(),
            _ => None,
        });
        let (rows, resume_rows) = match calls.map(|o: AsyncOptions| o.allowed_in_flight as usize).max() {
            Some(most) => (most + 512, most + 256),
            // What a sink's client can send together depends on how much it has.
            None => (32_768, 16_384),
        };
        InFlightLimits { rows, resume_rows, bytes: 64 << 20 }
    }
}

/// Plans a pipeline and has its tables checked.
///
/// # Errors
/// All that is wrong with it and sure without opening anything.
pub async fn compile(
    text: PipelineText,
    udfs: &[UdfSource],
    environment: &Environment,
) -> Result<Pipeline, Vec<Diagnostic>> {
    let slots: Vec<(UdfSource, Arc<LoadedSlot>)> = udfs.iter().map(|u| (u.clone(), LoadedSlot::new())).collect();
    let set = UdfSet {
        functions: slots.iter().map(|(u, slot)| Arc::new(scalar_udf(u, Arc::clone(slot)))).collect(),
        asynchronous: udfs.iter().filter(|u| u.async_options().is_some()).map(|u| u.name.clone()).collect(),
    };
    // What is wrong with tables is sure even when queries are wrong too, so both are told.
    let mut errors = Vec::new();
    let tables = check_tables(&text, environment, &mut errors);
    let plan = match plan(text, &set).await {
        Ok(plan) => plan,
        Err(wrong) => {
            errors.extend(wrong);
            return Err(errors);
        }
    };
    let graph = match graph::build(&plan, &set) {
        Ok(graph) => graph,
        Err(wrong) => {
            errors.extend(wrong);
            return Err(errors);
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let (mut by_table, sinks) = tables;
    let mut sources = BTreeMap::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.kind, NodeKind::Source) {
            let Some(spec) = by_table.remove(&node.label) else {
                let message = format!("`{}` is read in a way that is not understood here", node.label);
                return Err(vec![
                    Diagnostic::new(Code::QUERY, message).at(node.span.clone()).help("read it in a view of its own"),
                ]);
            };
            sources.insert(id, spec);
        }
    }
    let udfs = slots.into_iter().filter(|(u, _)| plan.udfs.contains(&u.name)).collect();
    Ok(Pipeline { name: plan.name, graph, sources, sinks, udfs })
}

type Specs = (BTreeMap<String, Box<dyn SourceSpec>>, BTreeMap<String, Box<dyn SinkSpec>>);

fn check_tables(text: &PipelineText, environment: &Environment, errors: &mut Vec<Diagnostic>) -> Specs {
    let mut sources: BTreeMap<String, Box<dyn SourceSpec>> = BTreeMap::new();
    let mut sinks: BTreeMap<String, Box<dyn SinkSpec>> = BTreeMap::new();
    let written: Vec<&str> = text.inserts.iter().map(|i| i.table.as_str()).collect();
    let read = text.tables_read();
    for table in text.tables() {
        let is_written = written.contains(&table.name.as_str());
        let is_read = read.contains(&table.name);
        if is_read && let Some(connector) = direction(table, "source", errors) {
            check_metadata(table, connector, errors);
            match connector.source(table, environment) {
                Ok(spec) => drop(sources.insert(table.name.clone(), spec)),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if is_written && let Some(column) = table.columns.iter().find(|c| matches!(c.kind, ColumnKind::Generated(_))) {
            let message = format!("column `{}` is generated, and `{}` is written here", column.name, table.name);
            errors.push(
                Diagnostic::new(Code::FORMAT_COLUMNS, message)
                    .at(column.span.clone())
                    .help("leave the expression out, and put it into the SELECT"),
            );
        } else if is_written && let Some(connector) = direction(table, "sink", errors) {
            match connector.sink(table, environment) {
                Ok(spec) => drop(sinks.insert(table.name.clone(), spec)),
                Err(wrong) => errors.extend(wrong),
            }
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
    (sources, sinks)
}

/// Metadata columns of a connector that has none; one that has some checks their names and types itself.
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
        let says = declared.value.to_lowercase();
        if !matches!(says.as_str(), "source" | "sink") {
            errors.push(
                Diagnostic::new(Code::OPTION_VALUE, format!("option `type` cannot be `{}`", declared.value))
                    .at(declared.value_span.clone())
                    .help("it must be `source` or `sink`"),
            );
            return None;
        }
        if says != wanted {
            let (done, twin) = if wanted == "sink" { ("written", "sink") } else { ("read", "source") };
            errors.push(
                Diagnostic::new(
                    Code::TABLE_DIRECTION,
                    format!("table `{}` is a {says}, but it is {done} here", table.name),
                )
                .at(declared.value_span.clone())
                .help(format!(
                    "a topic that is both read and written has two tables; use its twin with type = '{twin}'"
                )),
            );
            return None;
        }
    }
    Some(found)
}
