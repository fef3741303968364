//! Turns definitions into logical plans: one for each view and INSERT, analysed and simplified. Their leaves are
//! tables, views and memory tables by name. `engine` cuts them into a dataflow.

mod generated;
mod insert;
mod recover;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};

use crate::diag::{Code, Diagnostic, Span};
use crate::sql::constants::{self, Constants};
use crate::sql::definition::{Definition, InsertDef};
use crate::sql::guard::guarded;
use crate::sql::resolve::{PipelineText, relations};
use crate::sql::table::{ColumnDef, ColumnKind, TableDef};
use crate::sql::udfs::UdfSet;
use crate::sql::{check, errors, functions, volatile};

/// A pipeline, planned.
#[derive(Debug)]
pub struct PipelinePlan {
    /// Its name.
    pub name: String,
    /// The tables over connectors that it reads or writes, by name.
    pub tables: BTreeMap<String, TableDef>,
    /// Tables that declare no columns. They have the columns of the inserted query.
    pub inferred: BTreeSet<String>,
    /// Plans of the generated columns of tables that are read: a projection over the table's other columns.
    pub generated: BTreeMap<String, LogicalPlan>,
    /// Views and memory tables, by name. Each is computed once, for all its readers.
    pub relations: BTreeMap<String, Relation>,
    /// Constant tables, such as the agents. Subqueries over them are literals in the plans.
    pub constants: BTreeSet<String>,
    /// The INSERTs into tables over connectors.
    pub sinks: Vec<SinkPlan>,
    /// The UDFs that are called, by name.
    pub udfs: BTreeSet<String>,
    /// Wrong queries without their wrong parts, each with its statement. Their calls can still be checked.
    pub recovered: Vec<(LogicalPlan, Span)>,
    /// Evaluates expressions of these plans.
    pub state: SessionState,
}

/// A view or a memory table.
#[derive(Debug)]
pub struct Relation {
    /// The plan of its rows.
    pub plan: LogicalPlan,
    /// Its place.
    pub span: Span,
    /// The whole statement that defines its rows.
    pub statement: Span,
}

/// An INSERT into a table over a connector.
#[derive(Debug)]
pub struct SinkPlan {
    /// The table.
    pub table: String,
    /// The plan of its rows, with exactly the table's columns.
    pub plan: LogicalPlan,
    /// The statement.
    pub span: Span,
}

/// Plans a pipeline; nothing is read or written.
///
/// # Errors
/// All errors in its queries.
pub async fn plan(text: PipelineText, udfs: &UdfSet) -> Result<PipelinePlan, Vec<Diagnostic>> {
    let (plan, errors) = attempt(text, udfs).await;
    if errors.is_empty() { Ok(plan) } else { Err(errors) }
}

