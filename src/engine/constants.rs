//! Which arguments of an async UDF's calls are the same for every row, and what they are: read off the dataflow, without
//! a row.
//!
//! A value is followed from the call back through the stages before it. Where branches meet, all of them must give the
//! same one. What becomes of the answers is the caller's business.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::graph::{Graph, Node, NodeId, NodeKind};
use super::step::Step;

/// A call of an async UDF.
#[derive(Debug)]
pub struct PlannedCall<'a> {
    /// The node that makes it.
    pub node: &'a Node,
    /// Its arguments in order; `None` for one that depends on the row.
    pub args: Vec<Option<ScalarValue>>,
}

/// All calls of a UDF in a dataflow.
#[must_use]
pub fn calls_of<'a>(graph: &'a Graph, udf: &str) -> Vec<PlannedCall<'a>> {
    let mut inputs = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for output in &node.outputs {
            inputs[*output].push(id);
        }
    }
    let constants = Constants { graph, inputs, known: RefCell::default() };
    let calls = graph.nodes.iter().enumerate().filter_map(|(id, node)| match &node.kind {
        NodeKind::Call(call) if call.udf == udf => {
            let args = call.args.iter().map(|arg| constants.value(arg, |column| constants.before(id, column)));
            Some(PlannedCall { node, args: args.collect() })
        }
        _ => None,
    });
    calls.collect()
}

struct Constants<'a> {
    graph: &'a Graph,
    /// Who gives its rows to each node.
    inputs: Vec<Vec<NodeId>>,
    /// The columns behind each stage's first steps that were looked at.
    known: RefCell<HashMap<(NodeId, usize, usize), Option<ScalarValue>>>,
}

impl Constants<'_> {
    /// A column of the rows that come to a node.
    fn before(&self, node: NodeId, column: usize) -> Option<ScalarValue> {
        let mut values = self.inputs[node].iter().map(|input| self.after(*input, column));
        let first = values.next()??;
        values.all(|value| value.as_ref() == Some(&first)).then_some(first)
    }

    /// A column of the rows that leave a node.
    fn after(&self, node: NodeId, column: usize) -> Option<ScalarValue> {
        match &self.graph.nodes[node].kind {
            NodeKind::Stage(steps) => self.after_steps(node, steps, column),
            // Its answer is the last column, and the others pass through.
            NodeKind::Call(call) if column + 1 < call.schema.fields().len() => self.before(node, column),
            _ => None,
        }
    }

    fn after_steps(&self, node: NodeId, steps: &[Step], column: usize) -> Option<ScalarValue> {
        let Some((last, earlier)) = steps.split_last() else { return self.before(node, column) };
        let place = (node, steps.len(), column);
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        let value = match last {
            Step::Filter(_) | Step::Rename(_) => self.after_steps(node, earlier, column),
            Step::Project { exprs, .. } => {
                exprs.get(column).and_then(|expr| self.value(expr, |c| self.after_steps(node, earlier, c)))
            }
            // It changes which column is where.
            Step::Unnest(_) => None,
        };
        self.known.borrow_mut().insert(place, value.clone());
        value
    }

    /// The value of an expression, when all columns that it reads have one.
    fn value(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        column: impl Fn(usize) -> Option<ScalarValue>,
    ) -> Option<ScalarValue> {
        if is_volatile(expr) {
            return None;
        }
        let columns: HashSet<usize> = collect_columns(expr).iter().map(Column::index).collect();
        let columns: HashMap<usize, ScalarValue> =
            columns.into_iter().map(|index| Some((index, column(index)?))).collect::<Option<_>>()?;
        let replaced = Arc::clone(expr).transform_up(|part| {
            let value = part.downcast_ref::<Column>().and_then(|c| columns.get(&c.index()));
            Ok(match value {
                Some(value) => Transformed::yes(Arc::new(Literal::new(value.clone())) as Arc<dyn PhysicalExpr>),
                None => Transformed::no(part),
            })
        });
        let row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &row).ok()?;
        // One that cannot be computed fails for every row; the run says so.
        let array = replaced.ok()?.data.evaluate(&row).and_then(|value| value.into_array(1)).ok()?;
        ScalarValue::try_from_array(&array, 0).ok()
    }
}
