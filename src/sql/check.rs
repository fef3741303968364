//! Checks of a query. From the text: its functions exist (all are checked at once). From the plan: a stream supports
//! its operators, and async UDFs are called only where an engine can call them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, Query, Spanned, Visit, Visitor};

use super::constants::Constants;
use super::name_of;
use super::statement::to_span;
use super::udfs::UdfSet;
use crate::diag::{Code, Diagnostic, Span, nearest};

/// The functions of a query.
pub struct Names {
    /// UDFs that it calls.
    pub udfs: BTreeSet<String>,
    /// Functions that do not exist, by name.
    pub unknown: BTreeSet<String>,
    /// Errors in functions and other parts of the query.
    pub errors: Vec<Diagnostic>,
}

/// Looks up every function of a query.
pub fn names(query: &Query, at: &Span, state: &SessionState, udfs: &UdfSet) -> Names {
    struct Functions<'a> {
        at: &'a Span,
        state: &'a SessionState,
        udfs: &'a UdfSet,
        found: Names,
    }
    impl Visitor for Functions<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if !query.locks.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
                let error = Diagnostic::new(Code::REFUSED, "a stream has no FOR UPDATE or the like");
                self.found.errors.push(error.at(self.at.clone()).help("leave it out"));
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<()> {
            if let ast::TableFactor::Table { sample: Some(_), .. } = table {
                let error = Diagnostic::new(Code::REFUSED, "a stream has no TABLESAMPLE");
                self.found.errors.push(error.at(self.at.clone()).help("write `WHERE random() < 0.1`"));
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
            if let ast::Expr::Trim { trim_where: None, .. } = expr {
                // The parser accepts `trim`. Arroyo accepts it only with BOTH, LEADING or TRAILING. The parser gives
                // the place of the argument; the name stands before it.
                let argument = to_span(&self.at.source, expr.span()).unwrap_or_else(|| self.at.clone());
                let before = self.at.source.text[..argument.range.start].to_lowercase();
                let span = before.rfind("trim").map_or(argument.clone(), |at| Span::new(&argument.source, at..at + 4));
                let error = Diagnostic::new(Code::FUNCTION_UNKNOWN, "there is no function `trim`").at(span);
                self.found.errors.push(error.help("write `btrim`, `ltrim` or `rtrim`"));
            }
            if let ast::Expr::AllOp { .. } = expr {
                let span = to_span(&self.at.source, expr.span()).unwrap_or_else(|| self.at.clone());
                let error = Diagnostic::new(Code::QUERY, "there is no comparison with ALL of an array").at(span);
                self.found.errors.push(error.help("write array_has_all(…, …), or NOT with ANY"));
            }
            if let ast::Expr::Value(value) = expr
                && let ast::Value::Number(digits, _) = &value.value
                && digits.contains('_')
            {
                let span = to_span(&self.at.source, value.span).unwrap_or_else(|| self.at.clone());
                let error = Diagnostic::new(Code::QUERY, format!("`{digits}` is not a number")).at(span);
                self.found.errors.push(error.help(format!("write `{}`", digits.replace('_', ""))));
            }
            let ast::Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
            let Some(ident) = function.name.0.last().and_then(|p| p.as_ident()) else {
                return ControlFlow::Continue(());
            };
            let name = name_of(ident);
            if self.udfs.functions.iter().any(|f| f.name() == name) {
                self.found.udfs.insert(name);
            } else if WINDOWS.contains(&name.as_str()) {
                self.found.unknown.insert(name.clone());
                self.found.errors.push(
                    Diagnostic::new(Code::UNSUPPORTED, format!("the embedded engine has no windows (`{name}`)"))
                        .at(to_span(&self.at.source, ident.span).unwrap_or_else(|| self.at.clone()))
                        .help(ARROYO),
                );
            } else if !exists(self.state, &name) {
                self.found.unknown.insert(name.clone());
                let mut known: Vec<String> = self.state.udfs().into_iter().collect();
                known.sort_unstable();
                let meant = ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, arroyo)| *arroyo);
                let help = match meant.or_else(|| nearest(&name, known.iter().map(String::as_str))) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("if it is a UDF, put its source into udfs/{name}.rs"),
                };
                self.found.errors.push(
                    Diagnostic::new(Code::FUNCTION_UNKNOWN, format!("there is no function `{name}`"))
                        .at(to_span(&self.at.source, ident.span).unwrap_or_else(|| self.at.clone()))
                        .help(help),
                );
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Functions {
        at,
        state,
        udfs,
        found: Names { udfs: BTreeSet::new(), unknown: BTreeSet::new(), errors: Vec::new() },
    };
    let _ = query.visit(&mut visitor);
    visitor.found
}