/// Plans as much of a pipeline as possible, and returns all errors in its queries.
pub async fn attempt(text: PipelineText, udfs: &UdfSet) -> (PipelinePlan, Vec<Diagnostic>) {
    let context = session(udfs);
    let mut planner = Planner {
        context,
        udfs: udfs.clone(),
        constants: Constants::default(),
        broken: text.broken.iter().cloned().collect(),
        only_written: Vec::new(),
        errors: text.errors.clone(),
        result_udfs: BTreeSet::new(),
        recovered: Vec::new(),
    };
    planner.constants(&text).await;
    let mut tables = BTreeMap::new();
    let mut generated = BTreeMap::new();
    let mut relations = BTreeMap::new();
    let mut memory_columns = BTreeMap::new();
    for definition in text.definitions {
        match definition {
            Definition::Table(table) => {
                if let Some(plan) = planner.generated_columns(&table).await {
                    generated.insert(table.name.clone(), plan);
                }
                planner.register(&table.name, &believed(&table));
                let only_written = table.columns.iter().filter(|column| table.is_only_written(column));
                planner.only_written.extend(only_written.map(|column| OnlyWritten::of(column, &table)));
                tables.insert(table.name.clone(), table);
            }
            Definition::Memory(memory) if planner.constants.is_constant(&memory.name) => {}
            Definition::Memory(memory) => {
                let as_table = TableDef {
                    name: memory.name,
                    span: memory.span,
                    statement: memory.statement,
                    columns: memory.columns,
                    options: Vec::new(),
                    agent_topics: Vec::new(),
                };
                planner.register(&as_table.name, &believed(&as_table));
                memory_columns.insert(as_table.name.clone(), as_table);
            }
            Definition::View(view) => {
                let plan = planner
                    .query(&view.query, &view.span)
                    .await
                    .and_then(|plan| planner.rename(plan, &view.columns, &view.span));
                match plan {
                    Some(plan) => {
                        planner.register(&view.name, plan.schema().as_arrow());
                        relations.insert(view.name, Relation { plan, span: view.span, statement: view.statement });
                    }
                    None => {
                        planner.broken.insert(view.name);
                    }
                }
            }
        }
    }
    let mut sinks = Vec::new();
    let mut inferred = BTreeSet::new();
    for insert in &text.inserts {
        if let Some(table) = tables.get_mut(&insert.table)
            && (table.columns.is_empty() || inferred.contains(&insert.table))
        {
            let Some(columns) = planner.columns_of(insert).await else { continue };
            if inferred.insert(insert.table.clone()) {
                table.columns = columns;
            } else if !insert::same_columns(&table.columns, &columns) {
                planner.other_columns(insert, table);
                continue;
            }
        }
        if planner.broken.contains(&insert.table) {
            // Its own errors are reported too.
            let plan = planner.query(&insert.query, &insert.span).await;
            planner.recovered.extend(plan.map(|plan| (plan, insert.span.clone())));
            continue;
        }
        let memory = memory_columns.get(&insert.table);
        let Some(table) = memory.or_else(|| tables.get(&insert.table)) else {
            planner.not_a_table(insert);
            continue;
        };
        let Some(plan) = planner.insert(insert, table).await else { continue };
        if memory.is_some() {
            let relation = Relation { plan, span: table.span.clone(), statement: insert.span.clone() };
            if relations.insert(insert.table.clone(), relation).is_some() {
                planner.errors.push(
                    Diagnostic::new(
                        Code::QUERY,
                        format!("memory table `{}` is filled by more than one INSERT", insert.table),
                    )
                    .at(insert.table_span.clone())
                    .help("put the queries together with UNION ALL"),
                );
            }
        } else {
            sinks.push(SinkPlan { table: insert.table.clone(), plan, span: insert.span.clone() });
        }
    }
    for (name, table) in &memory_columns {
        if !relations.contains_key(name) && planner.errors.is_empty() {
            planner.errors.push(
                Diagnostic::new(Code::QUERY, format!("table `{name}` has no connector, and no INSERT fills it"))
                    .at(table.span.clone())
                    .help("add WITH (connector = '…', …), or an INSERT INTO it"),
            );
        }
    }
    let state = planner.context.state();
    let plan = PipelinePlan {
        name: text.name,
        tables,
        inferred,
        generated,
        relations,
        constants: planner.constants.names().clone(),
        sinks,
        udfs: planner.result_udfs,
        recovered: planner.recovered,
        state,
    };
    (plan, planner.errors)
}

fn session(udfs: &UdfSet) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    // The time zone of TIMESTAMP WITH TIME ZONE. It is set after the functions are registered, because `to_timestamp`
    // has no time zone.
    context.state_ref().write().config_mut().options_mut().execution.time_zone = Some("+00:00".into());
    functions::register(&context);
    constants::register(&context);
    for udf in &udfs.functions {
        context.register_udf(udf.as_ref().clone());
    }
    context
}

/// The maximum number of wrong columns found in one query.
const MOST_COLUMNS: usize = 50;

