//! The operators `->`, `->>` and `?` over JSON text, and rewrites of nested JSON functions.
//!
//! Both work as in Arroyo: a chain `a->'b'->>'c'` is one lookup, and a CAST of `json_get` is the function for that
//! type.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{Alias, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::json_functions::Reads;

/// Plans the operators.
#[derive(Debug)]
pub(super) struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let function = match expr.op {
            BinaryOperator::Arrow => Reads::Any,
            BinaryOperator::LongArrow => Reads::AnyAsText,
            BinaryOperator::Question => Reads::Whether,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let name = format!("{} {} {}", shown(&expr.left), expr.op, shown(&expr.right));
        // The planner's time for the type of nested aliases doubles with each level.
        let args = vec![expr.left.unalias(), expr.right.unalias()];
        let call = Expr::ScalarFunction(ScalarFunction { func: function.function(), args });
        Ok(PlannerResult::Planned(Expr::Alias(Alias::new(call, None::<&str>, name))))
    }
}

/// An operand as it appears in a column's name.
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.flat_name(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Cast(cast) => shown(&cast.expr),
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => format!("'{text}'"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Rewrites JSON functions inside casts and inside one another.
#[derive(Debug)]
pub(super) struct JsonCalls;

impl FunctionRewrite for JsonCalls {
    fn name(&self) -> &'static str {
        "json_calls"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let rewritten = match &expr {
            Expr::Cast(cast) => typed(&cast.expr, cast.field.data_type()),
            Expr::ScalarFunction(call) => one_lookup(call),
            _ => None,
        };
        Ok(rewritten.map_or_else(|| Transformed::no(expr), |call| Transformed::yes(Expr::ScalarFunction(call))))
    }
}

/// `CAST(json_get(…) AS BIGINT)` is `json_get_int(…)`.
fn typed(inner: &Expr, data_type: &DataType) -> Option<ScalarFunction> {
    let call = call_of(inner).filter(|call| call.func.name() == "json_get")?;
    let reads = match data_type {
        DataType::Boolean => Reads::Bool,
        DataType::Float64 | DataType::Float32 | DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => Reads::Float,
        DataType::Int64 | DataType::Int32 => Reads::Int,
        DataType::Utf8 => Reads::Text,
        _ => return None,
    };
    Some(ScalarFunction { func: reads.function(), args: call.args.clone() })
}

/// `json_get_str(json_get(x, 'a'), 'b')` is `json_get_str(x, 'a', 'b')`, when the keys are literals.
fn one_lookup(outer: &ScalarFunction) -> Option<ScalarFunction> {
    let (first, keys) = outer.args.split_first().filter(|_| looks_up(outer.func.name()))?;
    let inner = call_of(first).filter(|call| matches!(call.func.name(), "json_get" | "json_as_text"))?;
    let args: Vec<Expr> = inner.args.iter().chain(keys).cloned().collect();
    let literal = args.iter().skip(1).all(|key| matches!(key, Expr::Literal(_, _)));
    literal.then(|| ScalarFunction { func: Arc::clone(&outer.func), args })
}

fn looks_up(name: &str) -> bool {
    matches!(
        name,
        "json_get"
            | "json_get_bool"
            | "json_get_float"
            | "json_get_int"
            | "json_get_json"
            | "json_get_str"
            | "json_as_text"
    )
}

fn call_of(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::ScalarFunction(call) => Some(call),
        Expr::Alias(alias) => call_of(&alias.expr),
        _ => None,
    }
}
