//! Reads the labelled messages of `baton eval`, as JSON lines or CSV. Every line is checked before any model is asked.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use serde_json::Value;

use crate::diag::{Code, Diagnostic, SourceText, Span, display_path, nearest};

/// The name that stands for no agent.
pub const NONE: &str = "NONE";

/// How many wrong lines are shown in full. Of the others, only the line numbers are shown.
const SHOWN: usize = 50;

/// A message, and the agent that should take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The line that it begins on.
    pub line: usize,
    /// The text that the model gets.
    pub text: String,
    /// An agent's name, or [`NONE`].
    pub expected: String,
}

/// The names that a file may expect: the agents of the pipelines, without [`NONE`].
#[derive(Debug, Default)]
pub struct Known {
    /// The names of the pipelines, for messages: `route_messages`.
    pub whose: String,
    /// The names, in the order of the pipelines. Empty when they are unknown; then every name is accepted.
    pub names: Vec<String>,
}

/// Reads a file, `.csv` or JSON lines by its extension.
///
/// # Errors
/// All wrong lines.
pub fn read(path: &Path, known: &Known) -> Result<Vec<Labelled>, Vec<Diagnostic>> {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if !matches!(extension.as_deref(), Some("csv" | "jsonl" | "ndjson")) {
        let message = format!("cannot tell how `{}` is written", display_path(path));
        let help = "call it .jsonl (a JSON object on each line) or .csv, with `text` and `expected`";
        return Err(vec![Diagnostic::new(Code::FILE, message).help(help)]);
    }
    let source = SourceText::read(path).map_err(|e| vec![e])?;
    let mut reader = Reader { known, source, rows: Vec::new(), wrong: Vec::new() };
    if extension.as_deref() == Some("csv") {
        reader.csv();
    } else {
        reader.json_lines();
    }
    reader.end()
}

struct Reader<'a> {
    known: &'a Known,
    source: Arc<SourceText>,
    rows: Vec<Labelled>,
    wrong: Vec<Wrong>,
}

struct Wrong {
    line: usize,
    range: Range<usize>,
    message: String,
    help: String,
}

/// A mistake in a line: the message, the edit to make, and the part of the line.
struct Mistake {
    message: String,
    help: String,
    at: Option<Range<usize>>,
}

impl Mistake {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), at: None }
    }
}

