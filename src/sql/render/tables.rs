//! `CREATE TABLE` for Arroyo: without the options that only Baton has, and with those whose default differs.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{edited, tokens};
use crate::sql::plan::PipelinePlan;
use crate::sql::table::TableDef;

/// Options that Arroyo misses, or takes for something else, when they are not given: connector, direction, and what Baton
/// does.
const DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("kafka", "source", "type", "source"),
    ("kafka", "sink", "type", "sink"),
    ("single_file", "source", "type", "source"),
    ("single_file", "sink", "type", "sink"),
    // Arroyo reads what transactions that were aborted have written.
    ("kafka", "source", "source.read_mode", "read_committed"),
    // Arroyo waits for a control message after each line.
    ("single_file", "source", "wait_for_control", "false"),
];

/// Whether Arroyo does not know an option.
#[must_use]
pub fn only_baton(key: &str) -> bool {
    key.starts_with("baton.")
}

/// The statement's text; what it leaves out is added to `left_out`.
pub fn text(table: &TableDef, plan: &PipelinePlan, left_out: &mut Vec<(String, String)>) -> String {
    let statement = &table.statement;
    // Arroyo's parser takes `>>` for one sign: nested types need a space.
    let shifts = tokens(statement).into_iter().filter(|(token, _)| *token == Token::ShiftRight);
    let mut edits: Vec<_> = shifts.map(|(_, range)| (range, "> >".to_string())).collect();
    let value = |key: &str| table.option(key).map_or("", |o| o.value.as_str());
    let direction = if plan.sinks.iter().any(|s| s.table == table.name) { "sink" } else { "source" };
    let added = DEFAULTS.iter().filter(|(connector, side, key, _)| {
        *connector == value("connector") && *side == direction && table.option(key).is_none()
    });
    let kept = table.options.iter().filter(|o| !only_baton(&o.key));
    let dropped = table.options.iter().filter(|o| only_baton(&o.key));
    if plan.tables.contains_key(&table.name) {
        left_out.extend(dropped.map(|o| (table.name.clone(), o.key.clone())));
    }
    let mut options: Vec<String> =
        kept.map(|o| statement.source.text[o.key_span.range.start..o.value_span.range.end].to_string()).collect();
    let unchanged = options.len() == table.options.len();
    options.extend(added.map(|(_, _, key, value)| match *key {
        plain if !plain.contains('.') => format!("{plain} = '{value}'"),
        key => format!("'{key}' = '{value}'"),
    }));
    if let (Some(first), Some(last)) = (table.options.first(), table.options.last())
        && !(unchanged && options.len() == table.options.len())
    {
        let range = first.key_span.range.start..last.value_span.range.end;
        edits.push((range, options.join(",\n  ")));
    }
    edited(statement, edits)
}
