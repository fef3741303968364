//! Errors of the planner in an analyst's words: SQL types, no internal names, the place in the text.

use std::sync::LazyLock;

use datafusion::common::{Column, DataFusionError, SchemaError};

use super::statement::to_span;
use crate::diag::{Code, Diagnostic, Span, nearest};

/// What the planner found wrong with the statement at `at`.
#[must_use]
pub fn to_diagnostics(error: &DataFusionError, at: &Span) -> Vec<Diagnostic> {
    match error {
        DataFusionError::Collection(errors) => errors.iter().flat_map(|e| to_diagnostics(e, at)).collect(),
        DataFusionError::Context(_, inner) => to_diagnostics(inner, at),
        DataFusionError::Shared(inner) => to_diagnostics(inner, at),
        DataFusionError::Diagnostic(known, inner) => {
            let mut result = to_diagnostics(inner, at);
            let span = known.span.and_then(|s| place(at, s));
            for diagnostic in &mut result {
                if let Some(span) = &span {
                    diagnostic.span = Some(span.clone());
                }
                if diagnostic.help.is_none() {
                    diagnostic.help = known.helps.first().or(None).map(|h| in_sql_words(&h.message));
                }
            }
            result
        }
        DataFusionError::SchemaError(schema, _) => vec![schema_error(schema, at)],
        other => vec![plain(&other.strip_backtrace(), at)],
    }
}

fn place(at: &Span, span: datafusion::common::Span) -> Option<Span> {
    use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan};
    let location = |l: datafusion::common::Location| Location { line: l.line, column: l.column };
    to_span(&at.source, TokenSpan::new(location(span.start), location(span.end)))
}

fn schema_error(error: &SchemaError, at: &Span) -> Diagnostic {
    let column_place = |c: &Column| c.spans().first().and_then(|s| place(at, s));
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let tables: Vec<&str> =
                valid_fields.iter().filter_map(|c| c.relation.as_ref().map(|r| r.table())).collect();
            let from = match (&field.relation, tables.first()) {
                (Some(relation), _) => format!(" in `{}`", relation.table()),
                (None, Some(first)) if tables.iter().all(|t| t == first) => format!(" in `{first}`"),
                _ => String::new(),
            };
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            let help = match nearest(&field.name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "there are no columns here".to_string(),
                None => format!("the columns are {}", names.join(", ")),
            };
            Diagnostic::new(Code::COLUMN_UNKNOWN, format!("column `{}` not found{from}", field.name))
                .at(column_place(field).unwrap_or_else(|| at.clone()))
                .help(help)
        }
        SchemaError::AmbiguousReference { field } => {
            Diagnostic::new(Code::QUERY, format!("column `{}` could be one of several", field.name))
                .at(column_place(field).unwrap_or_else(|| at.clone()))
                .help("write the table's name before it: `table.column`")
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Diagnostic::new(Code::QUERY, format!("two columns have the name `{name}`"))
                .at(at.clone())
                .help("give one of them another name: `… AS other`")
        }
    }
}

/// What a UDF said of its arguments, out of the planner's error that wraps it.
#[must_use]
pub fn argument_error(planner: &str) -> Option<&str> {
    let (_, said) = planner.split_once("user-defined coercion failed with: Error during planning: ")?;
    Some(said.split_once(". No function matches").map_or(said, |(said, _)| said))
}

fn plain(message: &str, at: &Span) -> Diagnostic {
    const PREFIXES: [&str; 8] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "type_coercion\ncaused by\n",
        "Execution error: ",
        "Arrow error: ",
        "SQL error: ",
        "Internal error: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
    ];
    let mut rest = message;
    while let Some(stripped) = PREFIXES.iter().find_map(|p| rest.strip_prefix(p)) {
        rest = stripped;
    }
    if let Some(name) = duplicate_projection(rest) {
        return Diagnostic::new(Code::QUERY, format!("two columns of the SELECT have the name `{name}`"))
            .at(at.clone())
            .help("give each a name of its own: `… AS name`");
    }
    let rest = argument_error(rest).unwrap_or(rest);
    let first = rest.lines().next().unwrap_or(rest).trim();
    let first = first.strip_suffix(" You might need to add explicit type casts.").unwrap_or(first);
    let is_type = ["coerce", "coercion", "type", "cast", "Cast", "argument"].iter().any(|w| first.contains(w));
    let code = if is_type { Code::TYPE_MISMATCH } else { Code::QUERY };
    let help = if is_type {
        "convert one side with CAST(… AS …) or TRY_CAST(… AS …)"
    } else {
        "see the statement marked above"
    };
    Diagnostic::new(code, in_sql_words(first)).at(at.clone()).help(help)
}

/// `Projections require unique expression names but the expression "CAST(a AS …)" at position 0 and …`.
fn duplicate_projection(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("Projections require unique expression names but the expression \"")?;
    rest.split('"').next()
}

/// Puts SQL's names of types in the place of the planner's.
#[must_use]
pub fn in_sql_words(message: &str) -> String {
    static TYPES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
        vec![
            ("Utf8View", "TEXT"),
            ("LargeUtf8", "TEXT"),
            ("Utf8", "TEXT"),
            ("BinaryView", "BYTEA"),
            ("LargeBinary", "BYTEA"),
            ("Binary", "BYTEA"),
            ("Boolean", "BOOLEAN"),
            ("UInt8", "TINYINT UNSIGNED"),
            ("UInt16", "SMALLINT UNSIGNED"),
            ("UInt32", "INT UNSIGNED"),
            ("UInt64", "BIGINT UNSIGNED"),
            ("Int8", "TINYINT"),
            ("Int16", "SMALLINT"),
            ("Int32", "INT"),
            ("Int64", "BIGINT"),
            ("Float32", "FLOAT"),
            ("Float64", "DOUBLE"),
            ("Date32", "DATE"),
            ("Timestamp(ns)", "TIMESTAMP"),
            ("Timestamp(Nanosecond, None)", "TIMESTAMP"),
        ]
    });
    let mut text = message.to_string();
    for (internal, sql) in TYPES.iter() {
        text = replace_words(&text, internal, sql);
    }
    text
}

fn replace_words(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + from.len()..].chars().next();
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        out.push_str(&rest[..at]);
        out.push_str(if inside(before) || inside(after) { from } else { to });
        rest = &rest[at + from.len()..];
    }
    out.push_str(rest);
    out
}
