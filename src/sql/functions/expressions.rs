//! Operators, CASTs and conditions that mean something else in Arroyo's DataFusion 48 than in the embedded version.
//! Expressions are rewritten before types are resolved, so that all later steps see Arroyo's meaning.
//!
//! - **Text compared with a number is compared as text**: `i > '5'` and `n = 42` convert the number to text, also in
//!   `IN`, `BETWEEN` and `CASE x WHEN`.
//! - **A CAST of text to a number does not trim it**, and the empty text is the DECIMAL 0.
//! - A STRUCT is cast to another by position.
//! - `patterns` describes comparisons with regular expressions.
//! - A date minus a date is a duration (in a BIGINT column: seconds), not a number of days.
//! - Expressions that Arroyo rejects are rejected: arithmetic of dates with numbers and of times, JSON values in
//!   comparisons, NULL in `SIMILAR TO`, and `^`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::{can_cast_types, cast as cast_array};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, Result, plan_err};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Case, Cast, Expr, ExprSchemable, Operator, ScalarUDF, TypeSignature};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::own::Own;
use super::{patterns, struct_names};

/// Rejects operators that Arroyo does not have.
#[derive(Debug)]
pub(super) struct Refused;

impl ExprPlanner for Refused {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        match expr.op {
            BinaryOperator::PGExp => plan_err!("there is no operator `^`: write power(a, b)"),
            _ => Ok(PlannerResult::Original(expr)),
        }
    }
}

/// Rewrites expressions to their meaning on Arroyo.
#[derive(Debug)]
pub(super) struct Meaning {
    /// The functions that replace DataFusion's, by name. The planner turns some operators into calls of DataFusion's
    /// own.
    pub(super) overridden: HashMap<String, Arc<ScalarUDF>>,
}

impl FunctionRewrite for Meaning {
    fn name(&self) -> &'static str {
        "meaning"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::BinaryExpr(binary) => operator(binary, schema),
            Expr::InList(InList { expr, list, negated }) => {
                let mut all = vec![*expr];
                all.extend(list);
                let (mut all, changed) = comparable(all, schema)?;
                let expr = Box::new(all.remove(0));
                Ok(transformed(Expr::InList(InList { expr, list: all, negated }), changed))
            }
            Expr::Between(mut between) => {
                let all = vec![*between.expr, *between.low, *between.high];
                let (mut all, changed) = comparable(all, schema)?;
                between.high = Box::new(all.remove(2));
                between.low = Box::new(all.remove(1));
                between.expr = Box::new(all.remove(0));
                Ok(transformed(Expr::Between(between), changed))
            }
            Expr::Case(Case { expr: Some(of), when_then_expr, else_expr }) => {
                let (whens, thens): (Vec<_>, Vec<_>) = when_then_expr.into_iter().unzip();
                let mut all = vec![*of];
                all.extend(whens.into_iter().map(|when| *when));
                let (mut all, changed) = comparable(all, schema)?;
                let of = Some(Box::new(all.remove(0)));
                let when_then_expr = all.into_iter().map(Box::new).zip(thens).collect();
                Ok(transformed(Expr::Case(Case { expr: of, when_then_expr, else_expr }), changed))
            }
            Expr::Cast(mut cast) => {
                let (inner, changed) = readable(*cast.expr, cast.field.data_type(), schema)?;
                cast.expr = Box::new(inner);
                Ok(transformed(Expr::Cast(cast), changed))
            }
            Expr::TryCast(mut cast) => {
                let (inner, changed) = readable(*cast.expr, cast.field.data_type(), schema)?;
                cast.expr = Box::new(inner);
                Ok(transformed(Expr::TryCast(cast), changed))
            }
            Expr::SimilarTo(similar) => {
                let unknown = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_null());
                if unknown(&similar.expr) || unknown(&similar.pattern) || patterns::is_view(&similar.pattern) {
                    return plan_err!("SIMILAR TO takes a text and a pattern: write `~`");
                }
                Ok(Transformed::no(Expr::SimilarTo(similar)))
            }
            Expr::ScalarFunction(call) => match self.overridden.get(call.func.name()) {
                Some(ours) if *ours != call.func => {
                    let call = ScalarFunction { func: Arc::clone(ours), args: call.args };
                    Ok(Transformed::yes(Expr::ScalarFunction(call)))
                }
                _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
            },
            expr => Ok(Transformed::no(expr)),
        }
    }
}

