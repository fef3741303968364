//! The documentation of a statement's options, from which docs and checks are made, and their syntax.
//! [`option_reader`](super::option_reader) reads the options of a table, [`agent`](super::agent) those of an agent.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, SqlOption, Value};

use super::statement::to_span;
use super::table::OptionEntry;
use crate::diag::{Code, Diagnostic, SourceText, Span};

/// The documentation of an option. Docs and checks are made from it.
#[derive(Debug, Clone, Copy)]
pub struct OptionDoc {
    /// The key, as Arroyo spells it. Baton's own keys begin with `baton.`.
    pub key: &'static str,
    /// One sentence for the docs.
    pub description: &'static str,
    /// The value if the option is not given; `None` if there is no default.
    pub default: Option<&'static str>,
    /// The accepted values, if there are few.
    pub choices: &'static [&'static str],
}

/// An option with any value and no default.
#[must_use]
pub const fn option(key: &'static str, description: &'static str) -> OptionDoc {
    OptionDoc { key, description, default: None, choices: &[] }
}

impl OptionDoc {
    /// The same with a default.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The same with a closed list of values.
    #[must_use]
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}

/// Reads an option as it is written.
pub(super) fn read_option(
    source: &Arc<SourceText>,
    option: &SqlOption,
    table: &Span,
) -> Result<OptionEntry, Diagnostic> {
    let form = |span: Span| {
        Diagnostic::new(Code::SYNTAX, format!("`{option}` is not a valid option"))
            .at(span)
            .help("write `key = 'value'`; a key with a dot is quoted too: `'source.offset' = 'earliest'`")
    };
    let SqlOption::KeyValue { key, value } = option else { return Err(form(table.clone())) };
    let key_span = to_span(source, key.span).unwrap_or_else(|| quoted_key(source, table, option));
    let Expr::Value(value) = value else { return Err(form(key_span)) };
    let (text, quoted) = match &value.value {
        Value::SingleQuotedString(text) => (text.clone(), true),
        Value::Number(text, _) => (text.clone(), false),
        Value::Boolean(b) => (b.to_string(), false),
        _ => return Err(form(key_span)),
    };
    let value_span = to_span(source, value.span).unwrap_or_else(|| key_span.clone());
    Ok(OptionEntry { key: key.value.clone(), key_span, value: text, quoted, value_span })
}

/// The parser does not give the place of a quoted key. It stands before the `=` of its value.
pub(super) fn quoted_key(source: &Arc<SourceText>, table: &Span, option: &SqlOption) -> Span {
    let SqlOption::KeyValue { key, value: Expr::Value(value) } = option else { return table.clone() };
    let Some(value) = to_span(source, value.span) else { return table.clone() };
    let quoted = format!("'{}'", key.value);
    match source.text[..value.range.start].rfind(&quoted) {
        Some(at) => Span::new(source, at..at + quoted.len()),
        None => table.clone(),
    }
}
