//! Splits a query into its SELECTs: what each one reads, under which conditions, and which async UDFs it calls.
//!
//! `WITH`, subqueries in FROM and UNION ALL are resolved here, so that a branch names tables and views alone.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Condition;
use crate::diag::Span;
use crate::sql::name_of;
use crate::sql::statement::{to_span, tokens};

/// A path of rows from a table or view to the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    /// The table or view.
    pub reads: String,
    /// What happens to its rows, in order.
    pub steps: Vec<Step>,
}

/// A step on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A filter.
    Where(Condition),
    /// A call of an async UDF for each row.
    Call(String),
}

/// The branches of a statement's query, in its order.
pub(super) fn branches(query: &Query, statement: &Span, is_async: &dyn Fn(&str) -> bool) -> Vec<Branch> {
    Reader { statement, tokens: tokens(statement), is_async }.query(query, &Scope::new())
}

/// The names of `WITH` and their branches.
type Scope = HashMap<String, Vec<Branch>>;

struct Reader<'a> {
    statement: &'a Span,
    tokens: Vec<(Token, Range<usize>)>,
    is_async: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn query(&self, query: &Query, outer: &Scope) -> Vec<Branch> {
        let mut scope = outer.clone();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let branches = self.query(&cte.query, &scope);
            scope.insert(name_of(&cte.alias.name), branches);
        }
        let mut found = Vec::new();
        // A long UNION ALL is a deep tree, so this is a loop.
        let mut open = vec![query.body.as_ref()];
        while let Some(body) = open.pop() {
            match body {
                SetExpr::Select(select) => add(&mut found, self.select(select, &scope)),
                SetExpr::Query(query) => add(&mut found, self.query(query, &scope)),
                SetExpr::SetOperation { left, right, .. } => open.extend([right.as_ref(), left.as_ref()]),
                SetExpr::Table(table) => {
                    add(&mut found, table.table_name.iter().flat_map(|name| named(&name.to_lowercase(), &scope)));
                }
                _ => {}
            }
        }
        found
    }

    fn select(&self, select: &Select, scope: &Scope) -> Vec<Branch> {
        let mut steps: Vec<Step> = self.condition(select).into_iter().map(Step::Where).collect();
        steps.extend(self.calls(select).into_iter().map(Step::Call));
        let mut found = Vec::new();
        for from in &select.from {
            add(&mut found, self.from(from, scope));
        }
        for branch in &mut found {
            branch.steps.extend(steps.iter().cloned());
        }
        found
    }

    fn from(&self, from: &TableWithJoins, scope: &Scope) -> Vec<Branch> {
        let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
        let mut found = Vec::new();
        for factor in factors {
            match factor {
                TableFactor::Table { name, .. } => {
                    let ident = name.0.last().and_then(|part| part.as_ident());
                    add(&mut found, ident.iter().flat_map(|ident| named(&name_of(ident), scope)));
                }
                TableFactor::Derived { subquery, .. } => add(&mut found, self.query(subquery, scope)),
                TableFactor::NestedJoin { table_with_joins, .. } => add(&mut found, self.from(table_with_joins, scope)),
                _ => {}
            }
        }
        found
    }

    /// The WHERE of a SELECT, as its author wrote it.
    fn condition(&self, select: &Select) -> Option<Condition> {
        let condition = select.selection.as_ref()?;
        let is_alternative = matches!(condition, Expr::BinaryOp { op: BinaryOperator::Or | BinaryOperator::Xor, .. });
        let text = self.written(select).unwrap_or_else(|| condition.to_string());
        Some(Condition::Where { text, is_alternative })
    }

    /// The text between the WHERE of a SELECT and its end, with white space and comments folded.
    fn written(&self, select: &Select) -> Option<String> {
        let start = to_span(&self.statement.source, select.select_token.0.span)?.range.start;
        let first = self.tokens.iter().position(|(_, place)| place.start == start)?;
        let mut depth = 0_usize;
        let mut text: Option<String> = None;
        let mut end = 0;
        for (token, place) in &self.tokens[first..] {
            let keyword = match token {
                Token::Word(word) if word.quote_style.is_none() => word.keyword,
                _ => Keyword::NoKeyword,
            };
            match token {
                Token::RParen if depth == 0 => break,
                _ if depth == 0 && keyword == Keyword::UNION => break,
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if let Some(text) = &mut text {
                if !text.is_empty() && place.start > end {
                    text.push(' ');
                }
                text.push_str(&folded(&self.statement.source.text[place.clone()]));
            } else if depth == 0 && keyword == Keyword::WHERE {
                text = Some(String::new());
            }
            end = place.end;
        }
        text.filter(|text| !text.is_empty())
    }

    /// The async UDFs in the list of a SELECT.
    fn calls(&self, select: &Select) -> Vec<String> {
        struct Calls<'a> {
            is_async: &'a dyn Fn(&str) -> bool,
            found: Vec<String>,
        }
        impl Visitor for Calls<'_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                if let Expr::Function(function) = expr
                    && let Some(ident) = function.name.0.last().and_then(|part| part.as_ident())
                    && (self.is_async)(&name_of(ident))
                {
                    self.found.push(name_of(ident));
                }
                ControlFlow::Continue(())
            }
        }
        let mut calls = Calls { is_async: self.is_async, found: Vec::new() };
        let _ = select.projection.visit(&mut calls);
        calls.found
    }
}

/// The branches of a name in FROM: a part of `WITH`, or a table or view.
fn named(name: &str, scope: &Scope) -> Vec<Branch> {
    let table = || vec![Branch { reads: name.to_string(), steps: Vec::new() }];
    scope.get(name).cloned().unwrap_or_else(table)
}

/// Adds branches that are not there yet.
fn add(found: &mut Vec<Branch>, more: impl IntoIterator<Item = Branch>) {
    for branch in more {
        if !found.contains(&branch) {
            found.push(branch);
        }
    }
}

/// A token on one line. A quoted text may span several.
fn folded(token: &str) -> String {
    if token.contains('\n') { token.split_whitespace().collect::<Vec<_>>().join(" ") } else { token.to_string() }
}