struct Planner {
    context: SessionContext,
    udfs: UdfSet,
    constants: Constants,
    /// Views that could not be planned. Queries that read them report no further error.
    broken: HashSet<String>,
    only_written: Vec<OnlyWritten>,
    errors: Vec<Diagnostic>,
    result_udfs: BTreeSet<String>,
    recovered: Vec<(LogicalPlan, Span)>,
}

/// A column that is not part of a message: its key or its timestamp.
struct OnlyWritten {
    table: String,
    column: String,
    /// The declaration of a column that can be read.
    metadata: &'static str,
}

impl OnlyWritten {
    fn of(column: &ColumnDef, table: &TableDef) -> Self {
        let is_key = table.option("sink.key_field").is_some_and(|option| option.value == column.name);
        let metadata = if is_key { "BYTEA METADATA FROM 'key'" } else { "BIGINT METADATA FROM 'timestamp'" };
        Self { table: table.name.clone(), column: column.name.clone(), metadata }
    }
}

impl Planner {
    fn register(&self, name: &str, schema: &datafusion::arrow::datatypes::Schema) {
        // Each name is registered once, because the catalogue rejects duplicates.
        let table = EmptyTable::new(Arc::new(schema.clone()));
        let _previous = self.context.register_table(datafusion::common::TableReference::bare(name), Arc::new(table));
    }

    async fn constants(&mut self, text: &PipelineText) {
        for definition in &text.definitions {
            let Definition::Memory(memory) = definition else { continue };
            let rows: Vec<&InsertDef> = text.constants.iter().filter(|c| c.table == memory.name).collect();
            if rows.is_empty() {
                continue;
            }
            if let Err(errors) = self.constants.define(&self.context, memory, &rows).await {
                self.errors.extend(errors);
                self.broken.insert(memory.name.clone());
            }
        }
    }

    async fn query(&mut self, query: &Query, at: &Span) -> Option<LogicalPlan> {
        let found = check::names(query, at, &self.context.state(), &self.udfs);
        self.result_udfs.extend(found.udfs);
        let before = self.errors.len();
        self.errors.extend(found.errors);
        let reads_broken = relations(query, at).iter().any(|(name, _)| self.broken.contains(name));
        if reads_broken {
            return None;
        }
        let mut query = query.clone();
        recover::without_functions(&mut query, &found.unknown);
        // The planner stops at the first column that does not exist. Once that column is removed, it finds the next.
        for attempt in 0..MOST_COLUMNS {
            let errors = match guarded(self.plan_query(&query, at)).await {
                Some(Ok(plan)) if self.errors.len() == before => return Some(plan),
                Some(Ok(plan)) => {
                    self.recovered.push((plan, at.clone()));
                    return None;
                }
                Some(Err(errors)) => errors,
                None => vec![errors::planner_died(at)],
            };
            // The same applies to types that do not exist.
            let columns: Vec<Span> = errors
                .iter()
                .filter(|error| [Code::COLUMN_UNKNOWN, Code::COLUMN_TYPE].contains(&error.code))
                .filter(|error| !self.errors.contains(error))
                .filter_map(|error| error.span.clone())
                .collect();
            // Once a column has been removed, another error may only be a consequence.
            let is_certain = attempt == 0 && self.errors.len() == before;
            self.errors.extend(
                errors.into_iter().filter(|error| is_certain || columns.contains(error.span.as_ref().unwrap_or(at))),
            );
            if columns.is_empty() || !recover::without_columns(&mut query, at, &columns) {
                break;
            }
        }
        None
    }

