//! The comment in which a UDF lists its crates: `/*`, a new line, `[dependencies]`, TOML, `*/`.
//!
//! It is found exactly as in Arroyo. A similar comment that Arroyo would ignore is an error here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use crate::diag::{Code, Diagnostic, SourceText, Span};

const OPEN: &str = "/*\n[dependencies]\n";

/// The crates of a comment.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    pub table: Table,
    /// From `[dependencies]` to before `*/`.
    pub span: Option<Span>,
}

#[derive(Deserialize)]
struct Comment {
    dependencies: BTreeMap<Spanned<String>, Spanned<Value>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Reads the comment. Errors are added to `errors`.
pub(super) fn read(text: &Arc<SourceText>, errors: &mut Vec<Diagnostic>) -> Dependencies {
    let wrong = |range: Range<usize>, message: String, help: &str| {
        Diagnostic::new(Code::UDF_SOURCE, message).at(Span::new(text, range)).help(help)
    };
    for at in overlooked(&text.text) {
        errors.push(wrong(
            at..at + 2,
            "Arroyo would ignore this dependencies comment".into(),
            "put `/*` alone on a line, `[dependencies]` alone on the next",
        ));
    }
    let mut found = text.text.match_indices(OPEN);
    let Some((open, _)) = found.next() else { return Dependencies::default() };
    if let Some((second, _)) = found.next() {
        errors.push(wrong(
            second..second + 2,
            "a UDF has only one dependencies comment, this is the second".into(),
            "move its lines into the first one",
        ));
        return Dependencies::default();
    }
    let start = open + "/*\n".len();
    let Some(length) = text.text[start..].find("*/") else { return Dependencies::default() };
    let body = &text.text[start..start + length];
    let span = Some(Span::new(text, start..start + length));
    let comment: Comment = match toml::from_str(body) {
        Ok(comment) => comment,
        Err(error) => {
            let range = error.span().map_or(start..start + OPEN.len() - 4, |s| start + s.start..start + s.end);
            errors.push(wrong(
                range,
                format!("the dependencies are not valid TOML: {}", error.message().lines().next().unwrap_or_default()),
                "write them as in a Cargo.toml: `name = \"1.2\"` or `name = { version = \"1.2\", features = [\"…\"] }`",
            ));
            return Dependencies { table: Table::new(), span };
        }
    };
    for name in comment.others.keys() {
        let header = body.find(&format!("[{name}")).or_else(|| body.find(name.as_str())).unwrap_or(0);
        errors.push(wrong(
            start + header..start + header + name.len() + 1,
            format!("`{name}` cannot stand in the dependencies comment"),
            "only `[dependencies]` is read there",
        ));
    }
    let mut table = Table::new();
    for (name, value) in comment.dependencies {
        if !matches!(value.get_ref(), Value::String(_) | Value::Table(_)) {
            let range = value.span();
            errors.push(wrong(
                start + range.start..start + range.end,
                format!("the dependency `{}` has neither a version nor a table", name.get_ref()),
                "write `name = \"1.2\"` or `name = { version = \"1.2\" }`",
            ));
        }
        table.insert(name.into_inner(), value.into_inner());
    }
    Dependencies { table, span }
}

/// Comments that start with `[dependencies` but in a form that is not read.
fn overlooked(text: &str) -> Vec<usize> {
    text.match_indices("/*")
        .map(|(at, _)| at)
        .filter(|&at| {
            let body = text[at + 2..].trim_start_matches(['*', '!', ' ', '\t', '\r', '\n']);
            body.starts_with("[dependencies") && !text[at..].starts_with(OPEN)
        })
        .collect()
}
