//! Values that must never be shown: they print as `***`, and can be removed from a server's texts.

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

/// A key shorter than this may be a plain word (local servers use `none`, `EMPTY`, `ollama`), so it is left in answers:
/// removing it would change the model's text.
pub const LEAST_IN_ANSWERS: usize = 8;

/// [`redact`] for a server's answer, which goes into rows.
pub fn redact_answer<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    redact(text, secrets.into_iter().filter(|secret| secret.reveal().trim().len() >= LEAST_IN_ANSWERS))
}

/// `text` with every secret replaced. Servers often quote the key that they refuse.
pub fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let value = secret.reveal().trim();
        if !value.is_empty() {
            text = text.replace(value, "***");
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
}
