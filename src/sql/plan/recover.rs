//! Removes the parts of a query that are known to be wrong, so that the planner can find the next error.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Spanned, Value, VisitMut, VisitorMut};

use crate::diag::Span;
use crate::sql::name_of;
use crate::sql::statement::to_span;

/// Replaces calls of unknown functions by NULL.
pub(super) fn without_functions(query: &mut Query, unknown: &BTreeSet<String>) {
    if unknown.is_empty() {
        return;
    }
    replace(query, &mut |expr| match expr {
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(name_of);
            name.is_some_and(|name| unknown.contains(&name))
        }
        _ => false,
    });
}

/// Replaces the columns, and the casts to types, at these places by NULL. Returns whether there were any.
pub(super) fn without_columns(query: &mut Query, at: &Span, places: &[Span]) -> bool {
    let starts: BTreeSet<usize> = places.iter().map(|place| place.range.start).collect();
    replace(query, &mut |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let span = to_span(&at.source, expr.span());
            span.is_some_and(|span| starts.iter().any(|start| span.range.contains(start)))
        }
        Expr::Cast { data_type, .. } => {
            let name = data_type.to_string();
            places.iter().any(|place| place.text().eq_ignore_ascii_case(&name))
        }
        _ => false,
    })
}

/// Replaces wrong expressions by NULL. Returns whether there were any.
fn replace(query: &mut Query, is_wrong: &mut dyn FnMut(&Expr) -> bool) -> bool {
    struct Replace<'a> {
        is_wrong: &'a mut dyn FnMut(&Expr) -> bool,
        found: bool,
    }
    impl VisitorMut for Replace<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if (self.is_wrong)(expr) {
                *expr = Expr::value(Value::Null);
                self.found = true;
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Replace { is_wrong, found: false };
    let _ = VisitMut::visit(query, &mut visitor);
    visitor.found
}
