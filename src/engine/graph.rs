//! Turns logical plans into one dataflow: sources, stages, async UDFs and sinks.
//!
//! **Invariant**: a view, a memory table or a source is one node, however many nodes read it. So an async UDF in a view
//! is called once for each row.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as DfResult, TableReference};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::unnest::ListUnnest;

use super::step::{Step, Unnest};
use crate::connectors::dead_letters::DeadLetters;
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::check::async_call;
use crate::sql::errors::to_diagnostics;
use crate::sql::plan::PipelinePlan;
use crate::sql::udfs::UdfSet;

/// A node by its place in [`Graph::nodes`].
pub type NodeId = usize;

/// A dataflow without its connectors. Rows go from a node to all its outputs.
#[derive(Debug, Default)]
pub struct Graph {
    /// The nodes; sources come before their readers.
    pub nodes: Vec<Node>,
}

/// A node of the dataflow.
#[derive(Debug)]
pub struct Node {
    /// What it does.
    pub kind: NodeKind,
    /// The nodes that get its rows.
    pub outputs: Vec<NodeId>,
    /// The node that gets the messages that cannot be decoded: the [`NodeKind::DeadLetters`] of a source.
    pub rejects: Option<NodeId>,
    /// The table, view or statement that it comes from, for messages and pictures.
    pub label: String,
    /// The place of that.
    pub span: Span,
}

/// What a node does.
#[derive(Debug)]
pub enum NodeKind {
    /// Reads a table.
    Source,
    /// Makes rows of the messages that a source cannot decode.
    DeadLetters(DeadLetters),
    /// Computes.
    Stage(Vec<Step>),
    /// Calls an async UDF for each row and adds its result as the last column.
    Call(Call),
    /// Writes a table.
    Sink,
}

impl Graph {
    fn add(&mut self, kind: NodeKind, label: &str, span: &Span) -> NodeId {
        let (label, span) = (label.to_string(), span.clone());
        self.nodes.push(Node { kind, outputs: Vec::new(), rejects: None, label, span });
        self.nodes.len() - 1
    }

    /// Adds a node to a source for the messages that it cannot decode.
    pub fn add_dead_letters(&mut self, source: NodeId, letters: DeadLetters) {
        let (table, span, label) = (letters.table.clone(), letters.span.clone(), self.nodes[source].label.clone());
        let node = self.add(NodeKind::DeadLetters(letters), &label, &span);
        let sink = self.add(NodeKind::Sink, &table, &span);
        self.nodes[node].outputs.push(sink);
        self.nodes[source].rejects = Some(node);
    }
}

/// The call of an async UDF.
#[derive(Debug)]
pub struct Call {
    /// The UDF's name.
    pub udf: String,
    /// Its arguments, over the rows that come in.
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    /// The output: the input's columns, and the result.
    pub schema: SchemaRef,
}

/// The column that carries an async UDF's result to the stage behind it.
const RESULT: &str = "__async_result";

/// Builds the dataflow of a pipeline.
///
/// # Errors
/// What the planner accepts and the engine cannot run.
pub fn build(plan: &PipelinePlan, udfs: &UdfSet) -> Result<Graph, Vec<Diagnostic>> {
    let mut builder = Builder { plan, udfs, graph: Graph::default(), relations: HashMap::new(), open: Vec::new() };
    let mut errors = Vec::new();
    for sink in &plan.sinks {
        match builder.statement(&sink.plan, &sink.span, &sink.table) {
            Ok(rows) => {
                let node = builder.add(NodeKind::Sink, &sink.table, &sink.span);
                builder.connect(rows, node);
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(builder.graph) } else { Err(errors) }
}

struct Builder<'a> {
    plan: &'a PipelinePlan,
    udfs: &'a UdfSet,
    graph: Graph,
    /// Nodes that others may read too, so nothing is added to their stages.
    relations: HashMap<String, NodeId>,
    open: Vec<String>,
}

/// Where a piece of plan belongs.
struct Origin<'a> {
    label: &'a str,
    span: &'a Span,
}

