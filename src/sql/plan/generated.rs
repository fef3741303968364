//! `GENERATED ALWAYS AS` columns: a plan over the columns that the connector gives.

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::{Planner, physical_schema};
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::table::{ColumnKind, TableDef};
use crate::sql::{check, errors, functions};

impl Planner {
    /// The first generated column that cannot be planned by itself.
    async fn wrong_generated(&self, table: &TableDef) -> Option<Span> {
        self.register(&table.name, &physical_schema(table));
        let mut found = None;
        for column in &table.columns {
            if let ColumnKind::Generated(expr) = &column.kind
                && found.is_none()
            {
                let text = format!("SELECT ({expr}) FROM \"{}\"", table.name.replace('"', "\"\""));
                let plan = self.context.state().create_logical_plan(&text).await.and_then(|plan| self.analyze(plan));
                found = plan.is_err().then(|| column.span.clone());
            }
        }
        let _registered_whole_later =
            self.context.deregister_table(datafusion::common::TableReference::bare(table.name.as_str()));
        found
    }

    /// `GENERATED ALWAYS AS` columns: a projection of all columns over those that the connector gives.
    pub(super) async fn generated_columns(&mut self, table: &TableDef) -> Option<LogicalPlan> {
        if !table.columns.iter().any(|c| matches!(c.kind, ColumnKind::Generated(_))) {
            return None;
        }
        let physical = physical_schema(table);
        self.register(&table.name, &physical);
        let list: Vec<String> = table
            .read_columns()
            .map(|c| match &c.kind {
                ColumnKind::Generated(expr) => format!("({expr}) AS \"{}\"", c.name.replace('"', "\"\"")),
                ColumnKind::Data | ColumnKind::Metadata(_) => format!("\"{}\"", c.name.replace('"', "\"\"")),
            })
            .collect();
        let text = format!("SELECT {} FROM \"{}\"", list.join(", "), table.name.replace('"', "\"\""));
        let plan = self.context.state().create_logical_plan(&text).await;
        let _registered_whole_later =
            self.context.deregister_table(datafusion::common::TableReference::bare(table.name.as_str()));
        let plan = match plan.and_then(|plan| self.analyze(plan)) {
            Ok(plan) => plan,
            Err(error) => {
                let mut wrong = errors::to_diagnostics(&error, &table.span);
                // Places in the text built above mean nothing to the author. If a single column fails by itself, its
                // place is shown.
                let place = self.wrong_generated(table).await.unwrap_or_else(|| table.span.clone());
                for error in &mut wrong {
                    error.span = Some(place.clone());
                }
                self.errors.extend(wrong);
                return None;
            }
        };
        let found = check::udf_calls(&plan, &self.udfs);
        if let Some(name) = found.iter().find(|name| self.udfs.asynchronous.contains(*name)) {
            let error =
                Diagnostic::new(Code::ASYNC_PLACE, format!("`{name}` is async and is called in a generated column"));
            self.errors.push(error.at(table.span.clone()).help("call it in a view that reads the table"));
            return None;
        }
        self.result_udfs.extend(found);
        let columns = plan.schema().columns();
        let exprs: Vec<Expr> = columns
            .into_iter()
            .zip(table.read_columns())
            .map(|(column, target)| {
                let expr = Expr::Column(column);
                let from = expr.get_type(plan.schema()).unwrap_or(DataType::Null);
                let same = from == target.data_type;
                let expr = if same { expr } else { functions::cast(expr, &from, &target.data_type) };
                expr.alias(&target.name)
            })
            .collect();
        self.project(plan, exprs, &table.span)
    }
}
