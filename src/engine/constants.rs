//! Finds which arguments of an async UDF's calls are the same for every row, and their values, from the dataflow alone.
//!
//! A value is followed from the call back through the stages before it. Where branches meet, all of them must give the
//! same one.

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
            let args = call.args.iter().map(|arg| value(arg, |column| constants.before(id, column)));
            Some(PlannedCall { node, args: args.collect() })
        }
        _ => None,
    });
    calls.collect()
}

struct Constants<'a> {
    graph: &'a Graph,
    /// The nodes that give rows to each node.
    inputs: Vec<Vec<NodeId>>,
    /// The values found so far, by node, number of its steps and column.
    known: RefCell<HashMap<(NodeId, usize, usize), Option<ScalarValue>>>,
}

impl Constants<'_> {
    /// The value of a column in the rows that reach a node.
    fn before(&self, node: NodeId, column: usize) -> Option<ScalarValue> {
        let mut values = self.inputs[node].iter().map(|input| self.after(*input, column));
        let first = values.next()??;
        values.all(|value| value.as_ref() == Some(&first)).then_some(first)
    }

    /// The value of a column in the rows that leave a node.
    fn after(&self, node: NodeId, column: usize) -> Option<ScalarValue> {
        match &self.graph.nodes[node].kind {
            NodeKind::Stage(steps) => self.after_steps(node, steps, column),
            // The answer is the last column; the others pass through.
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
                exprs.get(column).and_then(|expr| value(expr, |c| self.after_steps(node, earlier, c)))
            }
            // It changes the positions of columns.
            Step::Unnest(_) => None,
        };
        self.known.borrow_mut().insert(place, value.clone());
        value
    }
}

/// The value of an expression, when all columns that it reads have one.
fn value(expr: &Arc<dyn PhysicalExpr>, column: impl Fn(usize) -> Option<ScalarValue>) -> Option<ScalarValue> {
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
    // An expression that cannot be computed fails for every row, which the run reports.
    let array = replaced.ok()?.data.evaluate(&row).and_then(|value| value.into_array(1)).ok()?;
    ScalarValue::try_from_array(&array, 0).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;
    use crate::engine::compile;
    use crate::sql::catalogue::load;
    use crate::udf::discover;

    const UDF: &str = "use arroyo_udf_plugin::udf;\n\n#[udf]\nasync fn ask(text: &str, list: &str, options: Option<&str>) \
                       -> String { format!(\"{text}{list}{options:?}\") }\n";
    const TABLES: &str =
        "CREATE TABLE t (id BIGINT, a TEXT) WITH (connector = 'single_file', path = 'in', format = 'json');
CREATE TABLE o (r TEXT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE names (name TEXT);
INSERT INTO names VALUES ('A'), ('B');
";

    /// The arguments of each call; `-` for one that depends on the row.
    async fn args(folder: &Path, sql: &str) -> Vec<String> {
        let path = folder.join("job.sql");
        std::fs::write(&path, format!("{TABLES}{sql}")).unwrap();
        let (text, _) = load("job.sql", folder).unwrap();
        let udfs = discover(&folder.join("udfs")).unwrap();
        let pipeline = compile(text, &udfs, &Environment::only([])).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let shown = |value: &Option<ScalarValue>| value.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let calls = calls_of(&pipeline.graph, "ask");
        calls.iter().map(|call| call.args.iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
    }

    #[tokio::test]
    async fn constants_are_followed_to_where_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("udfs")).unwrap();
        std::fs::write(folder.path().join("udfs/ask.rs"), UDF).unwrap();
        let cases: [(&str, &[&str]); 12] = [
            ("INSERT INTO o SELECT ask(a, 'x', NULL) FROM t;", &["- x NULL"]),
            (
                "INSERT INTO o SELECT ask('a', (SELECT json_agg(name) FROM names), upper('y')) FROM t;",
                &[r#"a ["A","B"] Y"#],
            ),
            (
                "CREATE VIEW v AS SELECT a, 'x' AS x, 1 + 1 AS n FROM t WHERE id > 1;
                 CREATE VIEW w AS SELECT concat(x, CAST(n AS TEXT)) AS y, * FROM v WHERE a <> '';
                 INSERT INTO o SELECT ask(a, y, concat(x, y)) FROM w WHERE n > 1;",
                &["- x2 xx2"],
            ),
            // Behind another call.
            (
                "CREATE VIEW v AS SELECT ask(a, 'x', 'y') AS b, 'z' AS z FROM t;
                 INSERT INTO o SELECT ask(b, z, b) FROM v;",
                &["- x y", "- z -"],
            ),
            // Branches that agree, and branches that do not.
            (
                "CREATE VIEW v AS SELECT a, 'x' AS x, 'y' AS y FROM t UNION ALL SELECT 'b', 'x', 'z' FROM t;
                 INSERT INTO o SELECT ask(a, x, y) FROM v;",
                &["- x -"],
            ),
            // The same call in a view that is read twice is one call.
            (
                "CREATE VIEW v AS SELECT ask(a, 'x', 'y') AS r FROM t;
                 INSERT INTO o SELECT r FROM v; INSERT INTO o SELECT upper(r) FROM v;",
                &["- x y"],
            ),
            (
                "INSERT INTO o SELECT ask(a, 'x', 'y') FROM t; INSERT INTO o SELECT ask(a, 'x', 'y') FROM t;",
                &["- x y", "- x y"],
            ),
            ("INSERT INTO o SELECT ask(a, CASE WHEN a = 'x' THEN 'x' ELSE 'y' END, a) FROM t;", &["- - -"]),
            ("INSERT INTO o SELECT ask(a, 'x', CAST(random() AS TEXT)) FROM t;", &["- x -"]),
            ("INSERT INTO o SELECT ask(a, 'x', CAST(now() AS TEXT)) FROM t;", &["- x -"]),
            (
                "CREATE VIEW v AS SELECT unnest(string_to_array(a, ',')) AS w, 'x' AS x FROM t;
                 INSERT INTO o SELECT ask(w, 'z', x) FROM v;",
                &["- z -"],
            ),
            ("INSERT INTO o SELECT a FROM t;", &[]),
        ];
        for (sql, expected) in cases {
            assert_eq!(args(folder.path(), sql).await, expected, "{sql}");
        }
    }
}
