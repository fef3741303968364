//! `CREATE TABLE` for Arroyo: without the options that only Baton has, and with those that mean something else there when
//! they are not given. Which those are, the connectors know.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::edited;
use crate::diag::Span;
use crate::sql::plan::PipelinePlan;
use crate::sql::statement::tokens;
use crate::sql::table::{OptionEntry, TableDef};

/// Whether Arroyo does not know an option.
#[must_use]
pub fn only_baton(key: &str) -> bool {
    key.starts_with("baton.")
}

/// The statement's text, with those of `spelled_out` that it lacks; what it leaves out is added to `left_out`.
pub fn text(
    table: &TableDef,
    spelled_out: &[(&str, &str)],
    plan: &PipelinePlan,
    left_out: &mut Vec<(String, String)>,
) -> String {
    let statement = &table.statement;
    // Arroyo's parser takes `>>` for one sign: nested types need a space.
    let mut edits: Vec<(Range<usize>, String)> =
        ends_of_types(statement).into_iter().map(|range| (range, "> >".to_string())).collect();
    let added = spelled_out.iter().filter(|(key, _)| table.option(key).is_none());
    let dropped = table.options.iter().filter(|o| only_baton(&o.key));
    if plan.tables.contains_key(&table.name) {
        left_out.extend(dropped.map(|o| (table.name.clone(), o.key.clone())));
    }
    let last_kept = table.options.iter().rposition(|o| !only_baton(&o.key));
    // What stands behind an option, its comma and comments, goes with it.
    let with_rest = |(i, o): (usize, &OptionEntry)| {
        let next = table.options.get(i + 1).filter(|_| Some(i) != last_kept);
        let end = next.map_or(o.value_span.range.end, |next| next.key_span.range.start);
        (!only_baton(&o.key)).then(|| statement.source.text[o.key_span.range.start..end].to_string())
    };
    let mut options = vec![table.options.iter().enumerate().filter_map(with_rest).collect::<String>()];
    let unchanged = !table.options.iter().any(|o| only_baton(&o.key));
    options.extend(added.map(|(key, value)| match *key {
        dotted if dotted.contains('.') => format!("'{dotted}' = '{value}'"),
        key => format!("{key} = '{value}'"),
    }));
    if let (Some(first), Some(last)) = (table.options.first(), table.options.last())
        && !(unchanged && options.len() == 1)
    {
        let range = first.key_span.range.start..last.value_span.range.end;
        edits.push((range, options.join(",\n  ")));
    }
    edited(statement, edits)
}

/// Each `>>` that ends two types; the others shift bits.
fn ends_of_types(statement: &Span) -> Vec<Range<usize>> {
    let tokens = tokens(statement);
    let of_type = |token: &Token| matches!(token, Token::Word(w) if ["struct", "array"].iter().any(|t| w.value.eq_ignore_ascii_case(t)));
    let mut open = 0_usize;
    let mut found = Vec::new();
    for (i, (token, range)) in tokens.iter().enumerate() {
        match token {
            Token::Lt if i > 0 && of_type(&tokens[i - 1].0) => open += 1,
            Token::Gt => open = open.saturating_sub(1),
            Token::ShiftRight if open > 0 => {
                open = open.saturating_sub(2);
                found.push(range.clone());
            }
            _ => {}
        }
    }
    found
}
