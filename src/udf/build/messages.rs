//! Turns the messages of cargo and rustc into diagnostics at the author's own lines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::workspace::crate_name;
use super::{Places, UdfSource};
use crate::diag::{Code, Diagnostic, SourceText, Span};

pub(super) struct Messages<'a> {
    places: &'a Places,
    sources: &'a [UdfSource],
}

impl<'a> Messages<'a> {
    pub fn new(places: &'a Places, sources: &'a [UdfSource]) -> Self {
        Self { places, sources }
    }

    /// A compiler message as a diagnostic, if it is an error with a text.
    pub fn of_compiler(&self, message: &Value) -> Option<Diagnostic> {
        let said = &message["message"];
        let text = said["message"].as_str().unwrap_or_default();
        if said["level"] != "error" || text.starts_with("aborting due to") || text.is_empty() {
            return None;
        }
        if text.starts_with("linker `") && text.contains("not found") {
            return Some(no_linker(text));
        }
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let source = self.sources.iter().find(|s| crate_name(&s.name).replace('-', "_") == target);
        let spans = said["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        let primary = spans.iter().find(|s| s["is_primary"] == true).or(spans.first());
        let place = primary.and_then(|span| self.place(span, source));
        // A label with names in it adds to the message; one without repeats it.
        let label =
            primary.and_then(|s| s["label"].as_str()).filter(|label| label.contains('`') && !text.contains(label));
        let text = if source.is_none() && primary.is_none() {
            format!("`{target}` does not compile: {text}")
        } else {
            text.into()
        };
        let diagnostic =
            Diagnostic::new(Code::UDF_COMPILE, label.map_or(text.clone(), |label| format!("{text}: {label}")))
                .at(place.or_else(|| source.map(|s| s.name_span.clone())));
        Some(match help(said) {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        })
    }

    /// The place of a compiler's span in a text that can be shown. It is in the UDF itself if one of the macros behind
    /// the span was called there.
    fn place(&self, span: &Value, source: Option<&UdfSource>) -> Option<Span> {
        let mut chain = Vec::new();
        let mut next = Some(span);
        while let Some(span) = next.filter(|s| s.is_object()) {
            chain.push(span);
            next = span.get("expansion").map(|e| &e["span"]);
        }
        let own = source
            .and_then(|s| chain.iter().find(|c| self.path(c).is_some_and(|p| is_same(&p, &s.path))).map(|c| (s, c)));
        if let Some((source, span)) = own {
            return Some(to_span(&source.text, span));
        }
        let outermost = chain.last()?;
        let text = SourceText::read(&self.path(outermost)?).ok()?;
        Some(to_span(&text, outermost))
    }

    /// Relative names are relative to the workspace of the crate: ours, or that of a `path` dependency.
    fn path(&self, span: &Value) -> Option<PathBuf> {
        let name = Path::new(span["file_name"].as_str()?);
        [self.places.baton.join(name), self.places.dir.join(name)].into_iter().find(|p| p.is_file())
    }

    /// The diagnostic if cargo could not even start, for example because a dependency does not exist.
    pub fn of_cargo(&self, stderr: &str) -> Diagnostic {
        let lines: Vec<&str> = stderr.lines().map(str::trim_end).filter(|l| !l.trim().is_empty()).collect();
        let start = lines.iter().position(|l| l.starts_with("error")).unwrap_or(0);
        let said: Vec<&str> = lines.iter().skip(start).map(|l| l.trim_start_matches("error: ").trim()).collect();
        if said.iter().any(|l| l.starts_with("linker `") && l.contains("not found")) {
            return no_linker(said.first().copied().unwrap_or_default());
        }
        let culprit = self
            .sources
            .iter()
            .filter(|s| mentions(&said, &crate_name(&s.name)) || mentions(&said, &format!("crates/{}", s.name)))
            .max_by_key(|s| s.name.len());
        let places = culprit.map(|source| {
            let comment = source.dependencies_span.as_ref();
            comment.map_or_else(|| source.name_span.clone(), |span| dependency_in(source, span, &said))
        });
        // The first line has the error, "Caused by:" the cause; the rest is cargo's own advice. Authors do not know the
        // generated workspace, so its paths are left out.
        let causes = said.windows(2).filter(|pair| pair[0] == "Caused by:").map(|pair| pair[1]);
        let parts: Vec<&str> =
            said.first().copied().into_iter().chain(causes).filter(|p| !p.contains("for workspace member")).collect();
        let message = if parts.is_empty() { "cargo failed without a message".into() } else { parts.join(": ") };
        Diagnostic::new(Code::UDF_COMPILE, message).at(places).help(if culprit.is_some() {
            "correct the dependency in this comment"
        } else {
            "correct the dependencies of the UDFs, or the connection to the package registry"
        })
    }
}

fn mentions(said: &[&str], name: &str) -> bool {
    said.iter().any(|line| {
        line.match_indices(name)
            .any(|(at, _)| !line[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'))
    })
}

/// The line of the comment that names the crate in cargo's error.
fn dependency_in(source: &UdfSource, comment: &Span, said: &[&str]) -> Span {
    let named = source.dependencies.iter().find(|(key, value)| {
        let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
        mentions(said, package) || value.get("path").and_then(toml::Value::as_str).is_some_and(|p| mentions(said, p))
    });
    let start = named.map_or(0, |(name, _)| {
        comment
            .text()
            .match_indices('\n')
            .map(|(at, _)| at + 1)
            .find(|&at| {
                let line = &comment.text()[at..];
                line.starts_with(name.as_str())
                    || line.starts_with(&format!("\"{name}\""))
                    || line.starts_with(&format!("[dependencies.{name}]"))
            })
            .unwrap_or(0)
    });
    let line = comment.text()[start..].lines().next().unwrap_or_default();
    let start = comment.range.start + start;
    Span::new(&comment.source, start..start + line.trim_end().len())
}

fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

fn to_span(text: &Arc<SourceText>, span: &Value) -> Span {
    let number = |key: &str| span[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let offset = |line: &str, column: &str| text.offset(number(line), number(column));
    Span::new(text, offset("line_start", "column_start")..offset("line_end", "column_end"))
}

/// The compiler's first help with its suggested text, or else its first note.
fn help(said: &Value) -> Option<String> {
    let children = said["children"].as_array()?;
    let of = |level: &str| children.iter().find(|c| c["level"] == level && c["message"] != "");
    let chosen = of("help").or_else(|| of("note"))?;
    let text = chosen["message"].as_str()?;
    let written: Vec<&str> = chosen["spans"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["suggested_replacement"].as_str())
        .filter(|s| !s.trim().is_empty())
        .collect();
    Some(match written.as_slice() {
        [one] if !text.contains(one.trim()) => format!("{text}: `{}`", one.trim()),
        _ => text.to_string(),
    })
}

fn no_linker(said: &str) -> Diagnostic {
    Diagnostic::new(Code::UDF_TOOLCHAIN, format!("UDFs cannot be linked: {said}"))
        .help("install a C compiler, for example `apt-get install gcc libc6-dev`")
}
