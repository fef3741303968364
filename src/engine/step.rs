//! What a stage does to one micro-batch: filter, project, unnest. It is planned once and runs on every batch at once,
//! so a lone row does not wait for others.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{Result as DfResult, UnnestOptions};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::{ExecutionPlan, collect};

/// One step of a stage.
#[derive(Debug)]
pub enum Step {
    /// Keeps the rows for which it is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Makes new columns.
    Project {
        /// One a column.
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        /// The output.
        schema: SchemaRef,
    },
    /// Renames the columns: the branches of a UNION ALL.
    Rename(SchemaRef),
    /// Makes a row of each element of arrays.
    Unnest(Unnest),
}

/// `unnest(…)`, run by DataFusion's own operator, one batch at a time.
#[derive(Debug)]
pub struct Unnest {
    /// The input.
    pub input: SchemaRef,
    /// Which columns are arrays to unnest.
    pub lists: Vec<ListUnnest>,
    /// Which columns are structs to take apart.
    pub structs: Vec<usize>,
    /// The output.
    pub schema: SchemaRef,
    /// Whether an empty array makes a row.
    pub options: UnnestOptions,
}

impl Step {
    /// Runs the step; `None` when no row is left.
    ///
    /// # Errors
    /// When a row cannot be computed: a cast that fails, a division by zero.
    pub fn apply(&self, batch: &RecordBatch) -> DfResult<Option<RecordBatch>> {
        let rows = match self {
            Self::Filter(predicate) => {
                let mask = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
                let mask = as_boolean_array(&mask)?;
                // Most batches are small, and all their rows pass or none. Filtering costs something for each column.
                match mask.true_count() {
                    0 => return Ok(None),
                    all if all == batch.num_rows() => batch.clone(),
                    _ => filter_record_batch(batch, mask)?,
                }
            }
            Self::Project { exprs, schema } => {
                let columns = evaluate(exprs, batch)?;
                with_schema(schema, columns, batch.num_rows())?
            }
            Self::Rename(schema) => with_schema(schema, batch.columns().to_vec(), batch.num_rows())?,
            Self::Unnest(unnest) => unnest.apply(batch)?,
        };
        Ok(Some(rows).filter(|rows| rows.num_rows() > 0))
    }
}

/// One array for each expression.
///
/// # Errors
/// As [`Step::apply`].
pub fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> DfResult<Vec<ArrayRef>> {
    exprs.iter().map(|e| e.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Puts columns under a schema. A NULL in a NOT NULL column is an error.
///
/// # Errors
/// When they do not fit.
pub fn with_schema(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

impl Unnest {
    fn apply(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let batch = with_schema(&self.input, batch.columns().to_vec(), batch.num_rows())?;
        let input = MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.input), None)?;
        let exec = UnnestExec::new(
            input,
            self.lists.clone(),
            self.structs.clone(),
            Arc::clone(&self.schema),
            self.options.clone(),
        )?;
        let exec: Arc<dyn ExecutionPlan> = Arc::new(exec);
        // It only computes, so it never waits.
        let batches = futures::executor::block_on(collect(exec, Arc::new(TaskContext::default())))?;
        Ok(datafusion::arrow::compute::concat_batches(&self.schema, &batches)?)
    }
}
