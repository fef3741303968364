//! A sink whose rows each name their topic. A sink in Arroyo has one topic, so the rows become a view, and each topic
//! gets a table and an INSERT that selects its rows. ([`tables`](super::tables) writes the tables.)

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::sql::as_identifier;
use crate::sql::definition::InsertDef;
use crate::sql::statement::tokens;
use crate::sql::table::{ColumnKind, TableDef};

/// The name of the table for one topic. Topics that differ only in `.`, `-` and `_` get names of their own, and so does
/// a topic `rows`, which is the name of the view.
pub fn table_name(table: &TableDef, topic: &str) -> String {
    let plain = |topic: &str| topic.replace(['.', '-'], "_");
    let name = plain(topic);
    let earlier = table.agent_topics.iter().take_while(|other| *other != topic);
    let same = earlier.filter(|other| plain(other) == name).count() + usize::from(name == "rows");
    format!("{}_{name}{}", table.name, "_".repeat(same))
}

/// The edit that turns the INSERT's rows into a view.
pub fn as_view(insert: &InsertDef, table: &TableDef, view: &str) -> (Range<usize>, String) {
    let columns: Vec<String> = given(insert, table).iter().map(|name| as_identifier(name)).collect();
    let head = format!("CREATE VIEW {} ({}) AS\n", as_identifier(view), columns.join(", "));
    (insert.span.range.start..query_start(insert), head)
}

/// One INSERT for each topic.
pub fn inserts(insert: &InsertDef, table: &TableDef, view: &str) -> String {
    let is_topic = |name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name);
        column.is_some_and(|column| matches!(column.kind, ColumnKind::Metadata(_)))
    };
    let (topic, others): (Vec<String>, Vec<String>) = given(insert, table).into_iter().partition(is_topic);
    let topic = topic.first().map_or_else(|| "NULL".into(), |name| as_identifier(name));
    let columns = others.iter().map(|name| as_identifier(name)).collect::<Vec<_>>().join(", ");
    let each = table.agent_topics.iter().map(|name| {
        let target = as_identifier(&table_name(table, name));
        let view = as_identifier(view);
        format!("INSERT INTO {target} ({columns})\nSELECT {columns} FROM {view} WHERE {topic} = '{name}'")
    });
    each.collect::<Vec<_>>().join(";\n\n")
}

/// The columns of an INSERT, in its order.
fn given(insert: &InsertDef, table: &TableDef) -> Vec<String> {
    if insert.columns.is_empty() {
        table.write_columns().map(|column| column.name.clone()).collect()
    } else {
        insert.columns.clone()
    }
}

/// The start of the query, after the table's name and the list of columns.
fn query_start(insert: &InsertDef) -> usize {
    let tokens = tokens(&insert.span);
    let mut behind = tokens.iter().skip_while(|(_, range)| range.start < insert.table_span.range.end).peekable();
    if !insert.columns.is_empty() {
        // The list has only names.
        while behind.next_if(|(token, _)| *token != Token::RParen).is_some() {}
        behind.next();
    }
    behind.next().map_or(insert.span.range.end, |(_, range)| range.start)
}
