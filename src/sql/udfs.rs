//! The UDFs of a project as the planner sees them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// The functions that a pipeline can call in addition to SQL's own.
#[derive(Debug, Clone, Default)]
pub struct UdfSet {
    /// All of them.
    pub functions: Vec<Arc<ScalarUDF>>,
    /// The names of the async ones. The engine calls them, not an expression.
    pub asynchronous: HashSet<String>,
}