/// Functions of other databases, and their names here.
const ELSEWHERE: [(&str, &str); 24] = [
    ("array_contains", "array_has"),
    ("array_join", "array_to_string"),
    ("array_size", "array_length"),
    ("ceiling", "ceil"),
    ("char_length", "character_length"),
    ("date_format", "to_char"),
    ("datetrunc", "date_trunc"),
    ("ifnull", "nvl"),
    ("instr", "strpos"),
    ("json_array_length", "json_length"),
    ("json_extract", "json_get"),
    ("json_extract_scalar", "json_get_str"),
    ("json_value", "json_get_str"),
    ("len", "character_length"),
    ("length", "character_length"),
    ("list_contains", "array_has"),
    ("pow", "power"),
    ("sign", "signum"),
    ("size", "cardinality"),
    ("split", "string_to_array"),
    ("str_to_date", "to_timestamp"),
    ("strftime", "to_char"),
    ("string_split", "string_to_array"),
    ("substring_index", "substr_index"),
];

/// Arroyo's windows over event time, and `row_time`.
const WINDOWS: [&str; 4] = ["tumble", "hop", "session", "row_time"];

fn exists(state: &SessionState, name: &str) -> bool {
    state.udf(name).is_ok() || state.udaf(name).is_ok() || state.udwf(name).is_ok() || name == "unnest"
}

/// The hint if another engine can run the query.
const ARROYO: &str = "run the pipeline on Arroyo, which can";

