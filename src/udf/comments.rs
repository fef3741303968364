//! Settings in a UDF's source that only the embedded engine reads: line comments of the form `// baton: timeout =
//! "none"`. The compiler and Arroyo ignore them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};
use toml::{Spanned, Value};

use super::options::{AsyncOptions, duration};
use super::place::span_of;
use crate::diag::{Code, Diagnostic, SourceText, Span, nearest};

/// The start of a comment for the embedded engine, after `//`.
const FOR_BATON: &str = "baton:";
const KEYS: [&str; 1] = ["timeout"];
const EXAMPLE: &str = "write `// baton: timeout = \"none\"`";

/// A setting of such a comment.
pub(super) struct Said<T> {
    pub value: T,
    pub span: Span,
}

/// The timeout on the embedded engine, if a comment sets one. Errors are added to `errors`.
pub(super) fn timeout(
    text: &Arc<SourceText>,
    tokens: TokenStream,
    errors: &mut Vec<Diagnostic>,
) -> Option<Said<Duration>> {
    let mut found: Option<Said<Duration>> = None;
    for comment in line_comments(text, tokens) {
        let body = &text.text[comment.clone()];
        let Some(rest) = body.trim_start().strip_prefix(FOR_BATON) else { continue };
        let start = comment.end - rest.len();
        for Said { value, span } in settings(text, start..comment.end, errors) {
            let (key, value) = value;
            if key != "timeout" {
                let help = nearest(&key, KEYS).map_or_else(|| EXAMPLE.into(), |near| format!("did you mean `{near}`?"));
                errors.push(
                    Diagnostic::new(Code::UDF_SOURCE, format!("`{key}` is not a setting for Baton"))
                        .at(span)
                        .help(help),
                );
                continue;
            }
            let Some(value) = limit(&value) else {
                let message = "`timeout` takes `none`, or a time above zero: a whole number and `ms`, `s`, `m` or `h`";
                errors.push(Diagnostic::new(Code::UDF_SOURCE, message).at(span).help(EXAMPLE));
                continue;
            };
            match &found {
                Some(first) => errors.push(
                    Diagnostic::new(Code::UDF_SOURCE, "`timeout` is given to Baton twice")
                        .at(span)
                        .help(format!("remove one: the other is at {}", first.span.place())),
                ),
                None => found = Some(Said { value, span }),
            }
        }
    }
    found
}

/// The `key = value` settings after `baton:`, each at the place of its key or, if the value matters, of the whole
/// setting.
fn settings(text: &Arc<SourceText>, place: Range<usize>, errors: &mut Vec<Diagnostic>) -> Vec<Said<(String, Value)>> {
    let body = &text.text[place.clone()];
    let at = |range: Range<usize>| Span::new(text, place.start + range.start..place.start + range.end);
    match toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(body) {
        Ok(entries) if entries.is_empty() => {
            let error =
                Diagnostic::new(Code::UDF_SOURCE, "this comment has no setting for Baton").at(at(0..body.len()));
            errors.push(error.help(EXAMPLE));
            Vec::new()
        }
        Ok(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                let span = if KEYS.contains(&key.get_ref().as_str()) { value.span() } else { key.span() };
                Said { value: (key.into_inner(), value.into_inner()), span: at(span) }
            })
            .collect(),
        Err(error) => {
            errors.push(
                Diagnostic::new(Code::UDF_SOURCE, "this comment for Baton is not of the form `key = \"value\"`")
                    .at(at(error.span().unwrap_or(0..body.len())))
                    .help(EXAMPLE),
            );
            Vec::new()
        }
    }
}

fn limit(value: &Value) -> Option<Duration> {
    match value.as_str()? {
        "none" => Some(AsyncOptions::NO_TIMEOUT),
        text => duration(text),
    }
}

/// The text after each `//`. Between two tokens there is only white space and comments; doc comments are tokens.
fn line_comments(text: &Arc<SourceText>, tokens: TokenStream) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    token_places(text, tokens, &mut places);
    places.push(text.text.len()..text.text.len());
    let mut comments = Vec::new();
    let mut end = 0;
    for place in places {
        // The tokens of a doc comment all have the comment's place.
        if place.start > end {
            gap(&text.text, end..place.start, &mut comments);
        }
        end = end.max(place.end);
    }
    comments
}

fn token_places(text: &Arc<SourceText>, tokens: TokenStream, places: &mut Vec<Range<usize>>) {
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            places.push(span_of(text, group.span_open()).range);
            token_places(text, group.stream(), places);
            places.push(span_of(text, group.span_close()).range);
        } else {
            places.push(span_of(text, token.span()).range);
        }
    }
}

/// The line comments of a range without tokens. Block comments nest.
fn gap(text: &str, stretch: Range<usize>, comments: &mut Vec<Range<usize>>) {
    let mut at = stretch.start;
    let mut depth = 0_usize;
    while at < stretch.end {
        let rest = &text[at..stretch.end];
        if depth == 0 && rest.starts_with("//") {
            let end = rest.find('\n').map_or(stretch.end, |i| at + i);
            comments.push(at + 2..end);
            at = end;
        } else if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if depth > 0 && rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
}
