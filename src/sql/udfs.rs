//! The functions that the UDFs of a project are to the planner.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// The functions that a pipeline can call beyond SQL's own.
#[derive(Debug, Clone, Default)]
pub struct UdfSet {
    /// All of them.
    pub functions: Vec<Arc<ScalarUDF>>,
    /// The names of those that are async: the engine calls them, not an expression.
    pub asynchronous: HashSet<String>,
}
