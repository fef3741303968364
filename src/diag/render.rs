//! Diagnostics as text for people (the line itself, a caret, `help:`) and as JSON for scripts.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Severity, Span};

/// Whether text may hold terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// No control characters.
    Plain,
    /// ANSI colours.
    Coloured,
}

/// All diagnostics as text, an empty line between two of them.
#[must_use]
pub fn to_text(diagnostics: &[Diagnostic], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    diagnostics.iter().map(|d| one(d, &renderer)).collect::<Vec<_>>().join("\n\n")
}

fn one(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut error = level
        .primary_title(&diagnostic.message)
        .id(diagnostic.code.0)
        .elements(Vec::<annotate_snippets::Element<'_>>::new());
    if let Some(span) = diagnostic.span.as_ref().filter(|_| diagnostic.is_secret) {
        let (line, column) = span.source.line_column(span.range.start);
        error = error.element(Origin::path(&span.source.name).line(line).char_column(column));
    } else if let Some(span) = &diagnostic.span {
        error = error.element(
            Snippet::source(&span.source.text)
                .path(&span.source.name)
                .annotation(AnnotationKind::Primary.span(first_line(span))),
        );
    }
    let mut report = vec![error];
    if let Some(help) = &diagnostic.help {
        report.push(annotate_snippets::Group::with_title(Level::HELP.secondary_title(help)));
    }
    renderer.render(&report)
}

/// Of several lines, only the first gets a caret: it is easier to see.
fn first_line(span: &Span) -> Range<usize> {
    let length = span.text().find('\n').unwrap_or(span.text().len());
    let end = span.range.start + length;
    let nothing_to_mark = length == 0 && span.source.text[end..].chars().next().is_some_and(|c| c != '\n');
    span.range.start..if nothing_to_mark {
        end + span.source.text[end..].chars().next().map_or(0, char::len_utf8)
    } else {
        end
    }
}

/// All diagnostics as one JSON object: `{"errors":[{"code","message","file","line","column","help"}],"warnings":[…]}`.
#[must_use]
pub fn to_json(diagnostics: &[Diagnostic]) -> Value {
    let of = |severity: Severity| -> Vec<Value> {
        let some = diagnostics.iter().filter(|d| d.severity == severity);
        some.map(|d| {
            let place = d.span.as_ref().map(|s| (s.source.name.clone(), s.source.line_column(s.range.start)));
            json!({
                "code": d.code.0,
                "message": d.message,
                "file": place.as_ref().map(|(file, _)| file),
                "line": place.as_ref().map(|(_, (line, _))| line),
                "column": place.as_ref().map(|(_, (_, column))| column),
                "help": d.help,
            })
        })
        .collect()
    };
    json!({ "errors": of(Severity::Error), "warnings": of(Severity::Warning) })
}

/// A line for each diagnostic, which GitHub shows beside the line of the file
/// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>).
#[must_use]
pub fn to_github(diagnostics: &[Diagnostic]) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let one = |d: &Diagnostic| {
        let kind = match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = d.span.as_ref().map_or_else(String::new, |span| {
            let (line, column) = span.source.line_column(span.range.start);
            let file = escaped(&span.source.name).replace(':', "%3A").replace(',', "%2C");
            format!("file={file},line={line},col={column},")
        });
        let help = d.help.as_ref().map_or_else(String::new, |help| format!("\nhelp: {help}"));
        format!("::{kind} {place}title={}::{}\n", d.code.0, escaped(&format!("{}{help}", d.message)))
    };
    diagnostics.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Code, SourceText};

    #[test]
    fn text_shows_the_line_a_caret_and_the_edit() {
        let source = SourceText::new("pipelines/a.sql", "-- a comment\nSELECT lead_scroe, email\nFROM t;\n");
        let start = source.text.find("lead_scroe").unwrap();
        let diagnostic = Diagnostic::new(Code::COLUMN_UNKNOWN, "column `lead_scroe` not found in `t`")
            .at(Span::new(&source, start..start + 10))
            .help("did you mean `lead_score`?");
        insta::assert_snapshot!(to_text(std::slice::from_ref(&diagnostic), Style::Plain), @r"
        error[Q101]: column `lead_scroe` not found in `t`
         --> pipelines/a.sql:2:8
          |
        2 | SELECT lead_scroe, email
          |        ^^^^^^^^^^
          |
        help: did you mean `lead_score`?
        ");
        assert_eq!(to_json(&[diagnostic])["errors"][0]["line"], 2);
    }
}
