//! Constant tables (the agents): tables that are filled by VALUES and evaluated when a pipeline is planned.
//!
//! A stream cannot be joined with them (Arroyo has no constant tables either). DataFusion evaluates a subquery that
//! reads only constant tables, and a literal replaces it in the plan. `render` writes the same literal.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, Signature, Subquery, Volatility,
};
use datafusion::prelude::{SessionContext, lit};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;

use super::definition::{InsertDef, MemoryDef};
use super::errors;
use crate::diag::{Code, Diagnostic, Span};

/// The constant tables of a pipeline.
#[derive(Debug, Default)]
pub struct Constants {
    tables: BTreeSet<String>,
}

impl Constants {
    /// Whether a table is constant.
    #[must_use]
    pub fn is_constant(&self, name: &str) -> bool {
        self.tables.contains(name)
    }

    /// The names of all of them.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.tables
    }

    /// Whether a plan only reads a constant table, under whatever alias.
    #[must_use]
    pub fn is_scan(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => self.is_constant(scan.table_name.table()),
            LogicalPlan::SubqueryAlias(alias) => self.is_scan(&alias.input),
            _ => false,
        }
    }

    /// Evaluates the rows of a table.
    ///
    /// # Errors
    /// Rows that do not fit the table's columns.
    pub async fn define(
        &mut self,
        context: &SessionContext,
        table: &MemoryDef,
        rows: &[&InsertDef],
    ) -> Result<(), Vec<Diagnostic>> {
        let fields: Vec<Field> = table.columns.iter().map(super::table::ColumnDef::field).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut batches = Vec::new();
        let mut errors = Vec::new();
        for insert in rows {
            match values(context, &schema, insert).await {
                Ok(found) => batches.extend(found),
                Err(error) => errors.push(error),
            }
        }
        self.tables.insert(table.name.clone());
        if !errors.is_empty() {
            return Err(errors);
        }
        let failed = |e: DataFusionError| errors::to_diagnostics(&e, &table.span);
        let memory = MemTable::try_new(schema, vec![batches]).map_err(failed)?;
        let name = datafusion::common::TableReference::bare(table.name.as_str());
        context.register_table(name, Arc::new(memory)).map_err(failed)?;
        Ok(())
    }

    /// Replaces subqueries that read only constant tables by literals.
    ///
    /// # Errors
    /// Subqueries that cannot be evaluated.
    pub async fn fold(
        &self,
        context: &SessionContext,
        plan: LogicalPlan,
        at: &Span,
    ) -> Result<LogicalPlan, Vec<Diagnostic>> {
        let failed = |e: &DataFusionError| errors::to_diagnostics(e, at);
        let mut wanted: Vec<Arc<LogicalPlan>> = Vec::new();
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|e| {
                e.apply(|e| {
                    if let Expr::ScalarSubquery(s) = e
                        && self.reads_only_constants(s)?
                    {
                        wanted.push(Arc::clone(&s.subquery));
                    } else if let Expr::InSubquery(s) = e
                        && self.reads_only_constants(&s.subquery)?
                    {
                        wanted.push(Arc::clone(&s.subquery.subquery));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
        .map_err(|e| failed(&e))?;
        let mut known: HashMap<Arc<LogicalPlan>, Vec<ScalarValue>> = HashMap::new();
        for subquery in wanted {
            if is_volatile(&subquery).map_err(|e| failed(&e))? {
                let error =
                    Diagnostic::new(Code::CONSTANT, "a subquery over constants cannot call now(), random() or a UDF");
                return Err(vec![
                    error
                        .at(at.clone())
                        .help("it is evaluated once, when the pipeline is planned: call the function outside"),
                ]);
            }
            if let Entry::Vacant(unknown) = known.entry(subquery) {
                let values = evaluate(context, unknown.key()).await.map_err(|e| failed(&e))?;
                unknown.insert(values);
            }
        }
        let mut several = None;
        let folded = plan.transform_down(|node| {
            node.map_expressions(|e| {
                e.transform_down(|e| match e {
                    Expr::ScalarSubquery(s) if known.contains_key(&s.subquery) => {
                        let values = &known[&s.subquery];
                        match values.as_slice() {
                            [one] => Ok(Transformed::yes(lit(one.clone()))),
                            [] => Ok(Transformed::yes(lit(ScalarValue::try_from(
                                s.subquery.schema().field(0).data_type(),
                            )?))),
                            _ => {
                                several = Some(values.len());
                                Ok(Transformed::no(Expr::ScalarSubquery(s)))
                            }
                        }
                    }
                    Expr::InSubquery(s) if known.contains_key(&s.subquery.subquery) => {
                        let list = known[&s.subquery.subquery].iter().cloned().map(lit).collect();
                        Ok(Transformed::yes(s.expr.in_list(list, s.negated)))
                    }
                    e => Ok(Transformed::no(e)),
                })
            })
        });
        if let Some(rows) = several {
            let error =
                Diagnostic::new(Code::CONSTANT, format!("a subquery that is used as one value gives {rows} rows"));
            return Err(vec![
                error.at(at.clone()).help("add a WHERE that leaves one row, or put them together with json_agg(…)"),
            ]);
        }
        let folded = folded.and_then(|t| t.data.recompute_schema()).map_err(|e| failed(&e))?;
        Ok(folded)
    }

    fn reads_only_constants(&self, subquery: &Subquery) -> DfResult<bool> {
        let mut only = subquery.outer_ref_columns.is_empty();
        // A subquery that reads no table at all is rejected, as on Arroyo.
        let mut any = false;
        subquery.subquery.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                any = true;
                only &= self.is_constant(scan.table_name.table());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(only && any)
    }
}

fn is_volatile(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            found |= e.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The values of a query's first column.
///
/// # Errors
/// The query cannot be evaluated.
pub async fn evaluate(context: &SessionContext, plan: &LogicalPlan) -> DfResult<Vec<ScalarValue>> {
    let batches = context.execute_logical_plan(plan.clone()).await?.collect().await?;
    let mut values = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            values.push(ScalarValue::try_from_array(batch.column(0), row)?);
        }
    }
    Ok(values)
}

/// The rows of one `INSERT … VALUES`, cast to the table's columns by position.
async fn values(
    context: &SessionContext,
    schema: &Arc<Schema>,
    insert: &InsertDef,
) -> Result<Vec<RecordBatch>, Diagnostic> {
    let wrong = |message: String| {
        Diagnostic::new(Code::CONSTANT, message).at(insert.table_span.clone()).help(format!(
            "`{}` has the columns {}",
            insert.table,
            schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ")
        ))
    };
    let statement = DfStatement::Statement(Box::new(Statement::Query(insert.query.clone())));
    let rows = async {
        let plan = context.state().statement_to_plan(statement).await?;
        context.execute_logical_plan(plan).await?.collect().await
    };
    let batches = rows.await.map_err(|e| {
        let mut found = errors::to_diagnostics(&e, &insert.span);
        found.pop().unwrap_or_else(|| wrong("the rows cannot be read".into()))
    })?;
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let mut result = Vec::new();
    let listed: Vec<&str> = match insert.columns.as_slice() {
        [] => schema.fields().iter().map(|f| f.name().as_str()).collect(),
        list => list.iter().map(String::as_str).collect(),
    };
    for (i, name) in listed.iter().enumerate() {
        if schema.field_with_name(name).is_err() {
            return Err(wrong(format!("`{}` has no column `{name}`", insert.table)));
        }
        if listed[..i].contains(name) {
            return Err(wrong(format!("column `{name}` is listed twice")));
        }
    }
    for batch in batches {
        if batch.num_columns() != listed.len() {
            return Err(wrong(format!(
                "a row of `{}` has {} values, not {}",
                insert.table,
                batch.num_columns(),
                listed.len()
            )));
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in schema.fields() {
            let column = match listed.iter().position(|name| name == field.name()) {
                Some(at) => batch.column(at),
                None => &new_null_array(field.data_type(), batch.num_rows()),
            };
            let place = format!("column `{}` of `{}`", field.name(), insert.table);
            let cast = cast_with_options(column, field.data_type(), &strict).map_err(|_| {
                let wanted = super::types::to_sql(field.data_type());
                match unfit(column, field.data_type()) {
                    Some(value) => wrong(format!("{place} is {wanted}, which '{value}' is not")),
                    None => wrong(format!("{place} is {wanted}, not {}", super::types::to_sql(column.data_type()))),
                }
            })?;
            if !field.is_nullable() && cast.null_count() > 0 {
                return Err(wrong(format!("{place} is NOT NULL, but a row has NULL there")));
            }
            columns.push(cast);
        }
        result.push(
            RecordBatch::try_new(Arc::clone(schema), columns)
                .map_err(|e| wrong(errors::in_sql_words(&e.to_string())))?,
        );
    }
    Ok(result)
}

/// The first value that a lenient cast turns to NULL.
fn unfit(column: &ArrayRef, wanted: &DataType) -> Option<String> {
    let lenient = cast_with_options(column, wanted, &CastOptions::default()).ok()?;
    let row = (0..column.len()).find(|row| column.is_valid(*row) && lenient.is_null(*row))?;
    ScalarValue::try_from_array(column, row).ok().map(|value| value.to_string())
}

/// Registers the aggregate `json_agg`, which turns a constant table into one text.
pub fn register(context: &SessionContext) {
    context.register_udaf(AggregateUDF::from(JsonAgg { signature: Signature::any(1, Volatility::Immutable) }));
}

/// `json_agg(value)`: all values, in the table's order, as a JSON array in text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonAgg {
    signature: Signature,
}

impl AggregateUDFImpl for JsonAgg {
    fn name(&self) -> &'static str {
        "json_agg"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        if !args.order_bys.is_empty() {
            return Err(DataFusionError::Plan("json_agg keeps the order of the table and takes no ORDER BY".into()));
        }
        Ok(Box::new(JsonItems::default()))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[items]", args.name), DataType::Utf8, true))])
    }
}

#[derive(Debug, Default)]
struct JsonItems {
    items: Vec<String>,
}

impl Accumulator for JsonItems {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let value = Arc::clone(&values[0]);
        let field = Arc::new(Field::new("v", value.data_type().clone(), true));
        let rows = RecordBatch::from(StructArray::try_new(vec![field].into(), vec![value], None)?);
        let mut writer = arrow_json::writer::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow_json::writer::LineDelimited>(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        let text = String::from_utf8(writer.into_inner()).map_err(|e| DataFusionError::External(Box::new(e)))?;
        // Each line is {"v":…}.
        self.items.extend(text.lines().filter_map(|l| Some(l.strip_prefix("{\"v\":")?.strip_suffix('}')?.to_string())));
        Ok(())
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for state in states[0].as_string::<i32>().iter().flatten().filter(|s| !s.is_empty()) {
            self.items.push(state.to_string());
        }
        Ok(())
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::from(self.items.join(","))])
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::from(format!("[{}]", self.items.join(","))))
    }
    fn size(&self) -> usize {
        self.items.iter().map(String::len).sum()
    }
}
