//! The planner's errors in an analyst's words: SQL types, no internal names, and the place in the text.

use std::sync::LazyLock;

use datafusion::common::{Column, DataFusionError, SchemaError, TableReference};
use datafusion::sql::sqlparser::tokenizer::Token;
use regex::Regex;

use super::as_identifier;
use super::statement::{to_span, tokens};
use crate::diag::{Code, Diagnostic, Span, nearest};

/// Internal words that mean nothing to an analyst. A message contains none of them unless the author wrote it.
pub const INTERNAL: [&str; 41] = [
    "Utf8",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Float32",
    "Float64",
    "Decimal128",
    "LargeList",
    "List(",
    "Struct(",
    "FixedSizeList",
    "Timestamp(",
    "Nanosecond",
    "nullable",
    "DataType",
    "DataFusion",
    "Arrow",
    "LogicalPlan",
    "ScalarValue",
    "ScalarUDF",
    "Signature",
    "TypeSignature",
    "Some(",
    "None",
    "Err(",
    "Field {",
    "type_coercion",
    "Projections require",
    "sqlparser",
    "panicked",
    "datafusion",
    "Cast error",
    "signature",
    "coerc",
    "BIGINT(",
    "token stream",
    "did not contain",
    "predicate",
    "non-boolean",
    "error:",
];

/// The diagnostic for a planner's error in the statement at `at`.
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
                    diagnostic.span = Some(span.written().clone());
                }
                if diagnostic.help.is_none() {
                    diagnostic.help = known.helps.first().or(None).map(|h| in_sql_words(&h.message));
                }
            }
            result
        }
        DataFusionError::SchemaError(schema, _) => vec![schema_error(schema, at)],
        other => {
            let message = other.strip_backtrace();
            let found = plain(&message, at);
            if in_words_of(at.text(), &found.message) {
                return vec![found];
            }
            tracing::debug!(planner = message, "an error without a message in SQL terms");
            vec![Diagnostic { code: found.code, ..planner_died(at) }]
        }
    }
}