/// Rejects operators that the embedded engine cannot run over a stream.
///
/// # Errors
/// One diagnostic for each kind of operator.
pub fn operators(plan: &LogicalPlan, at: &Span, constants: &Constants) -> Result<(), Vec<Diagnostic>> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut refuse = |code, message: String, help: &str| {
        let error = Diagnostic::new(code, message).at(at.clone()).help(help);
        if !errors.contains(&error) {
            errors.push(error);
        }
    };
    let visited = plan.apply(|node| {
        match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Union(_) => {}
            LogicalPlan::Unnest(unnest) => {
                let lists = &unnest.list_type_columns;
                if lists.len() > 1 || lists.iter().any(|(_, list)| list.depth > 1) {
                    refuse(
                        Code::REFUSED,
                        "a SELECT has more than one `unnest`".into(),
                        "unnest each in a view of its own",
                    );
                } else if !unnest.struct_type_columns.is_empty() {
                    refuse(
                        Code::REFUSED,
                        "`unnest` takes an array, not a STRUCT".into(),
                        "name the fields: `s['a'] AS a`",
                    );
                }
            }
            LogicalPlan::TableScan(scan) => {
                if constants.is_constant(scan.table_name.table()) {
                    refuse(
                        Code::CONSTANT,
                        format!(
                            "`{}` is a constant table, which a stream cannot be joined with or made from",
                            scan.table_name.table()
                        ),
                        "use it in a subquery that gives one value: `(SELECT json_agg(…) FROM …)`",
                    );
                }
            }
            LogicalPlan::Aggregate(_) => refuse(
                Code::UNSUPPORTED,
                "the embedded engine cannot aggregate a stream (GROUP BY, count, sum, …)".into(),
                "with a window, run the pipeline on Arroyo, which can",
            ),
            LogicalPlan::Window(_) => {
                refuse(Code::UNSUPPORTED, "the embedded engine has no window functions (OVER)".into(), ARROYO);
            }
            LogicalPlan::Join(join) if constants.is_scan(&join.left) || constants.is_scan(&join.right) => {}
            LogicalPlan::Join(_) => refuse(Code::UNSUPPORTED, "the embedded engine cannot join streams".into(), ARROYO),
            LogicalPlan::Distinct(_) => refuse(
                Code::REFUSED,
                "DISTINCT over an endless stream never finishes".into(),
                "leave DISTINCT out; for UNION write UNION ALL",
            ),
            LogicalPlan::Sort(_) => {
                refuse(Code::REFUSED, "ORDER BY over an endless stream never finishes".into(), "leave ORDER BY out");
            }
            LogicalPlan::Limit(_) => {
                refuse(Code::REFUSED, "LIMIT is not for streams".into(), "leave LIMIT out; use WHERE");
            }
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => refuse(
                Code::REFUSED,
                "a query must read a table or a view, not constants alone".into(),
                "add FROM with a table",
            ),
            LogicalPlan::RecursiveQuery(_) => {
                refuse(Code::REFUSED, "WITH RECURSIVE is not for streams".into(), "leave RECURSIVE out");
            }
            _ => refuse(Code::UNSUPPORTED, "the embedded engine cannot run this kind of query".into(), ARROYO),
        }
        node.apply_expressions(|e| {
            e.apply(|e| {
                if matches!(e, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
                {
                    refuse(
                        Code::REFUSED,
                        "a subquery inside an expression can only read constant tables".into(),
                        "put the rows into a view, or the constants into a table that is filled by VALUES",
                    );
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if let Err(error) = visited {
        errors.extend(super::errors::to_diagnostics(&error, at));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks async UDFs: only in a SELECT list, and one in each. It is Arroyo's rule, so that a pipeline runs on both
/// engines.
///
/// # Errors
/// One diagnostic for each wrong place.
pub fn async_calls(plan: &LogicalPlan, at: &Span, udfs: &UdfSet) -> Result<(), Vec<Diagnostic>> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut asking: Vec<&LogicalPlan> = Vec::new();
    let visited = plan.apply(|node| {
        let mut calls = Vec::new();
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Some(name) = async_call(e, udfs) {
                    calls.push(name.to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        let is_projection = matches!(node, LogicalPlan::Projection(_));
        if let Some(first) = calls.first() {
            if asking.contains(&node) {
                errors.push(
                    Diagnostic::new(
                        Code::ASYNC_PLACE,
                        format!(
                            "`{first}` is called in a WITH that is read more than once, so it would be called for each"
                        ),
                    )
                    .at(at.clone())
                    .help("make a view of it: a view is computed once, however many queries read it"),
                );
            }
            asking.push(node);
        }
        if let Some(first) = calls.first().filter(|_| !is_projection) {
            errors.push(
                Diagnostic::new(
                    Code::ASYNC_PLACE,
                    format!("`{first}` is async and is called outside the list of a SELECT"),
                )
                .at(at.clone())
                .help("call it in a view's SELECT list, and use the view's column here"),
            );
        } else if calls.len() > 1 {
            errors.push(
                Diagnostic::new(
                    Code::ASYNC_PLACE,
                    format!("one SELECT calls more than one async UDF: {}", calls.join(", ")),
                )
                .at(at.clone())
                .help("call each in a view of its own"),
            );
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if let Err(error) = visited {
        errors.extend(super::errors::to_diagnostics(&error, at));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The names of the UDFs that a plan calls.
#[must_use]
pub fn udf_calls(plan: &LogicalPlan, udfs: &UdfSet) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Visiting fails only if the closure fails.
    let _ = plan.apply(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Expr::ScalarFunction(ScalarFunction { func, .. }) = e
                    && udfs.functions.iter().any(|f| f.name() == func.name())
                {
                    found.insert(func.name().to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found
}

/// The name of the async UDF that this expression itself calls.
#[must_use]
pub fn async_call<'a>(expr: &'a Expr, udfs: &UdfSet) -> Option<&'a str> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, .. }) if udfs.asynchronous.contains(func.name()) => {
            Some(func.name())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_proposed_for_another_databases_function_exists_and_that_does_not() {
        let context = datafusion::prelude::SessionContext::new();
        crate::sql::functions::register(&context);
        for (other, arroyo) in super::ELSEWHERE {
            assert!(super::exists(&context.state(), arroyo), "{arroyo}");
            assert!(!super::exists(&context.state(), other), "{other}");
        }
    }
}
