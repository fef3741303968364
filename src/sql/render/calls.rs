//! Rewrites async calls so that Arroyo makes each once, with the right arguments.
//!
//! Two shapes work here but not on Arroyo. After a restart Arroyo sends the first columns of the operator's input
//! instead of the call's arguments, so the arguments become the first columns of a view that the call reads. And Arroyo
//! makes a call in the INSERT of a memory table once for each reader of that table, so the call moves into a view, too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, UnaryOperator, Values, Visit, VisitMut, Visitor,
    VisitorMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
use datafusion::sql::sqlparser::parser::Parser;

use super::{Owner, refused};
use crate::diag::{Diagnostic, Span};
use crate::sql::dialect::PipelineDialect;
use crate::sql::plan::PipelinePlan;
use crate::sql::udfs::UdfSet;
use crate::sql::{as_identifier, name_of};

/// The text of a view or an INSERT, after the views that it needs.
///
/// # Errors
/// A call that cannot be moved from its place.
pub fn arrange(
    owner: &Owner<'_>,
    text: String,
    plan: &PipelinePlan,
    udfs: &UdfSet,
    made: &mut BTreeSet<String>,
) -> Result<String, Diagnostic> {
    let parsed = Parser::new(&PipelineDialect).try_with_sql(&text).and_then(|mut p| p.parse_statement());
    let Ok(mut statement) = parsed else { return Ok(text) };
    let Some(query) = query_of(&mut statement) else { return Ok(text) };
    if calls(query, udfs).is_empty() {
        return Ok(text);
    }
    let mut before = String::new();
    let mut changed = false;
    let first = arguments_first(owner, query, plan, udfs, made)?;
    if let Some(view) = first {
        before.push_str(&view);
        changed = true;
    }
    if owner.fills_memory {
        let view = unique(&format!("{}_rows", owner.name), plan, made);
        let _ = write!(before, "CREATE VIEW {} AS\n{query:#};\n\n", as_identifier(&view));
        let select = format!("SELECT * FROM {}", as_identifier(&view));
        if let Ok(select) = Parser::new(&PipelineDialect).try_with_sql(&select).and_then(|mut p| p.parse_query()) {
            **query = *select;
            changed = true;
        }
    }
    if !changed {
        return Ok(text);
    }
    let _ = VisitMut::visit(&mut statement, &mut Signs);
    Ok(format!("{before}{statement:#}"))
}

pub(super) fn query_of(statement: &mut Statement) -> Option<&mut Box<Query>> {
    match statement {
        Statement::Query(query) => Some(query),
        Statement::CreateView(view) => Some(&mut view.query),
        Statement::CreateTable(table) => table.query.as_mut(),
        Statement::Insert(insert) => insert.source.as_mut(),
        _ => None,
    }
}

const NOTHING: Values = Values { explicit_row: false, value_keyword: false, rows: Vec::new() };

/// Makes the call's arguments the first columns of its input. Returns the view that does it, unless they already are.
fn arguments_first(
    owner: &Owner<'_>,
    query: &mut Query,
    plan: &PipelinePlan,
    udfs: &UdfSet,
    made: &mut BTreeSet<String>,
) -> Result<Option<String>, Diagnostic> {
    let at = owner.statement;
    let elsewhere = || {
        refused(
            at,
            format!("`{}` calls an async UDF in a query that is more than one SELECT from one table", owner.name),
            "call it in a view of its own, which Arroyo needs to send the right arguments again after a restart",
        )
    };
    let simple = query.with.is_none() && calls(query, udfs).len() == 1;
    // Brackets around the whole query mean nothing.
    while let SetExpr::Query(inner) = query.body.as_mut()
        && inner.with.is_none()
    {
        let inner = std::mem::replace(inner.body.as_mut(), SetExpr::Values(NOTHING));
        *query.body = inner;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(elsewhere()) };
    let Some((relation, alias)) = only_table(select).filter(|_| simple) else { return Err(elsewhere()) };
    let _ = VisitMut::visit(select.as_mut(), &mut Signs);
    let arguments = calls(select.as_ref(), udfs).pop().unwrap_or_default();
    let columns = columns_of(&relation, plan);
    let in_place = |(i, argument): (usize, &Expr)| match argument {
        Expr::Identifier(ident) => columns.get(i).is_some_and(|c| *c == name_of(ident)),
        Expr::CompoundIdentifier(parts) => parts.len() == 2 && columns.get(i).is_some_and(|c| *c == name_of(&parts[1])),
        _ => false,
    };
    if arguments.iter().enumerate().all(in_place) {
        return Ok(None);
    }
    let names: Vec<String> = (1..=arguments.len()).map(|i| free(&format!("argument_{i}"), &columns)).collect();
    let view = unique(&format!("{}_arguments", owner.name), plan, made);
    let mut list: Vec<String> = arguments.iter().zip(&names).map(|(a, name)| format!("{a} AS {name}")).collect();
    list.extend(columns.iter().map(|c| column(c).to_string()));
    let from = select.from[0].to_string();
    let condition = select.selection.take().map_or(String::new(), |c| format!("\nWHERE {c}"));
    let text = format!(
        "CREATE VIEW {} AS\nSELECT\n  {}\nFROM {from}{condition};\n\n",
        as_identifier(&view),
        list.join(",\n  ")
    );
    read_from(select, owner, &view, &alias, &columns, plan, at)?;
    let replaced = select.visit(&mut Rename { udfs, names: &names });
    debug_assert!(replaced.is_continue());
    Ok(Some(text))
}

