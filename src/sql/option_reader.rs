//! Reads the options of a table. Each option is documented where it is declared, `${…}` comes from the environment, and
//! all errors are found at once.

use std::fmt::Display;
use std::str::FromStr;

use super::options::OptionDoc;
use super::table::{OptionEntry, TableDef};
use crate::config::{Environment, InterpolateError};
use crate::diag::{Code, Diagnostic, Span, nearest};

/// Reads the options of one table and collects the errors.
pub struct OptionReader<'a> {
    table: &'a TableDef,
    environment: &'a Environment,
    docs: Vec<&'static OptionDoc>,
    errors: Vec<Diagnostic>,
}

impl<'a> OptionReader<'a> {
    /// Reads a table that may have the options in `docs`, `connector` and `type`.
    pub fn new(
        table: &'a TableDef,
        environment: &'a Environment,
        docs: impl IntoIterator<Item = &'static OptionDoc>,
    ) -> Self {
        Self { table, environment, docs: docs.into_iter().collect(), errors: Vec::new() }
    }

    /// The table whose options are read.
    #[must_use]
    pub fn table(&self) -> &'a TableDef {
        self.table
    }

    /// The value of an option with its variables replaced, or its default.
    ///
    /// The reader's docs must have the key. The value must be in quotes, as on Arroyo, and one of the choices if there
    /// are any.
    pub fn optional(&mut self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let Some(entry) = self.table.option(key) else { return Some(value) };
        if !entry.quoted {
            self.wrong(entry, &format!("a text in quotes: `'{}'`", entry.value));
            return None;
        }
        let choices = self.docs.iter().find(|d| d.key == key).map_or(&[][..], |d| d.choices);
        if !choices.is_empty() && !choices.contains(&value.as_str()) {
            let one_of = if choices.len() == 1 { "" } else { "one of " };
            self.wrong(entry, &format!("{one_of}{}", list(choices)));
            return None;
        }
        Some(value)
    }

    /// The value, unchecked.
    fn value(&mut self, key: &str) -> Option<String> {
        let doc = self.docs.iter().find(|d| d.key == key).copied();
        debug_assert!(doc.is_some(), "option {key} is read but not documented");
        let Some(entry) = self.table.option(key) else {
            return doc.and_then(|d| d.default).map(str::to_string);
        };
        match self.environment.interpolate(&entry.value) {
            Ok(value) => Some(value),
            Err(error) => {
                let help = match &error {
                    InterpolateError::NotSet(name) => format!("set `{name}`, or write `${{{name}:-default}}`"),
                    InterpolateError::Unclosed | InterpolateError::Name(_) => {
                        "write `${NAME}` or `${NAME:-default}`; a plain `$` is written `$$`".into()
                    }
                };
                self.fail(
                    Diagnostic::new(Code::ENVIRONMENT, format!("option `{key}`: {error}"))
                        .at(value_span(entry))
                        .help(help),
                );
                None
            }
        }
    }

    /// The value of a required option.
    pub fn required(&mut self, key: &str) -> Option<String> {
        if self.table.option(key).is_none() {
            // It is there, misspelt, which `finish` says.
            let known = |entry: &OptionEntry| self.docs.iter().any(|doc| doc.key == entry.key);
            let meant = |entry: &OptionEntry| nearest(&entry.key, self.docs.iter().map(|doc| doc.key)) == Some(key);
            if self.table.options.iter().any(|entry| !known(entry) && meant(entry)) {
                return None;
            }
            let description = self.docs.iter().find(|d| d.key == key).map_or("", |d| d.description);
            self.fail(
                Diagnostic::new(Code::OPTION_MISSING, format!("table `{}` needs the option `{key}`", self.table.name))
                    .at(self.table.span.clone())
                    .help(format!("add `'{key}' = '…'` to its WITH clause ({description})")),
            );
            return None;
        }
        self.optional(key)
    }

    /// The parsed value of an option; `expected` describes it (`a whole number`).
    pub fn parsed<T>(&mut self, key: &str, expected: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.value(key)?;
        if let Ok(parsed) = value.parse() {
            return Some(parsed);
        }
        if let Some(entry) = self.table.option(key) {
            self.wrong(entry, expected);
        }
        None
    }

    /// An option that is `true` or `false` (Arroyo also takes `'yes'` and `'no'`); `false` without a value and a
    /// default.
    pub fn flag(&mut self, key: &str) -> bool {
        match self.value(key).as_deref() {
            Some("true" | "yes") => true,
            Some("false" | "no") | None => false,
            Some(_) => {
                if let Some(entry) = self.table.option(key) {
                    self.wrong(entry, "`true` or `false`");
                }
                false
            }
        }
    }

    /// Reports an invalid value. It is shown as written, never with its variables replaced.
    pub fn wrong(&mut self, entry: &OptionEntry, expected: &str) {
        self.errors.push(
            Diagnostic::new(Code::OPTION_VALUE, format!("option `{}` cannot be `{}`", entry.key, entry.value))
                .at(value_span(entry))
                .help(format!("it must be {expected}")),
        );
    }

    /// Adds an error of the caller's own.
    pub fn fail(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    /// Finishes: unknown options are errors too.
    ///
    /// # Errors
    /// All errors that were found.
    pub fn finish(mut self) -> Result<(), Vec<Diagnostic>> {
        for entry in &self.table.options {
            let known = |key: &str| matches!(key, "connector" | "type") || self.docs.iter().any(|d| d.key == key);
            if !known(&entry.key) {
                let mut keys: Vec<_> = self.docs.iter().map(|d| d.key).collect();
                keys.sort_unstable();
                let help = nearest(&entry.key, keys.iter().copied()).map_or_else(
                    || format!("known options are {}", list(&keys)),
                    |near| format!("did you mean `{near}`?"),
                );
                self.errors.push(
                    Diagnostic::new(
                        Code::OPTION_UNKNOWN,
                        format!("table `{}` has no option `{}`", self.table.name, entry.key),
                    )
                    .at(entry.key_span.clone())
                    .help(help),
                );
            }
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

fn value_span(entry: &OptionEntry) -> Span {
    entry.value_span.clone()
}

fn list(values: &[&str]) -> String {
    values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ")
}