impl Reader<'_> {
    fn json_lines(&mut self) {
        let source = Arc::clone(&self.source);
        let mut start = 0;
        for (number, whole) in source.text.split_inclusive('\n').enumerate() {
            let mut line = whole;
            if number == 0 {
                line = line.trim_start_matches('\u{feff}');
            }
            let from = start + whole.len() - line.len();
            let line = line.trim_end();
            if !line.trim().is_empty() {
                let fields = json_fields(line);
                self.take(number + 1, from..from + line.len(), fields);
            }
            start += whole.len();
        }
    }

    fn csv(&mut self) {
        let source = Arc::clone(&self.source);
        let text = source.text.as_str();
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut record = StringRecord::new();
        let mut columns: Option<Columns> = None;
        let (mut line, mut seen) = (1, 0);
        loop {
            // The text is UTF-8 and in memory, so reading cannot fail. If it does, there is more that was not read.
            let more = match reader.read_record(&mut record) {
                Ok(more) => more,
                Err(error) => {
                    self.add(line, seen..text.len(), Mistake::new(error.to_string(), "write it as RFC 4180 says"));
                    false
                }
            };
            if !more {
                return;
            }
            let end = usize::try_from(reader.position().byte()).unwrap_or(text.len()).min(text.len());
            let begin = usize::try_from(record.position().map_or(0, csv::Position::byte)).unwrap_or(seen);
            let raw = text[begin..end].trim_start_matches(['\r', '\n', '\u{feff}']);
            let start = end - raw.len();
            line += text[seen..start].matches('\n').count();
            seen = start;
            let range = start..start + raw.trim_end_matches(['\r', '\n']).len();
            if raw.matches('"').count() % 2 == 1 {
                let help = "close it, and double every quotation mark inside a field: \"\"";
                self.add(line, range, Mistake::new("a quotation mark is not closed", help));
                return;
            }
            match &columns {
                None => match Columns::of(&record) {
                    Ok(found) => columns = Some(found),
                    Err(mistake) => return self.add(line, range, mistake),
                },
                Some(columns) => self.take(line, range, columns.fields(&record)),
            }
        }
    }

    /// Checks a line's two fields. Records what is wrong with them.
    fn take(&mut self, line: usize, range: Range<usize>, fields: Result<(String, String), Mistake>) {
        let checked = fields.and_then(|(text, expected)| {
            if text.trim().is_empty() {
                return Err(Mistake::new("`text` is blank, and no model is asked about that", "remove the line"));
            }
            self.check_name(&expected, &self.source.text[range.clone()])?;
            Ok(Labelled { line, text, expected })
        });
        match checked {
            Ok(row) => self.rows.push(row),
            Err(mistake) => self.add(line, range, mistake),
        }
    }

    fn check_name(&self, expected: &str, line: &str) -> Result<(), Mistake> {
        let Known { whose, names } = self.known;
        if names.is_empty() || expected == NONE || names.iter().any(|name| name == expected) {
            return Ok(());
        }
        let help = match nearest(expected, names.iter().map(String::as_str).chain([NONE])) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the names are {} and {NONE}", names.join(", ")),
        };
        let at = line.rfind(expected).filter(|_| !expected.is_empty()).map(|at| at..at + expected.len());
        Err(Mistake { at, ..Mistake::new(format!("`{expected}` is not an agent of {whose}"), help) })
    }

    fn add(&mut self, line: usize, range: Range<usize>, mistake: Mistake) {
        let Mistake { message, help, at } = mistake;
        let range = at.map_or(range.clone(), |at| range.start + at.start..range.start + at.end);
        self.wrong.push(Wrong { line, range, message, help });
    }

    fn end(mut self) -> Result<Vec<Labelled>, Vec<Diagnostic>> {
        if self.rows.is_empty() && self.wrong.is_empty() {
            let help = "write a line for each message: {\"text\": \"…\", \"expected\": \"an agent's name, or NONE\"}";
            let whole = 0..self.source.text.find('\n').unwrap_or(self.source.text.len());
            self.add(1, whole, Mistake::new("the file has no labelled message", help));
        }
        if self.wrong.is_empty() {
            return Ok(self.rows);
        }
        let others = self.wrong.split_off(self.wrong.len().min(SHOWN));
        if let Some(first) = others.first() {
            let message = format!("{} more lines are wrong: {}", others.len(), runs(others.iter().map(|w| w.line)));
            let mistake = Mistake::new(message, "correct the ones above, and run it once more");
            let (line, range) = (first.line, first.range.clone());
            self.add(line, range, mistake);
        }
        let told = self.wrong.iter().map(|wrong| {
            Diagnostic::new(Code::LABELLED, &*wrong.message)
                .at(Span::new(&self.source, wrong.range.clone()))
                .help(&*wrong.help)
        });
        Err(told.collect())
    }
}

fn json_fields(line: &str) -> Result<(String, String), Mistake> {
    const SHAPE: &str = "write it like {\"text\": \"…\", \"expected\": \"an agent's name, or NONE\"}";
    let value = serde_json::from_str(line).map_err(|error| {
        // The diagnostic has the place already, so the parser's ` at line …` is cut.
        let said = error.to_string();
        let message = format!("the line is not JSON: {}", said.split(" at line ").next().unwrap_or(&said));
        let at = line.char_indices().map(|(i, _)| i).take_while(|i| *i < error.column()).last().unwrap_or(0);
        Mistake { at: Some(at..line.len()), ..Mistake::new(message, SHAPE) }
    })?;
    let Value::Object(mut fields) = value else { return Err(Mistake::new("the line is not a JSON object", SHAPE)) };
    let mut field = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        None => Err(Mistake::new(format!("the line has no `{name}`"), SHAPE)),
        Some(Value::Null) if name == "expected" => {
            Err(Mistake::new("`expected` is null", format!("write \"{NONE}\" for a message that no agent takes")))
        }
        Some(_) => Err(Mistake::new(format!("`{name}` is not text"), SHAPE)),
    };
    Ok((field("text")?, field("expected")?))
}

