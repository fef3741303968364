//! Values that must never be shown: they print as `***`, and can be removed from a server's texts.
//!
//! An error is for people, so every key is removed from it. An answer is data, so only what is certainly a key is
//! removed from it: an ordinary word that somebody set as a key (`ollama`, `not-needed`) stays.

use std::fmt;

/// A key or another secret. `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for sending it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the value is removed from answers: it is long enough and not an ordinary word.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let value = self.0.trim();
        value.len() >= LEAST_IN_ANSWERS && !is_ordinary(value)
    }

    /// Whether the value is removed from errors.
    fn is_hidden(&self) -> bool {
        let value = self.0.trim();
        value.len() >= LEAST_IN_ERRORS && !PLACEHOLDERS.iter().any(|word| word.eq_ignore_ascii_case(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A shorter value stays in answers.
pub const LEAST_IN_ANSWERS: usize = 8;

/// A shorter value stays in errors too: removing it would make them unreadable.
const LEAST_IN_ERRORS: usize = 4;

/// A value of this length that is not an ordinary word is the key even inside a longer word.
const SURE: usize = 16;

/// A value of letters alone that is shorter than this is an ordinary word, or a few.
const LONGEST_ORDINARY: usize = 20;

/// What is set as the key of servers that take any.
const PLACEHOLDERS: &[&str] = &[
    "api-key",
    "apikey",
    "changeme",
    "dummy",
    "dummy-key",
    "empty",
    "fake",
    "fake-key",
    "local",
    "localhost",
    "lm-studio",
    "no-key",
    "none",
    "not-needed",
    "not-used",
    "null",
    "ollama",
    "placeholder",
    "sk-no-key-required",
    "test",
    "token",
    "unused",
    "vllm",
    "your-api-key",
];

/// Whether `value` is a word, or a few with `-`, `_` or `.` between them, as people write them: letters alone, each word
/// in one case or with a capital at its beginning.
pub(crate) fn is_ordinary(value: &str) -> bool {
    let is_word = |word: &str| {
        let rest = word.trim_start_matches(|letter: char| letter.is_uppercase());
        let capitals = word.chars().count() - rest.chars().count();
        word.chars().all(char::is_alphabetic)
            && !rest.contains(char::is_uppercase)
            && (rest.is_empty() || capitals <= 1)
    };
    PLACEHOLDERS.iter().any(|word| word.eq_ignore_ascii_case(value))
        || (value.len() < LONGEST_ORDINARY && value.split(['-', '_', '.']).all(is_word))
}

/// `text` without the secrets that are certain, for a server's answer, which goes into rows.
pub fn redact_answer<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    replaced(text, secrets.into_iter().filter(|secret| secret.is_certain()))
}

/// `text` without the secrets, for an error. Servers often quote the key that they refuse.
pub fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    replaced(text, secrets.into_iter().filter(|secret| secret.is_hidden()))
}

/// The longest first: a short secret may be part of a long one, and the rest of the long one would stay.
fn replaced<'a>(text: &str, secrets: impl Iterator<Item = &'a Secret>) -> String {
    let mut forms: Vec<String> = secrets.flat_map(|secret| forms(secret.reveal().trim())).collect();
    forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    let mut text = text.to_owned();
    for form in &forms {
        if text.contains(form.as_str()) {
            text = without(&text, form);
        }
    }
    text
}

/// The value as it is written plainly, in JSON and in a URL.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return forms;
    }
    let in_json = value.replace('\\', "\\\\").replace('"', "\\\"");
    forms.push(in_json.replace('/', "\\/"));
    forms.push(in_json);
    let in_url: String = value
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let in_form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    for encoded in [in_url, in_form] {
        forms.push(lower_hex(&encoded));
        forms.push(encoded);
    }
    forms
}

/// A percent-encoded text with its hexadecimal digits in lower case.
fn lower_hex(text: &str) -> String {
    let mut left = 0_u32;
    text.chars()
        .map(|character| {
            let inside = left > 0;
            left = if character == '%' { 2 } else { left.saturating_sub(1) };
            if inside { character.to_ascii_lowercase() } else { character }
        })
        .collect()
}