/// Whether a message is not empty and has no internal word that the author has not written.
fn in_words_of(written: &str, message: &str) -> bool {
    let internal = INTERNAL.iter().any(|word| message.contains(word) && !written.contains(word));
    message.contains(char::is_alphanumeric) && !internal
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
                valid_fields.iter().filter_map(|c| c.relation.as_ref().map(TableReference::table)).collect();
            let from = match (&field.relation, tables.first()) {
                (Some(relation), _) => format!(" in `{}`", relation.table()),
                (None, Some(first)) if tables.iter().all(|t| t == first) => format!(" in `{first}`"),
                _ => String::new(),
            };
            // The planner makes up names for unnamed expressions: `lower(t.a)`.
            let names: Vec<&str> =
                valid_fields.iter().map(|c| c.name.as_str()).filter(|name| !name.contains('(')).collect();
            let help = match nearest(&field.name, names.iter().copied()) {
                Some(near) => format!("did you mean `{}`?", as_identifier(near)),
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

/// A UDF's own error about its arguments, taken out of the planner's error around it.
#[must_use]
pub fn argument_error(planner: &str) -> Option<&str> {
    let (_, said) = planner.split_once("user-defined coercion failed with: Error during planning: ")?;
    Some(said.split_once(". No function matches").map_or(said, |(said, _)| said))
}

fn plain(message: &str, at: &Span) -> Diagnostic {
    const PREFIXES: [&str; 16] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "type_coercion\ncaused by\n",
        "Execution error: ",
        "Arrow error: ",
        "SQL error: ",
        "Internal error: ",
        "External error: ",
        "Cast error: ",
        "Compute error: ",
        "Parser error: ",
        "Schema error: ",
        "Invalid argument error: ",
        "Not yet implemented: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
        "Optimizer rule 'common_sub_expression_eliminate' failed\ncaused by\n",
    ];
    let mut rest = message;
    while let Some(stripped) = PREFIXES.iter().find_map(|p| rest.strip_prefix(p)) {
        rest = stripped;
    }
    let say = |code, message: String, help: &str| {
        let place = place_of_name(&message, at).unwrap_or_else(|| at.clone());
        Diagnostic::new(code, message).at(place).help(help)
    };
    if let Some(name) = duplicate_projection(rest) {
        let message = format!("two columns of the SELECT have the name `{}`", in_sql_words(name));
        return say(Code::QUERY, message, "give each a name of its own: `… AS name`");
    }
    if let Some(said) = argument_error(rest) {
        return say(
            Code::TYPE_MISMATCH,
            in_sql_words(said),
            "see the function's arguments in udfs/, or use CAST(… AS …)",
        );
    }
    for known in KNOWN.iter() {
        if let Some(found) = known.pattern.captures(rest) {
            let mut message = String::new();
            found.expand(known.message, &mut message);
            return say(known.code, in_sql_words(&message), known.help);
        }
    }
    let first = in_sql_words(rest.lines().next().unwrap_or(rest).trim());
    if ["coerce", "coercion", "cast", "Cast"].iter().any(|w| first.contains(w)) {
        return say(Code::TYPE_MISMATCH, first, CONVERT);
    }
    say(Code::QUERY, first, "change the statement that is marked above")
}

/// The place of the name in a message, if its statement has it once.
fn place_of_name(message: &str, at: &Span) -> Option<Span> {
    let name = message.split('`').nth(1)?;
    // For a view, `at` is its name.
    let tokens = tokens(&Span::new(&at.source, at.range.start..at.source.text.len()));
    let statement = tokens.iter().take_while(|(token, _)| *token != Token::SemiColon);
    let mut places = statement.filter_map(|(token, range)| match token {
        Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Some(range),
        _ => None,
    });
    let range = places.next().filter(|_| at.written() == at)?;
    places.next().is_none().then(|| Span::new(&at.source, range.clone()))
}

const CANNOT_PLAN: &str = "this statement cannot be planned";
const TAKE_APART: &str = "split it into views to find the part that fails";

/// The diagnostic for a statement that makes the planner panic.
#[must_use]
pub fn planner_died(at: &Span) -> Diagnostic {
    Diagnostic::new(Code::QUERY, CANNOT_PLAN).at(at.clone()).help(TAKE_APART)
}

const CONVERT: &str = "convert one side with CAST(… AS …) or TRY_CAST(… AS …)";

/// A message of the planner, and ours for it.
struct Known {
    pattern: Regex,
    code: Code,
    message: &'static str,
    help: &'static str,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |pattern: &str, code, message, help| {
        // A pattern that does not compile is skipped; a test compiles them all.
        Regex::new(pattern).ok().map(|pattern| Known { pattern, code, message, help })
    };
    let all = [
        known(
            r"(?s)^Cannot infer common argument type for comparison operation .*Union\(",
            Code::TYPE_MISMATCH,
            "a JSON value cannot be compared",
            "write `->>` for its text: `j->>'key' = 'x'`, or CAST it: `CAST(j->>'n' AS BIGINT) > 3`",
        ),
        known(
            r"(?s)^Cannot infer common argument type for comparison operation (.+?) (?:=|<>|!=|<=|>=|<|>|IS DISTINCT FROM|IS NOT DISTINCT FROM) (.+)$",
            Code::TYPE_MISMATCH,
            "$1 cannot be compared with $2",
            CONVERT,
        ),
        known(
            r"(?s)^Failed to coerce then \((.+?)\) and else \((.+?)\) to common types",
            Code::TYPE_MISMATCH,
            "a CASE gives $1 in one branch and $2 in another",
            CONVERT,
        ),
        known(
            r"(?s)^Cannot coerce arithmetic expression (.+) to valid types",
            Code::TYPE_MISMATCH,
            "$1: these types do not support arithmetic",
            CONVERT,
        ),
        known(
            r"(?s)^Cannot create filter with non-boolean predicate '(.+)' returning (\S+)$",
            Code::TYPE_MISMATCH,
            "WHERE needs a condition, but `$1` is $2",
            "compare it with something, such as `… > 0`",
        ),
        known(
            r"(?s)Cannot cast string '(.*?)' to value of (.+?) type",
            Code::TYPE_MISMATCH,
            "'$1' is not a valid $2",
            "write a value of that type, or use TRY_CAST, which gives NULL",
        ),
        known(
            r"(?s)regex parse error:.*error: (.+)$",
            Code::QUERY,
            "a regular expression is wrong: $1",
            "correct it; put a backslash before a character that is meant literally",
        ),
        known(
            r"(?s)Cannot cast value '(.*?)' to value of (.+?) type",
            Code::TYPE_MISMATCH,
            "'$1' is not a valid $2",
            "write a value of that type, or use TRY_CAST, which gives NULL",
        ),
        known(
            r"^Unsupported SQL type (\w+)",
            Code::COLUMN_TYPE,
            "there is no type `$1`",
            "types are TEXT, BYTEA, BOOLEAN, INT, BIGINT, DOUBLE, TIMESTAMP, DATE, DECIMAL and T[]",
        ),
        known(
            r"^Field (.+) not found in struct",
            Code::COLUMN_UNKNOWN,
            "the STRUCT has no field `$1`",
            "see the fields where its column is declared",
        ),
        known(
            r"(?s)^Function '(.+?)' (?:failed to match any signature|expects|requires|does not support|user-defined)",
            Code::TYPE_MISMATCH,
            "`$1` does not take these arguments",
            "check their number and types, and convert with CAST(… AS …)",
        ),
        known(
            r"(?s)No function matches the given name and argument types '(.+?)\(",
            Code::TYPE_MISMATCH,
            "`$1` does not take these arguments",
            "check their number and types, and convert with CAST(… AS …)",
        ),
        known(
            r"(?s)^(?:The )?'?`?(\w+)'?`? function (?:does not support|requires|expects)",
            Code::TYPE_MISMATCH,
            "`$1` does not take these arguments",
            "check their number and types, and convert with CAST(… AS …)",
        ),
    ];
    all.into_iter().flatten().collect()
});

