//! INSERTs: casts the columns of the query to those of the table.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::lit;

use super::Planner;
use crate::diag::{Code, Diagnostic, nearest};
use crate::sql::definition::InsertDef;
use crate::sql::table::{ColumnDef, ColumnKind, JSON_FIELD, TableDef};
use crate::sql::{as_identifier, functions, types};

impl Planner {
    /// The query of an INSERT with its columns cast to the table's: by position, or in the order that the INSERT lists.
    /// A column that the list omits is NULL.
    pub(super) async fn insert(&mut self, insert: &InsertDef, table: &TableDef) -> Option<LogicalPlan> {
        let plan = self.query(&insert.query, &insert.span).await?;
        let fitted = self.fit(plan.clone(), insert, table);
        if fitted.is_none() {
            self.recovered.push((plan, insert.span.clone()));
        }
        fitted
    }

    fn fit(&mut self, plan: LogicalPlan, insert: &InsertDef, table: &TableDef) -> Option<LogicalPlan> {
        // The connector rejects metadata columns of a sink and reports why.
        let targets: Vec<&ColumnDef> =
            if table.is_both_ways() { table.write_columns().collect() } else { table.columns.iter().collect() };
        let names: Vec<&str> = targets.iter().map(|c| c.name.as_str()).collect();
        let listed: Vec<&str> = match insert.columns.as_slice() {
            [] => names.clone(),
            list => list.iter().map(String::as_str).collect(),
        };
        if !self.known_columns(insert, &listed, &names) {
            return None;
        }
        let columns = plan.schema().columns();
        if columns.len() != listed.len() {
            // The planner makes up names for unnamed expressions.
            let given: Vec<&str> = columns.iter().map(|c| if c.name.contains('(') { "…" } else { &c.name }).collect();
            let takes = if insert.columns.is_empty() { "has" } else { "is given" };
            self.errors.push(
                Diagnostic::new(
                    Code::INSERT_COLUMNS,
                    format!("`{}` {takes} {} columns, but the SELECT has {}", table.name, listed.len(), columns.len()),
                )
                .at(insert.table_span.clone())
                .help(format!(
                    "it takes ({}); the SELECT gives ({})",
                    listed.join(", "),
                    given.join(", ")
                )),
            );
            return None;
        }
        let schema = Arc::clone(plan.schema());
        let mut exprs = Vec::with_capacity(names.len());
        for target in targets {
            let Some(i) = listed.iter().position(|name| *name == target.name) else {
                exprs.push(
                    functions::cast(lit(ScalarValue::Null), &DataType::Null, &target.data_type).alias(&target.name),
                );
                continue;
            };
            let column = &columns[i];
            let expr = Expr::Column(column.clone());
            let from = schema.field(i).data_type();
            if from == &target.data_type {
                exprs.push(expr.alias(&target.name));
            } else if functions::castable(from, &target.data_type) {
                exprs.push(functions::cast(expr, from, &target.data_type).alias(&target.name));
            } else {
                self.errors.push(
                    Diagnostic::new(
                        Code::TYPE_MISMATCH,
                        format!(
                            "column {} of the SELECT (`{}`) is {}, but `{}` of `{}` is {}",
                            i + 1,
                            column.name,
                            types::to_sql(from),
                            target.name,
                            table.name,
                            types::to_sql(&target.data_type)
                        ),
                    )
                    .at(insert.span.clone())
                    .help("INSERT goes by position: check the order of the columns"),
                );
            }
        }
        if exprs.len() < names.len() {
            return None;
        }
        self.project(plan, exprs, &insert.span)
    }

    /// The columns of an INSERT's query, for a table that declares none.
    pub(super) async fn columns_of(&mut self, insert: &InsertDef) -> Option<Vec<ColumnDef>> {
        let plan = self.query(&insert.query, &insert.span).await?;
        let fields = plan.schema().fields().iter();
        let before = self.errors.len();
        for field in fields.clone().filter(|f| matches!(f.data_type(), DataType::Union(..))) {
            let message = format!("`{}` is a JSON value, which no column can be", field.name());
            let error = Diagnostic::new(Code::TYPE_MISMATCH, message).at(insert.span.clone());
            self.errors.push(error.help("write `->>` for its text, or `CAST(… AS BIGINT)` around it"));
        }
        if self.errors.len() > before {
            return None;
        }
        Some(
            fields
                .map(|field| ColumnDef {
                    name: field.name().clone(),
                    span: insert.span.clone(),
                    data_type: field.data_type().clone(),
                    json: field.metadata().contains_key(JSON_FIELD),
                    nullable: true,
                    kind: ColumnKind::Data,
                })
                .collect(),
        )
    }

    pub(super) fn other_columns(&mut self, insert: &InsertDef, table: &TableDef) {
        let columns: Vec<String> =
            table.columns.iter().map(|c| format!("{} {}", c.name, types::to_sql(&c.data_type))).collect();
        self.errors.push(
            Diagnostic::new(
                Code::INSERT_COLUMNS,
                format!(
                    "`{}` is declared without columns, and this INSERT gives other ones than the first",
                    insert.table
                ),
            )
            .at(insert.table_span.clone())
            .help(format!("the first gives ({}); declare the columns in CREATE TABLE", columns.join(", "))),
        );
    }

    /// Whether the columns that an INSERT lists are the table's, each at most once.
    fn known_columns(&mut self, insert: &InsertDef, listed: &[&str], names: &[&str]) -> bool {
        let before = self.errors.len();
        for (i, name) in listed.iter().enumerate() {
            let (message, help) = if !names.contains(name) {
                let near = nearest(name, names.iter().copied());
                let help = near.map_or_else(
                    || format!("its columns are {}", names.join(", ")),
                    |near| format!("did you mean `{}`?", as_identifier(near)),
                );
                (format!("`{}` has no column `{name}`", insert.table), help)
            } else if listed[..i].contains(name) {
                (format!("column `{name}` is listed twice"), "remove one of them".to_string())
            } else {
                continue;
            };
            self.errors.push(Diagnostic::new(Code::INSERT_COLUMNS, message).at(insert.table_span.clone()).help(help));
        }
        self.errors.len() == before
    }

    pub(super) fn not_a_table(&mut self, insert: &InsertDef) {
        let constant = self.constants.is_constant(&insert.table);
        let (message, help) = if constant {
            (
                format!("`{}` is a constant table: its rows are in VALUES", insert.table),
                "give the table a connector, or another name",
            )
        } else {
            (format!("`{}` is a view, which cannot be inserted into", insert.table), "INSERT INTO a table")
        };
        self.errors.push(Diagnostic::new(Code::TABLE_DIRECTION, message).at(insert.table_span.clone()).help(help));
    }
}

/// Whether two lists of columns are the same, for tables without declared columns.
pub(super) fn same_columns(a: &[ColumnDef], b: &[ColumnDef]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name == b.name && a.data_type == b.data_type)
}
