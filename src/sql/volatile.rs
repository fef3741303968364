//! Evaluates volatile calls (UDFs, `random()`) once for each row.
//!
//! The planner turns `coalesce(a, b)` into a CASE and `a BETWEEN b AND c` into two comparisons, so `a` occurs twice. If
//! `a` calls something volatile, this module first moves the call into a projection below.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Between, ScalarFunction};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};

/// Functions that the planner rewrites so that an argument occurs more than once.
const REWRITTEN: [&str; 4] = ["coalesce", "nvl", "nvl2", "nullif"];

/// The same plan with such calls in projections of their own.
///
/// # Errors
/// The planner rejects the new plan.
pub fn settle(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut next = 0;
    let settled = plan.transform_up(|node| match node {
        LogicalPlan::Projection(projection) => {
            let mut moved = Moved::new(&mut next);
            let exprs = projection.expr.iter().map(|e| moved.take_from_column(e)).collect::<Result<Vec<_>>>()?;
            if moved.exprs.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            }
            let input = moved.below(&projection.input)?;
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)))
        }
        LogicalPlan::Filter(filter) => {
            let mut moved = Moved::new(&mut next);
            let predicate = moved.take_from(filter.predicate.clone())?;
            if moved.exprs.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
            let input = moved.below(&filter.input)?;
            let kept = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(kept))?)))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(settled.data)
}

/// Calls that go into a projection below.
struct Moved<'a> {
    next: &'a mut usize,
    exprs: Vec<Expr>,
}

impl<'a> Moved<'a> {
    fn new(next: &'a mut usize) -> Self {
        Self { next, exprs: Vec::new() }
    }

    /// Moves calls out of a column of a SELECT, which keeps its name.
    fn take_from_column(&mut self, expr: &Expr) -> Result<Expr> {
        let before = self.exprs.len();
        let name = expr.schema_name().to_string();
        let taken = self.take_from(expr.clone())?;
        let unchanged = self.exprs.len() == before || matches!(taken, Expr::Alias(_));
        Ok(if unchanged { taken } else { taken.alias(name) })
    }

    fn take_from(&mut self, expr: Expr) -> Result<Expr> {
        let taken = expr.transform_up(|e| match e {
            Expr::ScalarFunction(ScalarFunction { func, args }) if REWRITTEN.contains(&func.name()) => {
                let args = args.into_iter().map(|arg| self.below_if_volatile(arg)).collect();
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
            }
            Expr::Between(between) => {
                let expr = Box::new(self.below_if_volatile(*between.expr));
                Ok(Transformed::yes(Expr::Between(Between { expr, ..between })))
            }
            e => Ok(Transformed::no(e)),
        })?;
        Ok(taken.data)
    }

    fn below_if_volatile(&mut self, expr: Expr) -> Expr {
        if !expr.is_volatile() {
            return expr;
        }
        *self.next += 1;
        let name = format!("__volatile_{}", self.next);
        self.exprs.push(expr.alias(&name));
        Expr::Column(Column::new_unqualified(name))
    }

    /// The input with the calls as additional columns.
    fn below(self, input: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.extend(self.exprs);
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(input))?))
    }
}