    async fn plan_query(&self, query: &Query, at: &Span) -> Result<LogicalPlan, Vec<Diagnostic>> {
        let failed = |error| errors::to_diagnostics(&error, at);
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query.clone()))));
        let plan = self.context.state().statement_to_plan(statement).await;
        let plan = plan.map_err(|error| self.explained(failed(error), query, at))?;
        let plan = self.constants.fold(&self.context, plan, at).await?;
        check::operators(&plan, at, &self.constants)?;
        check::async_calls(&plan, at, &self.udfs)?;
        let plan = volatile::settle(plan).map_err(failed)?;
        let plan = self.analyze(plan).map_err(failed)?;
        check::async_calls(&plan, at, &self.udfs)?;
        Ok(plan)
    }

    /// Explains an unknown column that its table has: it can be written but not read.
    fn explained(&self, mut errors: Vec<Diagnostic>, query: &Query, at: &Span) -> Vec<Diagnostic> {
        let unknown = errors.iter_mut().filter(|error| error.code == Code::COLUMN_UNKNOWN);
        for error in unknown.filter(|_| !self.only_written.is_empty()) {
            let read = relations(query, at);
            let column = error.span.as_ref().map_or("", |span| span.text()).to_string();
            let is_it =
                |known: &&OnlyWritten| known.column == column && read.iter().any(|(name, _)| *name == known.table);
            if let Some(OnlyWritten { table, metadata, .. }) = self.only_written.iter().find(is_it) {
                error.message = format!("column `{column}` of `{table}` is written and not read");
                error.help = Some(format!("add a column that is read: `{column}_read {metadata}`"));
            }
        }
        errors
    }

    fn analyze(&self, plan: LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
        let state = self.context.state();
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        // Arroyo runs these rules too, and rows show the difference. A WHERE is evaluated before the SELECT of a
        // subquery, so `WHERE n <> 0` keeps `1 / n` from failing. Volatile expressions, UDFs included, stay in place.
        // An expression that occurs twice in a row is computed once.
        let rules = Optimizer::with_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(PushDownFilter::new()),
            Arc::new(CommonSubexprEliminate::new()),
        ]);
        rules.optimize(plan, &state, |_, _| {})
    }

    /// Gives a view's columns the names in `CREATE VIEW name (a, b)`.
    fn rename(&mut self, plan: LogicalPlan, names: &[String], at: &Span) -> Option<LogicalPlan> {
        if names.is_empty() {
            return Some(plan);
        }
        let columns = plan.schema().columns();
        if columns.len() != names.len() {
            self.errors.push(
                Diagnostic::new(
                    Code::INSERT_COLUMNS,
                    format!("the view names {} columns, its SELECT has {}", names.len(), columns.len()),
                )
                .at(at.clone())
                .help("name each column of the SELECT, or leave the list out"),
            );
            return None;
        }
        let exprs = columns.into_iter().zip(names).map(|(c, name)| Expr::Column(c).alias(name)).collect();
        self.project(plan, exprs, at)
    }

    fn project(&mut self, plan: LogicalPlan, exprs: Vec<Expr>, at: &Span) -> Option<LogicalPlan> {
        match Projection::try_new(exprs, Arc::new(plan)) {
            Ok(projection) => Some(LogicalPlan::Projection(projection)),
            Err(error) => {
                self.errors.extend(errors::to_diagnostics(&error, at));
                None
            }
        }
    }
}

/// The columns that a query reads. A column is NOT NULL only if a connector enforces it, by rejecting other messages.
/// Nothing checks the rows of a memory table or a generated column.
fn believed(table: &TableDef) -> datafusion::arrow::datatypes::Schema {
    let connected = !table.options.is_empty();
    let fields = table.read_columns().map(|column| {
        let checked = connected && !matches!(column.kind, ColumnKind::Generated(_));
        column.field().with_nullable(column.nullable || !checked)
    });
    datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>())
}

/// The columns that a connector provides: all except the generated ones.
#[must_use]
pub fn physical_schema(table: &TableDef) -> datafusion::arrow::datatypes::Schema {
    let given = table.read_columns().filter(|c| !matches!(c.kind, ColumnKind::Generated(_)));
    datafusion::arrow::datatypes::Schema::new(given.map(ColumnDef::field).collect::<Vec<_>>())
}
