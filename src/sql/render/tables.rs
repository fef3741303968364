//! `CREATE TABLE` for Arroyo, in one direction each. Baton's own options are left out. Options whose default differs on
//! Arroyo are written out; the connectors know which.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{SpelledOut, Use, edited, topics};
use crate::diag::Span;
use crate::sql::definition::InsertDef;
use crate::sql::plan::PipelinePlan;
use crate::sql::resolve::PipelineText;
use crate::sql::statement::tokens;
use crate::sql::table::{ColumnDef, ColumnKind, OptionEntry, TableDef};
use crate::sql::{as_identifier, types};

/// Whether Arroyo does not have an option.
#[must_use]
pub fn only_baton(key: &str) -> bool {
    key.starts_with("baton.")
}

/// How a pipeline uses each table, and the table's name for each use.
pub struct Uses {
    read: HashSet<String>,
    written: HashSet<String>,
    /// The sink names of tables that are also read.
    twins: BTreeMap<String, String>,
}

impl Uses {
    /// Looks at all statements of a pipeline.
    pub fn of(text: &PipelineText, plan: &PipelinePlan) -> Self {
        let read = text.tables_read();
        let written: HashSet<String> = text.inserts.iter().map(|insert| insert.table.clone()).collect();
        let is_free = |name: &String| !plan.tables.contains_key(name) && !plan.relations.contains_key(name);
        let twin = |table: &String| {
            let names = (0..).map(|n| format!("{table}_sink{}", "_".repeat(n)));
            Some((table.clone(), names.into_iter().find(is_free)?))
        };
        let twins =
            read.intersection(&written).filter(|name| plan.tables.contains_key(*name)).filter_map(twin).collect();
        Self { read, written, twins }
    }

    /// The edit that makes an INSERT write to the sink of a table that is also read.
    pub fn renamed(&self, insert: &InsertDef, table: &TableDef) -> Option<(Range<usize>, String)> {
        let twin = self.twins.get(&table.name)?;
        Some((insert.table_span.range.clone(), as_identifier(twin)))
    }
}

/// The text of a table's statement for Arroyo: two statements if it is read and written, one for each topic if it is a
/// sink with many topics. Omitted options are added to `left_out`.
pub fn text(
    table: &TableDef,
    uses: &Uses,
    spelled_out: SpelledOut<'_>,
    plan: &PipelinePlan,
    left_out: &mut Vec<(String, String)>,
) -> String {
    if plan.tables.contains_key(&table.name) {
        let dropped = table.options.iter().filter(|o| only_baton(&o.key));
        left_out.extend(dropped.map(|o| (table.name.clone(), o.key.clone())));
    }
    let mut statements = Vec::new();
    let written = uses.written.contains(&table.name);
    if uses.read.contains(&table.name) {
        statements.push(one_way(table, &table.name, Use::Source, spelled_out(table, Use::Source), &[]));
    }
    for topic in table.agent_topics.iter().filter(|_| written) {
        let name = topics::table_name(table, topic);
        statements.push(one_way(table, &name, Use::Sink, spelled_out(table, Use::Sink), &[("topic", topic.as_str())]));
    }
    if written && table.agent_topics.is_empty() {
        let name = uses.twins.get(&table.name).unwrap_or(&table.name);
        statements.push(one_way(table, name, Use::Sink, spelled_out(table, Use::Sink), &[]));
    }
    if statements.is_empty() {
        // The table is only there to be checked.
        statements.push(edited_text(table, spelled_out(table, Use::Sink)));
    }
    statements.join(";\n\n")
}

/// A table in one direction: the author's text if it has nothing for the other direction.
fn one_way(table: &TableDef, name: &str, used: Use, spelled_out: &[(&str, &str)], more: &[(&str, &str)]) -> String {
    let columns: Vec<&ColumnDef> = match used {
        Use::Source => table.read_columns().collect(),
        Use::Sink => table.columns.iter().filter(|column| column.kind == ColumnKind::Data).collect(),
    };
    let other_way = match used {
        Use::Source => "sink.",
        Use::Sink => "source.",
    };
    let is_kept = |key: &str| !only_baton(key) && !key.starts_with(other_way);
    let is_plain = name == table.name
        && more.is_empty()
        && columns.len() == table.columns.len()
        && table.options.iter().all(|option| only_baton(&option.key) || is_kept(&option.key));
    if is_plain || !table.is_both_ways() {
        return edited_text(table, spelled_out);
    }
    let columns: Vec<String> = columns.into_iter().map(column_text).collect();
    let mut options: Vec<String> = table
        .options
        .iter()
        .filter(|option| is_kept(&option.key))
        .map(|option| {
            let value = if option.quoted { quoted(&option.value) } else { option.value.clone() };
            option_text(&option.key, &value)
        })
        .collect();
    let lacking = spelled_out.iter().filter(|(key, _)| table.option(key).is_none());
    options.extend(more.iter().chain(lacking).map(|(key, value)| option_text(key, &quoted(value))));
    let (columns, options) = (columns.join(",\n  "), options.join(",\n  "));
    format!("CREATE TABLE {} (\n  {columns}\n) WITH (\n  {options}\n)", as_identifier(name))
}

fn column_text(column: &ColumnDef) -> String {
    let data_type = if column.json { "JSON".into() } else { types::to_sql(&column.data_type).replace(">>", "> >") };
    let not_null = if column.nullable { "" } else { " NOT NULL" };
    let from = match &column.kind {
        ColumnKind::Data => String::new(),
        ColumnKind::Metadata(name) => format!(" METADATA FROM {}", quoted(name)),
        ColumnKind::Generated(expr) => format!(" GENERATED ALWAYS AS ({expr})"),
    };
    format!("{} {data_type}{not_null}{from}", as_identifier(&column.name))
}

fn option_text(key: &str, value: &str) -> String {
    if key.contains('.') { format!("'{key}' = {value}") } else { format!("{key} = {value}") }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The author's text without Baton's own options, plus the missing ones of `spelled_out`.
fn edited_text(table: &TableDef, spelled_out: &[(&str, &str)]) -> String {
    let statement = &table.statement;
    // Arroyo's parser reads `>>` as one operator, so nested types need a space.
    let mut edits: Vec<(Range<usize>, String)> =
        ends_of_types(statement).into_iter().map(|range| (range, "> >".to_string())).collect();
    let added = spelled_out.iter().filter(|(key, _)| table.option(key).is_none());
    let last_kept = table.options.iter().rposition(|o| !only_baton(&o.key));
    // The comma and the comments after an option go with it.
    let with_rest = |(i, o): (usize, &OptionEntry)| {
        let next = table.options.get(i + 1).filter(|_| Some(i) != last_kept);
        let end = next.map_or(o.value_span.range.end, |next| next.key_span.range.start);
        (!only_baton(&o.key)).then(|| statement.source.text[o.key_span.range.start..end].to_string())
    };
    let mut options = vec![table.options.iter().enumerate().filter_map(with_rest).collect::<String>()];
    let unchanged = !table.options.iter().any(|o| only_baton(&o.key));
    options.extend(added.map(|(key, value)| option_text(key, &quoted(value))));
    if let (Some(first), Some(last)) = (table.options.first(), table.options.last())
        && !(unchanged && options.len() == 1)
    {
        let range = first.key_span.range.start..last.value_span.range.end;
        edits.push((range, options.join(",\n  ")));
    }
    edited(statement, edits)
}

/// Each `>>` that closes two types. Others are bit shifts.
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