/// Where the two columns are.
struct Columns {
    text: usize,
    expected: usize,
    all: usize,
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Mistake> {
        let place = |wanted: &str| {
            let mut found = header.iter().enumerate().filter(|(_, name)| name.trim() == wanted);
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (Some(_), Some(_)) => Err(Mistake::new(
                    format!("the first line names the column `{wanted}` twice"),
                    "rename one of the two",
                )),
                _ => Err(Mistake::new(
                    format!("the first line names no column `{wanted}`"),
                    "name the columns there, separated by commas: text,expected",
                )),
            }
        };
        Ok(Self { text: place("text")?, expected: place("expected")?, all: header.len() })
    }

    fn fields(&self, record: &StringRecord) -> Result<(String, String), Mistake> {
        if record.len() != self.all {
            let fields = if record.len() == 1 { "1 field" } else { &*format!("{} fields", record.len()) };
            let message = format!("the line has {fields}, the first line has {}", self.all);
            let help = if record.len() < self.all {
                "write every column that the first line names"
            } else {
                "put a field with commas in it into quotation marks"
            };
            return Err(Mistake::new(message, help));
        }
        let field = |at: usize| record.get(at).unwrap_or_default().to_string();
        Ok((field(self.text), field(self.expected)))
    }
}

/// Numbers in ascending order, as `3, 7 to 9`.
fn runs(numbers: impl Iterator<Item = usize>) -> String {
    let mut out = String::new();
    let mut numbers = numbers.collect::<BTreeSet<_>>().into_iter().peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|next| *next == last + 1) {
            last = next;
        }
        let comma = if out.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = match last - first {
            0 => write!(out, "{comma}{first}"),
            1 => write!(out, "{comma}{first}, {last}"),
            _ => write!(out, "{comma}{first} to {last}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known { whose: "`route`".into(), names: vec!["Lead Scoring Agent".into(), "Send Email Agent".into()] }
    }

    fn file(name: &str, text: &str) -> Result<Vec<Labelled>, Vec<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path, &known())
    }

    fn rows(name: &str, text: &str) -> Vec<(usize, String, String)> {
        let rows = file(name, text).unwrap_or_else(|errors| panic!("{errors:?}"));
        rows.into_iter().map(|row| (row.line, row.text, row.expected)).collect()
    }

    /// Line and column, what is wrong, and the edit.
    fn wrong(name: &str, text: &str) -> Vec<String> {
        let errors = file(name, text).expect_err("a mistake");
        let told = errors.into_iter().map(|e| {
            let span = e.span.expect("a place");
            let (line, column) = span.source.line_column(span.range.start);
            format!("{line}:{column} {} | {}", e.message, e.help.expect("an edit"))
        });
        told.collect()
    }

    fn row(line: usize, text: &str, expected: &str) -> (usize, String, String) {
        (line, text.into(), expected.into())
    }

    #[test]
    fn json_lines_are_read_whatever_else_they_hold() {
        let text = "\u{feff}{\"text\":\"a\",\"expected\":\"NONE\",\"why\":[1]}\r\n\n  \n {\"expected\":\"Send Email Agent\",\"text\":\" \\u00fc\\n\"}";
        assert_eq!(rows("a.jsonl", text), [row(1, "a", "NONE"), row(4, " ü\n", "Send Email Agent")]);
        assert_eq!(rows("a.ndjson", "{\"text\":\"a\",\"expected\":\"NONE\"}\n").len(), 1);
    }

    #[test]
    fn csv_is_read_as_rfc_4180_has_it() {
        let text = "\u{feff}text,id, expected\r\nplain,1,NONE\r\n\r\n\"two\r\nlines, \"\"quoted\"\"\",2,Send Email Agent\r\nü,3,\"NONE\"\n";
        assert_eq!(
            rows("a.CSV", text),
            [row(2, "plain", "NONE"), row(4, "two\r\nlines, \"quoted\"", "Send Email Agent"), row(6, "ü", "NONE")]
        );
        assert_eq!(rows("a.csv", "text,expected\na,NONE"), [row(2, "a", "NONE")]);
    }

    #[test]
    fn all_wrong_json_lines_are_told() {
        let text = "{\"text\":\"Send Emails Agent\",\"expected\":\"Send Emails Agent\"}\nno JSON\n[1]\n{\"text\":1,\"expected\":\"NONE\"}\n\
                    {\"text\":\"a\"}\n{\"text\":\"a\",\"expected\":null}\n{\"text\":\" \",\"expected\":\"NONE\"}\n{\"text\":\"a\",\"expected\":\"Janitor\"}\n{\"text\":\"a\",\"expected\":\"none\"}\n";
        insta::assert_snapshot!(wrong("a.jsonl", text).join("\n"), @r#"
        1:41 `Send Emails Agent` is not an agent of `route` | did you mean `Send Email Agent`?
        2:2 the line is not JSON: expected ident | write it like {"text": "…", "expected": "an agent's name, or NONE"}
        3:1 the line is not a JSON object | write it like {"text": "…", "expected": "an agent's name, or NONE"}
        4:1 `text` is not text | write it like {"text": "…", "expected": "an agent's name, or NONE"}
        5:1 the line has no `expected` | write it like {"text": "…", "expected": "an agent's name, or NONE"}
        6:1 `expected` is null | write "NONE" for a message that no agent takes
        7:1 `text` is blank, and no model is asked about that | remove the line
        8:25 `Janitor` is not an agent of `route` | the names are Lead Scoring Agent, Send Email Agent and NONE
        9:25 `none` is not an agent of `route` | did you mean `NONE`?
        "#);
    }

    #[test]
    fn all_wrong_csv_lines_are_told() {
        let text = "text,expected\na,Nobody Agent\nb\n\"c\",NONE,x\n\"\n\",NONE\n\"d,NONE\n";
        insta::assert_snapshot!(wrong("a.csv", text).join("\n"), @r#"
        2:3 `Nobody Agent` is not an agent of `route` | the names are Lead Scoring Agent, Send Email Agent and NONE
        3:1 the line has 1 field, the first line has 2 | write every column that the first line names
        4:1 the line has 3 fields, the first line has 2 | put a field with commas in it into quotation marks
        5:1 `text` is blank, and no model is asked about that | remove the line
        7:1 a quotation mark is not closed | close it, and double every quotation mark inside a field: ""
        "#);
        for header in ["text;expected\na;NONE\n", "expected,words\nNONE,a\n", "text,expected,text\na,NONE,b\n"] {
            let told = wrong("a.csv", header);
            assert!(told.len() == 1 && told[0].starts_with("1:1 the first line names"), "{told:?}");
        }
    }

    #[test]
    fn a_file_without_messages_is_wrong() {
        for (name, text) in [("a.jsonl", ""), ("a.jsonl", "\n\n"), ("a.csv", ""), ("a.csv", "text,expected\n")] {
            assert!(wrong(name, text)[0].contains("no labelled message"), "{name}: {text:?}");
        }
        let unknown = file("a.txt", "").expect_err("an extension");
        assert_eq!(unknown[0].code, Code::FILE);
    }

    #[test]
    fn many_wrong_lines_are_told_by_number() {
        let text = "{\"text\":\"a\"}\n".repeat(60) + "{\"text\":\"a\",\"expected\":\"NONE\"}\n{}\n";
        let told = wrong("a.jsonl", &text);
        assert_eq!(told.len(), 51);
        assert!(told[50].starts_with("51:1 11 more lines are wrong: 51 to 60, 62 |"), "{}", told[50]);
    }

    #[test]
    fn names_are_not_checked_when_they_are_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\":\"a\",\"expected\":\"Anybody\"}").unwrap();
        assert_eq!(read(&path, &Known::default()).unwrap().len(), 1);
    }
}