impl Builder<'_> {
    fn add(&mut self, kind: NodeKind, label: &str, span: &Span) -> NodeId {
        self.graph.add(kind, label, span)
    }

    fn connect(&mut self, from: NodeId, to: NodeId) {
        self.graph.nodes[from].outputs.push(to);
    }

    fn statement(&mut self, plan: &LogicalPlan, span: &Span, label: &str) -> Result<NodeId, Vec<Diagnostic>> {
        let origin = Origin { label, span };
        self.node(plan, &origin)
    }

    /// The node of a table, view or memory table.
    fn relation(&mut self, name: &str, at: &Span) -> Result<NodeId, Vec<Diagnostic>> {
        if let Some(node) = self.relations.get(name) {
            return Ok(*node);
        }
        if self.open.iter().any(|n| n == name) {
            let error = Diagnostic::new(
                Code::QUERY,
                format!("`{name}` is filled from itself: {} → {name}", self.open.join(" → ")),
            );
            return Err(vec![error.at(at.clone()).help("let it read something that does not come from it")]);
        }
        self.open.push(name.to_string());
        let plan = self.plan;
        let node = if let Some(relation) = plan.relations.get(name) {
            self.statement(&relation.plan, &relation.span, name)?
        } else if let Some(table) = plan.tables.get(name) {
            let source = self.add(NodeKind::Source, name, &table.span);
            match plan.generated.get(name) {
                // The plan's leaf is the table itself, with the columns that the connector gives.
                Some(generated) => {
                    self.relations.insert(name.to_string(), source);
                    let node = self.statement(generated, &table.span, name)?;
                    self.relations.remove(name);
                    node
                }
                None => source,
            }
        } else {
            return Err(vec![
                Diagnostic::new(Code::TABLE_UNKNOWN, format!("there is no table `{name}`")).at(at.clone()),
            ]);
        };
        self.open.pop();
        self.relations.insert(name.to_string(), node);
        Ok(node)
    }

    fn node(&mut self, plan: &LogicalPlan, origin: &Origin<'_>) -> Result<NodeId, Vec<Diagnostic>> {
        let failed = |e| to_diagnostics(&e, origin.span);
        match plan {
            LogicalPlan::TableScan(scan) => self.relation(scan.table_name.table(), origin.span),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, origin),
            LogicalPlan::Filter(filter) => {
                let input = self.node(&filter.input, origin)?;
                // One after the other, so that a row that fails the first condition never reaches the second:
                // `x <> 0 AND 10 / x > 2`.
                let mut kept = input;
                for condition in split_conjunction(&filter.predicate) {
                    let predicate = physical(condition, filter.input.schema()).map_err(failed)?;
                    kept = self.append(kept, Step::Filter(predicate), origin);
                }
                Ok(kept)
            }
            LogicalPlan::Projection(projection) => {
                let mut input = self.node(&projection.input, origin)?;
                let mut input_schema = projection.input.schema().as_ref().clone();
                let mut exprs = projection.expr.clone();
                if let Some((name, args)) = take_call(&mut exprs, self.udfs).map_err(failed)? {
                    let result = self.result_type(&name);
                    let args = physical_all(&args, &input_schema).map_err(failed)?;
                    input_schema = with_result(&input_schema, result).map_err(failed)?;
                    let schema = Arc::new(input_schema.as_arrow().clone());
                    let call = self.add(NodeKind::Call(Call { udf: name, args, schema }), origin.label, origin.span);
                    self.connect(input, call);
                    input = call;
                }
                let exprs = physical_all(&exprs, &input_schema).map_err(failed)?;
                let schema = Arc::new(loosened(projection.schema.as_arrow()));
                Ok(self.append(input, Step::Project { exprs, schema }, origin))
            }
            LogicalPlan::Union(union) => {
                let schema = Arc::new(loosened(union.schema.as_arrow()));
                let meeting = self.add(NodeKind::Stage(vec![Step::Rename(schema)]), origin.label, origin.span);
                for input in &union.inputs {
                    let branch = self.node(input, origin)?;
                    self.connect(branch, meeting);
                }
                Ok(meeting)
            }
            LogicalPlan::Unnest(unnest) => {
                let input = self.node(&unnest.input, origin)?;
                let lists = unnest
                    .list_type_columns
                    .iter()
                    .map(|(index, list)| ListUnnest { index_in_input_schema: *index, depth: list.depth });
                let step = Step::Unnest(Unnest {
                    input: Arc::new(loosened(unnest.input.schema().as_arrow())),
                    lists: lists.collect(),
                    structs: unnest.struct_type_columns.clone(),
                    schema: Arc::new(loosened(unnest.schema.as_arrow())),
                    options: unnest.options.clone(),
                });
                Ok(self.append(input, step, origin))
            }
            _ => Err(vec![
                Diagnostic::new(Code::UNSUPPORTED, "the embedded engine cannot run this kind of query")
                    .at(origin.span.clone()),
            ]),
        }
    }

    /// Adds a step to the stage `input` when nothing else can read that, else adds a stage behind it.
    fn append(&mut self, input: NodeId, step: Step, origin: &Origin<'_>) -> NodeId {
        let shared = self.relations.values().any(|n| *n == input);
        if let NodeKind::Stage(steps) = &mut self.graph.nodes[input].kind
            && !shared
        {
            steps.push(step);
            return input;
        }
        let stage = self.add(NodeKind::Stage(vec![step]), origin.label, origin.span);
        self.connect(input, stage);
        stage
    }

    fn result_type(&self, udf: &str) -> DataType {
        let function = self.udfs.functions.iter().find(|f| f.name() == udf);
        function.and_then(|f| f.return_type(&[]).ok()).unwrap_or(DataType::Utf8)
    }
}

/// Takes the only async call out of a SELECT list, and puts its result's column in its place.
fn take_call(exprs: &mut [Expr], udfs: &UdfSet) -> DfResult<Option<(String, Vec<Expr>)>> {
    let mut found = None;
    for expr in exprs.iter_mut() {
        let name = expr.schema_name().to_string();
        let replaced = expr.clone().transform_up(|e| match &e {
            Expr::ScalarFunction(ScalarFunction { func, args }) if async_call(&e, udfs).is_some() => {
                found = Some((func.name().to_string(), args.clone()));
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(RESULT))))
            }
            _ => Ok(Transformed::no(e)),
        })?;
        if replaced.transformed {
            *expr = if matches!(replaced.data, Expr::Alias(_)) { replaced.data } else { replaced.data.alias(name) };
        }
    }
    Ok(found)
}

fn with_result(input: &DFSchema, result: DataType) -> DfResult<DFSchema> {
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
        input.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
    fields.push((None, Arc::new(Field::new(RESULT, result, true))));
    DFSchema::new_with_metadata(fields, input.metadata().clone())
}

/// The same schema with every column nullable: the nullability that SQL derives is for the planner, the data decides.
fn loosened(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    Schema::new(fields)
}

fn physical(expr: &Expr, schema: &DFSchema) -> DfResult<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

fn physical_all(exprs: &[Expr], schema: &DFSchema) -> DfResult<Vec<Arc<dyn PhysicalExpr>>> {
    exprs.iter().map(|e| physical(e, schema)).collect()
}
