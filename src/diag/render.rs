//! Diagnostics as text for people (the line itself, a caret, `help:`) and as JSON for scripts.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Span};

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
    let mut error = Level::ERROR
        .primary_title(&diagnostic.message)
        .id(diagnostic.code.0)
        .elements(Vec::<annotate_snippets::Element<'_>>::new());
    if let Some(span) = &diagnostic.span {
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

/// A caret under several lines says less than one under the first.
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

/// All diagnostics as one JSON object: `{"errors":[{"code","message","file","line","column","help"}]}`.
#[must_use]
pub fn to_json(diagnostics: &[Diagnostic]) -> Value {
    let errors: Vec<Value> = diagnostics
        .iter()
        .map(|d| {
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
        .collect();
    json!({ "errors": errors })
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