/// The only table that a SELECT reads, and its alias.
fn only_table(select: &Select) -> Option<(String, Ident)> {
    let [from] = select.from.as_slice() else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    let TableFactor::Table { name, alias, .. } = &from.relation else { return None };
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    if alias.as_ref().is_some_and(|a| !a.columns.is_empty()) {
        return None;
    }
    Some((name_of(ident), alias.as_ref().map_or_else(|| ident.clone(), |a| a.name.clone())))
}

fn columns_of(relation: &str, plan: &PipelinePlan) -> Vec<String> {
    if let Some(relation) = plan.relations.get(relation) {
        return relation.plan.schema().fields().iter().map(|f| f.name().clone()).collect();
    }
    plan.tables.get(relation).map(|t| t.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default()
}

/// Makes a SELECT read `view` under the alias of its old input, with the same columns for `*`.
fn read_from(
    select: &mut Select,
    owner: &Owner<'_>,
    view: &str,
    alias: &Ident,
    columns: &[String],
    plan: &PipelinePlan,
    at: &Span,
) -> Result<(), Diagnostic> {
    let is_bare = |options: &WildcardAdditionalOptions| {
        *options
            == WildcardAdditionalOptions {
                wildcard_token: options.wildcard_token.clone(),
                ..WildcardAdditionalOptions::default()
            }
    };
    // The columns of a view, and of a sink that declares none, keep their names without the new view.
    let own_names: Vec<String> = match (plan.relations.get(owner.name), plan.tables.get(owner.name)) {
        (Some(view), _) if owner.is_view => view.plan.schema().fields().iter().map(|f| f.name().clone()).collect(),
        (_, Some(sink)) if plan.inferred.contains(owner.name) => sink.columns.iter().map(|c| c.name.clone()).collect(),
        _ => Vec::new(),
    };
    let mut items = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(options)
            | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options)
                if is_bare(&options) =>
            {
                items.extend(columns.iter().map(|c| SelectItem::UnnamedExpr(Expr::Identifier(column(c)))));
            }
            SelectItem::UnnamedExpr(expr) if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                // It keeps its name without the view.
                let name = own_names.get(items.len()).map(|name| column(name));
                items.push(match name {
                    Some(alias) => SelectItem::ExprWithAlias { expr, alias },
                    None => SelectItem::UnnamedExpr(expr),
                });
            }
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => items.push(item),
            other => {
                let message = format!("`{other}` stands beside an async call");
                return Err(refused(at, message, "name the columns"));
            }
        }
    }
    select.projection = items;
    let from = format!("SELECT 1 FROM {} AS {alias}", as_identifier(view));
    let parsed = Parser::new(&PipelineDialect).try_with_sql(&from).and_then(|mut p| p.parse_query());
    if let Ok(query) = parsed
        && let SetExpr::Select(source) = *query.body
    {
        select.from = source.from;
    }
    Ok(())
}

/// A column's name as it can stand anywhere: in quotes unless it is plain and not a keyword.
fn column(name: &str) -> Ident {
    let is_plain = as_identifier(name) == name && !ALL_KEYWORDS.contains(&name.to_uppercase().as_str());
    if is_plain { Ident::new(name) } else { Ident::with_quote('"', name) }
}

fn free(name: &str, taken: &[String]) -> String {
    let mut name = name.to_string();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// A new name for a view; it is added to `made`.
pub(super) fn unique(name: &str, plan: &PipelinePlan, made: &mut BTreeSet<String>) -> String {
    let mut name = name.to_string();
    while plan.relations.contains_key(&name) || plan.tables.contains_key(&name) || !made.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// The arguments of each async call.
fn calls<T: Visit>(node: &T, udfs: &UdfSet) -> Vec<Vec<Expr>> {
    struct Calls<'a> {
        udfs: &'a UdfSet,
        found: Vec<Vec<Expr>>,
    }
    impl Visitor for Calls<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr
                && is_async(function, self.udfs)
            {
                self.found.push(arguments(function));
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Calls { udfs, found: Vec::new() };
    let _ = node.visit(&mut visitor);
    visitor.found
}

fn is_async(function: &Function, udfs: &UdfSet) -> bool {
    let name = function.name.0.last().and_then(|p| p.as_ident()).map(name_of);
    name.is_some_and(|name| udfs.asynchronous.contains(&name))
}

fn arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// Replaces an async call's arguments by column names.
struct Rename<'a> {
    udfs: &'a UdfSet,
    names: &'a [String],
}

impl VisitorMut for Rename<'_> {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && is_async(function, self.udfs)
            && let FunctionArguments::List(list) = &mut function.args
        {
            let column =
                |name: &String| FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(Ident::new(name))));
            list.args = self.names.iter().map(column).collect();
        }
        ControlFlow::Continue(())
    }
}

/// `- -n` would be printed as the start of a comment.
struct Signs;

impl VisitorMut for Signs {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && matches!(**inner, Expr::UnaryOp { op: UnaryOperator::Minus, .. })
        {
            let signed = std::mem::replace(inner.as_mut(), Expr::Identifier(Ident::new("signed")));
            **inner = Expr::Nested(Box::new(signed));
        }
        ControlFlow::Continue(())
    }
}