/// `text` with `***` in place of each `value` that is not a part of a longer word.
fn without(text: &str, value: &str) -> String {
    let anywhere = value.len() >= SURE && !is_ordinary(value);
    let mut result = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = text[from..].find(value) {
        let (start, end) = (from + found, from + found + value.len());
        if anywhere || (starts_a_word(&text[..start], value) && ends_a_word(&text[end..], value)) {
            result.push_str(&text[from..start]);
            result.push_str("***");
            from = end;
        } else {
            // The next one may overlap with this one.
            let next = start + value.chars().next().map_or(1, char::len_utf8);
            result.push_str(&text[from..next]);
            from = next;
        }
    }
    result.push_str(&text[from..]);
    result
}

fn starts_a_word(before: &str, value: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric();
    if !value.starts_with(is_part) || !before.ends_with(is_part) {
        return true;
    }
    // The last letter may belong to an escape: `\n`, `%3D`.
    let bytes = before.as_bytes();
    let escaped = bytes.len() >= 2 && bytes[bytes.len() - 2] == b'\\' && b"nrtbf".contains(&bytes[bytes.len() - 1]);
    let encoded = bytes.len() >= 3
        && bytes[bytes.len() - 3] == b'%'
        && bytes[bytes.len() - 2..].iter().all(u8::is_ascii_hexdigit);
    escaped || encoded
}

fn ends_a_word(after: &str, value: &str) -> bool {
    !value.ends_with(char::is_alphanumeric) || !after.starts_with(char::is_alphanumeric)
}

/// The credentials of Basic authentication: `bytes` in Base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= part.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let key = Secret::new("sk-canary");
        assert_eq!(format!("{key:?} {key}"), "*** ***");
        assert_eq!(redact("bad key sk-canary!", [&key]), "bad key ***!");
        assert_eq!(redact("unchanged", [&Secret::new("")]), "unchanged");
    }

    #[test]
    fn an_ordinary_word_stays_in_answers() {
        for word in [
            "ollama",
            "EMPTY",
            "password",
            "localhost",
            "Customer",
            "not-needed",
            "lm-studio",
            "sk-no-key-required",
            "dummy-key",
            "your-api-key-here",
            "short1",
        ] {
            assert_eq!(redact_answer(&format!("the {word}."), [&Secret::new(word)]), format!("the {word}."));
        }
        for key in ["sk-canary-5f1c", "a1b2c3d4", "correct-horse-battery-staple", "hunterXhunter", "pass word"] {
            assert_eq!(redact_answer(&format!("the {key}."), [&Secret::new(key)]), "the ***.", "{key}");
        }
    }

    #[test]
    fn errors_show_no_key_but_those_that_everybody_knows() {
        assert_eq!(redact("bad key password", [&Secret::new("password")]), "bad key ***");
        assert_eq!(redact("ollama is down", [&Secret::new("ollama")]), "ollama is down");
        assert_eq!(redact("no model abc", [&Secret::new("abc")]), "no model abc");
    }

    #[test]
    fn a_short_key_is_not_cut_out_of_a_longer_word() {
        let key = Secret::new("version9");
        assert_eq!(
            redact_answer("subversion9 version90 version9 äversion9", [&key]),
            "subversion9 version90 *** äversion9"
        );
        assert_eq!(
            redact_answer(r"a\nversion9 %3Dversion9 version9version9", [&key]),
            r"a\n*** %3D*** version9version9"
        );
        // A long key is certain, whatever it stands beside.
        assert_eq!(redact("xsk-canary-0123456789y", [&Secret::new("sk-canary-0123456789")]), "x***y");
    }

    #[test]
    fn the_longest_goes_first() {
        let keys = [Secret::new("canary-1"), Secret::new("canary-1-long")];
        assert_eq!(redact("canary-1-long canary-1", &keys), "*** ***");
    }

    #[test]
    fn encoded_forms_are_found() {
        let key = Secret::new(r#"ab/c+d="e1 "#);
        for form in [r#"ab/c+d="e1"#, r#"ab/c+d=\"e1"#, r#"ab\/c+d=\"e1"#, "ab%2Fc%2Bd%3D%22e1", "ab%2fc%2bd%3d%22e1"] {
            assert_eq!(redact_answer(&format!("<{form}>"), [&key]), "<***>", "{form}");
        }
    }

    #[test]
    fn base64_as_in_the_rfc() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