/// `Projections require unique expression names but the expression "CAST(a AS …)" at position 0 and …`.
fn duplicate_projection(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("Projections require unique expression names but the expression \"")?;
    let name = rest.split('"').next()?;
    Some(name.rsplit('.').next().filter(|_| !name.contains('(')).unwrap_or(name))
}

/// Replaces the planner's type names by SQL's.
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
    let mut text = message.replace("Divide by zero error", "division by zero");
    for (internal, sql) in TYPES.iter() {
        text = replace_words(&text, internal, sql);
    }
    // `List(TEXT)`, `Struct("a": TEXT)`, and literals with a type, such as `BIGINT(1)`.
    for (pattern, sql) in SHAPES.iter() {
        text = pattern.replace_all(&text, *sql).into_owned();
    }
    text
}

static SHAPES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let shapes = [
        (r"\b(?:Large)?List\((?:non-null )?([A-Z ]+)(?:, field: '[^']*')?\)", "$1[]"),
        (r"\bStruct\([^)]*\)", "STRUCT"),
        (r#"\b(?:TEXT|BIGINT|INT|DOUBLE|FLOAT|BOOLEAN)\(("[^"]*"|[^()"]*)\)"#, "$1"),
    ];
    shapes.into_iter().filter_map(|(pattern, sql)| Some((Regex::new(pattern).ok()?, sql))).collect()
});

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(KNOWN.len(), 13);
        assert_eq!(SHAPES.len(), 3);
    }

    #[test]
    fn planner_words_become_sql_words() {
        assert_eq!(in_sql_words("List(Utf8) > Int64(1)"), "TEXT[] > 1");
        assert_eq!(in_sql_words("Struct(\"a\": Utf8) + Int32"), "STRUCT + INT");
        assert_eq!(in_sql_words("MyUtf8Thing"), "MyUtf8Thing");
    }
}
