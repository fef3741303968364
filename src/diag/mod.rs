//! A mistake as a user sees it: a code, a sentence, the place in the text and one edit to make.
//!
//! Everything that can be wrong in SQL, options or UDF sources becomes a [`Diagnostic`]; printing them and choosing an
//! exit code belongs to `cli`.

mod codes;
mod render;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use codes::{Code, CodeDoc, all as all_codes};
pub use render::{Style, to_github, to_json, to_text};

/// A text that was read, and the name under which a user knows it (a path, as a rule relative to the project).
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Shown in messages: `pipelines/route_messages.sql`.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    /// For generated text, the statement that an author wrote. Users are shown that.
    origin: Option<Span>,
}

impl SourceText {
    /// A text under a name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text: String = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Arc::new(Self { name: name.into(), text, lines, origin: None })
    }

    /// A text that Baton generates from a statement.
    pub fn expanded(name: impl Into<String>, text: impl Into<String>, origin: Span) -> Arc<Self> {
        let mut source = Self::new(name, text);
        if let Some(source) = Arc::get_mut(&mut source) {
            source.origin = Some(origin);
        }
        source
    }

    /// Reads a UTF-8 file.
    ///
    /// # Errors
    /// A diagnostic with [`Code::FILE`] when the file cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Arc<Self>, Diagnostic> {
        let shown = display_path(path);
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(shown, text)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                let message = format!("cannot read `{shown}`: it is not UTF-8 text");
                Err(Diagnostic::new(Code::FILE, message).help("save the file as UTF-8"))
            }
            Err(error) => {
                Err(Diagnostic::new(Code::FILE, format!("cannot read `{shown}`: {error}")).help("check the path"))
            }
        }
    }

    /// Line and column, both from 1, of a byte offset; the column counts characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor_char_boundary(offset);
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The byte offset of a line and a column, both from 1; past the end of a line it is that line's end.
    #[must_use]
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.lines.get(line.saturating_sub(1)).copied() else { return self.text.len() };
        let rest = self.text[start..].split('\n').next().unwrap_or("");
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(i, _)| i)
    }

    fn floor_char_boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// A path as users know it: relative to the current directory where it lies below it.
#[must_use]
pub fn display_path(path: &Path) -> String {
    let shown = std::env::current_dir().ok().and_then(|cwd| path.strip_prefix(cwd).ok().map(Path::to_path_buf));
    shown.as_deref().unwrap_or(path).display().to_string()
}

/// A part of a text, in bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The text it lies in.
    pub source: Arc<SourceText>,
    /// The range, in bytes from the start of the text.
    pub range: Range<usize>,
}

impl Span {
    /// A part of `source`. A range past its end or inside a character is moved to a valid place.
    #[must_use]
    pub fn new(source: &Arc<SourceText>, range: Range<usize>) -> Self {
        let start = source.floor_char_boundary(range.start);
        let end = source.floor_char_boundary(range.end).max(start);
        Self { source: Arc::clone(source), range: start..end }
    }

    /// Itself, or in generated text the statement that an author wrote.
    #[must_use]
    pub fn written(&self) -> &Self {
        self.source.origin.as_ref().map_or(self, Self::written)
    }

    /// The text of the part.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    /// `file:line:column`.
    #[must_use]
    pub fn place(&self) -> String {
        let Self { source, range } = self.written();
        let (line, column) = source.line_column(range.start);
        format!("{}:{line}:{column}", source.name)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.place(), self.range.end)
    }
}

/// Whether a mistake is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Certain: nothing runs.
    Error,
    /// Possible: it may be intended.
    Warning,
}

/// One mistake, as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it is certain.
    pub severity: Severity,
    /// The kind of mistake.
    pub code: Code,
    /// What is wrong, in the user's words: tables, columns, options.
    pub message: String,
    /// The place, when it is in a text.
    pub span: Option<Span>,
    /// The edit to make.
    pub help: Option<String>,
    /// Whether the line must not be shown, because it holds a secret.
    pub is_secret: bool,
}

impl Diagnostic {
    /// A mistake without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span: None, help: None, is_secret: false }
    }

    /// A possible mistake.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(code, message) }
    }

    /// The same, at a place that an author wrote.
    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Span>>) -> Self {
        self.span = span.into().map(|span| span.written().clone());
        self
    }

    /// The same, for a line that holds a secret: only its place is shown.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// The same, with the edit to make.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(std::slice::from_ref(self), Style::Plain))
    }
}

impl std::error::Error for Diagnostic {}

/// Sorts diagnostics by file, then by place; those without a place come last.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|d| {
        d.span.as_ref().map_or((true, String::new(), 0), |s| (false, s.source.name.clone(), s.range.start))
    });
}

/// The name among `known` that a user most likely meant by `name`.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (edit_distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let length = candidate.chars().count().max(wanted.chars().count());
            // Two single letters have nothing in common.
            *distance <= (length / 3).max(1) && *distance < length.max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_places_agree_on_every_character() {
        let source = SourceText::new("a.sql", "SELECT 'ü',\n  'x'\n\nFROM t");
        for (offset, _) in source.text.char_indices() {
            let (line, column) = source.line_column(offset);
            assert_eq!(source.offset(line, column), offset, "line {line} column {column}");
        }
        assert_eq!(source.line_column(source.text.find("FROM").unwrap()), (4, 1));
        assert_eq!(source.offset(99, 1), source.text.len());
    }

    #[test]
    fn the_nearest_name_is_a_plausible_one() {
        assert_eq!(nearest("lead_scroe", ["lead_score", "email"]), Some("lead_score"));
        assert_eq!(nearest("zzz", ["lead_score", "email"]), None);
        assert_eq!(nearest("Bootstrap_Server", ["bootstrap_servers", "topic"]), Some("bootstrap_servers"));
    }
}
