//! Finds the arguments of a UDF call that are constant texts: a literal in the call, or a column that a view below
//! defines as a literal.
//!
//! Errors in such a text can be reported before a row is read. Values that depend on a row are not checked.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::plan::PipelinePlan;
use super::statement::tokens;
use crate::diag::Span;

/// A call of a UDF in a pipeline.
#[derive(Debug)]
pub struct UdfCall<'a> {
    /// The UDF's name.
    pub udf: String,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// The statement in which it stands.
    pub statement: &'a Span,
    node: &'a LogicalPlan,
}

/// The constant texts that an argument can be.
#[derive(Debug, Default)]
pub struct Texts {
    /// Each text or NULL, and the statement that contains it.
    pub known: Vec<(Option<String>, Span)>,
    /// Whether the argument can have other values too.
    pub others: bool,
}

/// Every call of the UDFs for which `wanted` is true.
#[must_use]
pub fn calls(plan: &PipelinePlan, wanted: impl Fn(&str) -> bool) -> Vec<UdfCall<'_>> {
    let relations = plan.relations.values().map(|r| (&r.plan, &r.statement));
    let mut found = Vec::new();
    let sinks = plan.sinks.iter().map(|s| (&s.plan, &s.span));
    let recovered = plan.recovered.iter().map(|(plan, statement)| (plan, statement));
    for (plan, statement) in relations.chain(sinks).chain(recovered) {
        // Visiting fails only if the closure fails.
        let _ = plan.apply(|node| {
            node.apply_expressions(|e| {
                e.apply(|e| {
                    if let Expr::ScalarFunction(ScalarFunction { func, args }) = e
                        && wanted(func.name())
                    {
                        let (udf, arguments) = (func.name().to_string(), args.clone());
                        found.push(UdfCall { udf, arguments, statement, node });
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
    }
    found
}

impl UdfCall<'_> {
    /// The possible values of an argument, as far as they are constant text.
    #[must_use]
    pub fn texts(&self, argument: usize, plan: &PipelinePlan) -> Texts {
        let mut texts = Texts::default();
        if let Some(argument) = self.arguments.get(argument) {
            Search { plan, texts: &mut texts }.expr(argument, self.node.inputs().first().copied(), self.statement);
        }
        texts
    }

    /// The place of its name if the statement has the name once, else the statement.
    #[must_use]
    pub fn place(&self) -> Span {
        let is_name = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(&self.udf));
        only(self.statement, is_name).unwrap_or_else(|| self.statement.clone())
    }
}

/// The place of a text literal if a statement has it once.
#[must_use]
pub fn place_of_text(text: &str, statement: &Span) -> Option<Span> {
    only(statement.written(), |token| match token {
        Token::SingleQuotedString(literal) | Token::EscapedStringLiteral(literal) => literal == text,
        Token::DollarQuotedString(literal) => literal.value == text,
        _ => false,
    })
}

fn only(statement: &Span, is_it: impl Fn(&Token) -> bool) -> Option<Span> {
    let tokens = tokens(statement);
    let mut found = tokens.iter().filter(|(token, _)| is_it(token));
    let (_, range) = found.next()?;
    found.next().is_none().then(|| Span::new(&statement.source, range.clone()))
}

struct Search<'a> {
    plan: &'a PipelinePlan,
    texts: &'a mut Texts,
}

impl Search<'_> {
    fn found(&mut self, text: Option<String>, statement: &Span) {
        let found = (text, statement.clone());
        if !self.texts.known.contains(&found) {
            self.texts.known.push(found);
        }
    }

    /// An expression over the rows of `input`.
    fn expr(&mut self, expr: &Expr, input: Option<&LogicalPlan>, statement: &Span) {
        match expr {
            Expr::Alias(alias) => self.expr(&alias.expr, input, statement),
            Expr::Cast(cast) => self.expr(&cast.expr, input, statement),
            Expr::Literal(value, _) => match value {
                ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
                    self.found(text.clone(), statement);
                }
                value if value.is_null() => self.found(None, statement),
                _ => self.texts.others = true,
            },
            Expr::Case(case) => {
                for (_, then) in &case.when_then_expr {
                    self.expr(then, input, statement);
                }
                match &case.else_expr {
                    Some(otherwise) => self.expr(otherwise, input, statement),
                    None => self.found(None, statement),
                }
            }
            Expr::Column(column) => {
                match input.and_then(|input| Some((input, input.schema().maybe_index_of_column(column)?))) {
                    Some((input, index)) => self.column(input, index, statement),
                    None => self.texts.others = true,
                }
            }
            _ => self.texts.others = true,
        }
    }

    /// A column of a plan's output.
    fn column(&mut self, plan: &LogicalPlan, index: usize, statement: &Span) {
        match plan {
            LogicalPlan::Projection(projection) => {
                self.expr(&projection.expr[index], Some(&projection.input), statement);
            }
            LogicalPlan::Filter(filter) => self.column(&filter.input, index, statement),
            LogicalPlan::SubqueryAlias(alias) => self.column(&alias.input, index, statement),
            LogicalPlan::Union(union) => {
                for input in &union.inputs {
                    self.column(input, index, statement);
                }
            }
            LogicalPlan::Unnest(unnest) => self.column(&unnest.input, unnest.dependency_indices[index], statement),
            LogicalPlan::TableScan(scan) => {
                let index = scan.projection.as_ref().map_or(index, |columns| columns[index]);
                match self.plan.relations.get(scan.table_name.table()) {
                    Some(relation) => self.column(&relation.plan, index, &relation.statement),
                    None => self.texts.others = true,
                }
            }
            _ => self.texts.others = true,
        }
    }
}
