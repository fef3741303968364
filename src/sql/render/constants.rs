//! Replaces subqueries over constant tables by literals: Arroyo has no constant tables.

use std::collections::BTreeSet;
use std::ops::Range;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{edited, refused};
use crate::diag::{Diagnostic, Span};
use crate::sql::constants::evaluate;
use crate::sql::dialect::PipelineDialect;
use crate::sql::resolve::relations;
use crate::sql::statement::tokens;
use crate::sql::{errors, types};

/// The text of a statement with other edits, and a literal for each subquery that reads only `constants`.
///
/// # Errors
/// A value that cannot be written as a literal.
pub async fn fold(
    statement: &Span,
    mut edits: Vec<(Range<usize>, String)>,
    constants: &BTreeSet<String>,
    context: &SessionContext,
) -> Result<String, Diagnostic> {
    for found in subqueries(statement, constants) {
        let at = Span::new(&statement.source, found.range.clone());
        let select = DfStatement::Statement(Box::new(Statement::Query(found.query)));
        let evaluated = async {
            let plan = context.state().statement_to_plan(select).await?;
            let nothing = ScalarValue::try_from(plan.schema().field(0).data_type())?;
            Ok((evaluate(context, &plan).await?, nothing))
        };
        let (mut values, nothing) = evaluated.await.map_err(|e| {
            let e: DataFusionError = e;
            let mut known = errors::to_diagnostics(&e, &at);
            known.pop().unwrap_or_else(|| refused(&at, "this subquery cannot be evaluated".into(), "rewrite it"))
        })?;
        if values.is_empty() && !found.is_list {
            values.push(nothing);
        }
        let literals = values.iter().map(|value| literal(value).ok_or_else(|| no_literal(&at, value)));
        let literals = literals.collect::<Result<Vec<_>, _>>()?;
        let text = match (found.is_list, literals.as_slice()) {
            (true, []) => {
                return Err(refused(&at, "this IN has no values".into(), "leave the condition out, or add rows"));
            }
            (true, values) => format!("({})", values.join(", ")),
            // It has one value, or the planner would have rejected it.
            (false, values) => values.join(", "),
        };
        // A literal must not touch a word before or after it.
        let around = &statement.source.text;
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let before = if word(around[..found.range.start].chars().next_back()) { " " } else { "" };
        let after = if word(around[found.range.end..].chars().next()) { " " } else { "" };
        edits.push((found.range, format!("{before}{text}{after}")));
    }
    let folded = edited(statement, edits);
    if let Some(left) = read_still(&folded, statement, constants) {
        let message = format!("the constant table `{left}` is read in a WITH");
        return Err(refused(statement, message, "read it in the subquery itself: `(SELECT json_agg(…) FROM …)`"));
    }
    Ok(folded)
}

/// A constant table that the folded text still reads.
fn read_still(folded: &str, statement: &Span, constants: &BTreeSet<String>) -> Option<String> {
    let parsed = Parser::new(&PipelineDialect).try_with_sql(folded).and_then(|mut p| p.parse_statement());
    let mut parsed = parsed.ok()?;
    let query = super::calls::query_of(&mut parsed)?;
    relations(query, statement).into_iter().map(|(name, _)| name).find(|name| constants.contains(name))
}

struct Subquery {
    /// From `(` to `)`.
    range: Range<usize>,
    query: Box<Query>,
    /// Whether it follows IN.
    is_list: bool,
}

fn subqueries(statement: &Span, constants: &BTreeSet<String>) -> Vec<Subquery> {
    let tokens = tokens(statement);
    // A name in WITH hides a constant table.
    let hidden: BTreeSet<String> = tokens
        .windows(3)
        .filter(|w| is_word(&w[1].0, "as") && w[2].0 == Token::LParen)
        .filter_map(|w| match &w[0].0 {
            Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
            Token::Word(word) => Some(word.value.to_lowercase()),
            _ => None,
        })
        .collect();
    let mut found: Vec<Subquery> = Vec::new();
    for (i, (token, range)) in tokens.iter().enumerate() {
        let inside_another = found.last().is_some_and(|last| range.start < last.range.end);
        let is_body = i > 0 && is_word(&tokens[i - 1].0, "as");
        let opens = *token == Token::LParen && tokens.get(i + 1).is_some_and(|(t, _)| opens_query(t));
        if !opens || is_body || inside_another {
            continue;
        }
        let Some(end) = closing(&tokens[i..]) else { continue };
        let text = &statement.source.text[range.end..end.start];
        let parsed = Parser::new(&PipelineDialect).try_with_sql(text).and_then(|mut p| p.parse_query());
        let Ok(query) = parsed else { continue };
        let read = relations(&query, statement);
        if !read.is_empty() && read.iter().all(|(name, _)| constants.contains(name) && !hidden.contains(name)) {
            let is_list = i > 0 && is_word(&tokens[i - 1].0, "in");
            found.push(Subquery { range: range.start..end.end, query, is_list });
        }
    }
    found
}

fn opens_query(token: &Token) -> bool {
    is_word(token, "select") || is_word(token, "with")
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// The end of the bracket that the first token opens.
fn closing(tokens: &[(Token, Range<usize>)]) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    for (token, range) in tokens {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return Some(range.clone());
                }
            }
            _ => {}
        }
    }
    None
}

/// A value as SQL; `None` if SQL has no literal for it.
fn literal(value: &ScalarValue) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    Some(match value {
        value if value.is_null() => match value.data_type() {
            DataType::Null => "NULL".into(),
            data_type if data_type.is_nested() => return None,
            data_type => format!("CAST(NULL AS {})", types::to_sql(&data_type)),
        },
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            quoted(text)
        }
        ScalarValue::Boolean(Some(value)) => value.to_string(),
        ScalarValue::Int64(Some(value)) if *value >= 0 => value.to_string(),
        ScalarValue::Float64(Some(value)) if value.is_finite() && value.is_sign_positive() => format!("{value:?}"),
        value if value.data_type().is_nested() => return None,
        value => match value.cast_to(&DataType::Utf8) {
            Ok(ScalarValue::Utf8(Some(text))) => {
                format!("CAST({} AS {})", quoted(&text), types::to_sql(&value.data_type()))
            }
            _ => return None,
        },
    })
}

fn no_literal(at: &Span, value: &ScalarValue) -> Diagnostic {
    let message = format!("this subquery gives {}, which SQL has no literal for", types::to_sql(&value.data_type()));
    refused(at, message, "make one text of it: `(SELECT json_agg(…) FROM …)`")
}