fn transformed(expr: Expr, changed: bool) -> Transformed<Expr> {
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn operator(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // An operand without a type is rejected later, with a better message.
    let (Ok(l), Ok(r)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    let json = matches!(l, DataType::Union(..)) || matches!(r, DataType::Union(..));
    if let Some(function) = patterns::operator(op) {
        return Ok(Transformed::yes(function.call(vec![*left, *right])));
    }
    if is_comparison(op) {
        let dates = |a: &DataType, b: &DataType| a.is_integer() && matches!(b, DataType::Date32 | DataType::Date64);
        if json || dates(&l, &r) || dates(&r, &l) {
            return plan_err!("Cannot infer common argument type for comparison operation {l} {op} {r}");
        }
        let (mut both, changed) = comparable(vec![*left, *right], schema)?;
        let (right, left) = (both.remove(1), both.remove(0));
        return Ok(transformed(
            Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }),
            changed,
        ));
    }
    if json && op == Operator::StringConcat {
        return plan_err!("Cannot infer common string type for string concat operation {l} {op} {r}");
    }
    if matches!(op, Operator::Plus | Operator::Minus) {
        let date = |t: &DataType| matches!(t, DataType::Date32);
        let time = |t: &DataType| matches!(t, DataType::Time32(_) | DataType::Time64(_));
        if op == Operator::Minus && date(&l) && date(&r) {
            let seconds = |e: Expr| Expr::Cast(Cast::new(Box::new(e), DataType::Timestamp(TimeUnit::Second, None)));
            let (left, right) = (Box::new(seconds(*left)), Box::new(seconds(*right)));
            return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        }
        let refused = (date(&l) && r.is_numeric()) || (l.is_numeric() && date(&r)) || time(&l) || time(&r);
        if refused {
            return plan_err!("Cannot coerce arithmetic expression {l} {op} {r} to valid types");
        }
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// Operands that are compared with each other. If one of them is text, numbers become text.
fn comparable(all: Vec<Expr>, schema: &dyn ExprSchema) -> Result<(Vec<Expr>, bool)> {
    let types: Vec<Option<DataType>> = all.iter().map(|e| e.get_type(schema).ok()).collect();
    let date = |t: &DataType| matches!(t, DataType::Date32 | DataType::Date64);
    if types.iter().flatten().any(date) && types.iter().flatten().any(DataType::is_integer) {
        return plan_err!("dates cannot be compared with numbers");
    }
    if !types.iter().flatten().any(is_text) || !types.iter().flatten().any(DataType::is_numeric) {
        return Ok((all, false));
    }
    let as_text = all.into_iter().zip(types).map(|(e, t)| match t {
        Some(t) if t.is_numeric() => Expr::Cast(Cast::new(Box::new(e), DataType::Utf8)),
        _ => e,
    });
    Ok((as_text.collect(), true))
}

/// A CAST with Arroyo's meaning, for INSERTs and generated columns, whose CASTs are not in the query.
#[must_use]
pub fn cast(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    let inner = match before_cast(from, to) {
        Some(function) => function.call(vec![expr]),
        None => expr,
    };
    Expr::Cast(Cast::new(Box::new(inner), to.clone()))
}

/// Whether one type can be cast to another. A JSON value (of `->` or `json_get`) can be cast where `json_operators` has
/// a function for it; structs need the same number of fields.
#[must_use]
pub fn castable(from: &DataType, to: &DataType) -> bool {
    !matches!(from, DataType::Union(..))
        && struct_names::named_as(from, to).is_some_and(|from| can_cast_types(&from, to))
}

/// A function to apply to a value before the cast.
fn before_cast(from: &DataType, to: &DataType) -> Option<ScalarUDF> {
    as_number_text(from, to).or_else(|| struct_names::function(from, to))
}

fn readable(inner: Expr, to: &DataType, schema: &DFSchema) -> Result<(Expr, bool)> {
    let from = inner.get_type(schema)?;
    if matches!(from, DataType::Union(..)) {
        return plan_err!("a JSON value cannot be cast to {to}: CAST(…->>'key' AS …) reads its text");
    }
    if struct_names::named_as(&from, to).is_none() {
        return plan_err!("{from} cannot be cast to {to}");
    }
    let done = |name: &str| matches!(name, NUMBER_TEXT | DECIMAL_TEXT | struct_names::NAME);
    let is_done = matches!(&inner, Expr::ScalarFunction(call) if done(call.func.name()));
    Ok(match before_cast(&from, to).filter(|_| !is_done) {
        Some(function) => (function.call(vec![inner]), true),
        None => (inner, false),
    })
}

const NUMBER_TEXT: &str = "number_text";
const DECIMAL_TEXT: &str = "decimal_text";

/// A function that prepares a text for the CAST to a numeric type.
fn as_number_text(from: &DataType, to: &DataType) -> Option<ScalarUDF> {
    if !is_text(from) {
        return None;
    }
    let takes = || vec![TypeSignature::Exact(vec![DataType::Utf8])];
    match to {
        to if to.is_integer() || to.is_floating() => {
            Some(Own::function(NUMBER_TEXT, takes(), |_| Ok(DataType::Utf8), number_text))
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Some(Own::function(DECIMAL_TEXT, takes(), |_| Ok(DataType::Utf8), decimal_text))
        }
        _ => None,
    }
}

/// Text with spaces around it is not a number. With quotes around it the CAST still fails, and its message shows the
/// spaces.
fn number_text(args: &[ArrayRef]) -> Result<ArrayRef> {
    each(args, |text| {
        let spaced = text.starts_with(|c: char| c.is_whitespace()) || text.ends_with(|c: char| c.is_whitespace());
        spaced.then(|| format!("\"{text}\""))
    })
}

fn decimal_text(args: &[ArrayRef]) -> Result<ArrayRef> {
    each(args, |text| text.is_empty().then(|| "0".to_string()))
}

/// The texts, with some of them changed.
fn each(args: &[ArrayRef], change: impl Fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let texts = cast_array(&args[0], &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    if !texts.iter().flatten().any(|text| change(text).is_some()) {
        return Ok(Arc::new(texts.clone()));
    }
    let changed = texts.iter().map(|text| text.map(|text| change(text).unwrap_or_else(|| text.to_string())));
    Ok(Arc::new(changed.collect::<StringArray>()))
}
