//! The errors of a JSON message and their texts.

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use crate::sql::json::MAX_DEPTH;

/// The longest piece of a message that an error shows, in characters.
const SHOWN: usize = 60;

/// Why a message cannot become a row.
#[derive(Debug)]
pub(in crate::formats) struct Wrong {
    /// The path to the column, outermost name last.
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Syntax(JsonErrorType, usize),
    NoObject(String),
    Type { expected: String, found: String },
    Null { missing: bool },
    TooMuch,
}

impl Wrong {
    fn new(what: What) -> Self {
        Self { path: Vec::new(), what }
    }

    pub(super) fn syntax(error: JsonErrorType, index: usize) -> Self {
        Self::new(What::Syntax(error, index))
    }

    /// The message is JSON, but not an object.
    pub(super) fn no_object(json: &mut Jiter<'_>, peek: Peek) -> Self {
        skip(json, peek).map_or_else(|wrong| wrong, |found| Self::new(What::NoObject(found)))
    }

    /// The next value's type does not fit its column.
    pub(super) fn type_of_next(json: &mut Jiter<'_>, peek: Peek, expected: &str) -> Self {
        skip(json, peek).map_or_else(|wrong| wrong, |found| Self::type_of(expected, &found))
    }

    /// A parsed value does not fit its column.
    pub(super) fn type_of(expected: &str, found: &str) -> Self {
        Self::new(What::Type { expected: expected.to_string(), found: shortened(found) })
    }

    /// Whether the message is not JSON, so that reading cannot continue.
    pub(super) fn is_syntax(&self) -> bool {
        matches!(self.what, What::Syntax(..))
    }

    /// A NOT NULL column has no value.
    pub(super) fn null(missing: bool) -> Self {
        Self::new(What::Null { missing })
    }

    /// More text than a column of one batch can hold.
    pub(super) fn too_much() -> Self {
        Self::new(What::TooMuch)
    }

    #[must_use]
    pub(super) fn inside(mut self, name: &str) -> Self {
        self.path.push(name.to_string());
        self
    }

    /// `company.address.city`, `tags[2]`.
    fn column(&self) -> String {
        let mut column = String::new();
        for part in self.path.iter().rev() {
            if !column.is_empty() && !part.starts_with('[') {
                column.push('.');
            }
            column.push_str(part);
        }
        column
    }

    /// The sentence for the user.
    pub(super) fn describe(&self, payload: &[u8]) -> String {
        let column = self.column();
        match &self.what {
            What::Syntax(error, index) => syntax(error, *index, payload),
            What::NoObject(found) => format!("a row must be a JSON object, this is `{}`", shortened(found)),
            What::Type { expected, found } => format!("column `{column}` is {expected}, which `{found}` is not"),
            What::Null { missing: true } => format!("column `{column}` is NOT NULL, but the message does not have it"),
            What::Null { missing: false } => format!("column `{column}` is NOT NULL, but the message has null"),
            What::TooMuch => format!("column `{column}` would hold more than 2 GB in one batch"),
        }
    }
}

impl From<JiterError> for Wrong {
    fn from(error: JiterError) -> Self {
        match error.error_type {
            JiterErrorType::JsonError(what) => Self::syntax(what, error.index),
            // Types are checked before a value is read, so the value itself is invalid.
            JiterErrorType::WrongType { .. } => Self::syntax(JsonErrorType::ExpectedSomeValue, error.index),
        }
    }
}

/// Skips the next value and returns its text.
fn skip(json: &mut Jiter<'_>, peek: Peek) -> Result<String, Wrong> {
    let start = json.current_index();
    json.known_skip(peek)?;
    Ok(shortened(&String::from_utf8_lossy(json.slice_to_current(start))))
}

fn syntax(error: &JsonErrorType, index: usize, payload: &[u8]) -> String {
    use JsonErrorType as E;
    if payload.starts_with(b"\xef\xbb\xbf") {
        return "it is not JSON: it begins with a byte order mark, which JSON must not have".into();
    }
    let reason = match error {
        E::EofWhileParsingList | E::EofWhileParsingObject | E::EofWhileParsingString | E::EofWhileParsingValue => {
            if payload.iter().all(u8::is_ascii_whitespace) {
                return "it is not JSON: it has nothing but white space".into();
            }
            "it ends before it is complete".to_string()
        }
        E::TrailingCharacters => "something follows after its end (one message holds one JSON object)".into(),
        E::RecursionLimitExceeded => format!("it is nested deeper than {MAX_DEPTH} levels"),
        E::LoneLeadingSurrogateInHexEscape | E::UnexpectedEndOfHexEscape | E::InvalidUnicodeCodePoint => {
            "an escape like `\\ud83d` is half a character".into()
        }
        E::ControlCharacterWhileParsingString => {
            "a string has a control character that is not escaped (a line break in one is written `\\n`)".into()
        }
        E::TrailingComma => "a comma is followed by nothing".into(),
        E::KeyMustBeAString => "a key is not in double quotes".into(),
        E::InvalidEscape => "a backslash in a string is followed by a character that cannot be escaped".into(),
        E::InvalidNumber => "a number is not written as JSON has them".into(),
        E::NumberOutOfRange => "a number has more than 4,300 digits".into(),
        E::ExpectedColon => "a key is not followed by a colon".into(),
        E::ExpectedListCommaOrEnd => "a comma or `]` is missing".into(),
        E::ExpectedObjectCommaOrEnd => "a comma or `}` is missing".into(),
        E::ExpectedSomeIdent | E::ExpectedSomeValue => {
            "a value is missing or not JSON (text needs double quotes)".into()
        }
        other => other.to_string(),
    };
    let before = String::from_utf8_lossy(&payload[..index.min(payload.len())]).chars().count();
    format!("it is not JSON: {reason}; character {}, near `{}`", before + 1, near(payload, index))
}

/// The text around a position.
fn near(payload: &[u8], index: usize) -> String {
    let from = index.saturating_sub(SHOWN / 2).min(payload.len());
    let to = (index + SHOWN / 2).min(payload.len());
    String::from_utf8_lossy(&payload[from..to]).trim_matches('\u{fffd}').replace(char::is_control, " ")
}

/// A value on one line, cut if it is long.
pub(crate) fn shortened(text: &str) -> String {
    let shown = match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    };
    shown.replace(char::is_control, " ")
}
