//! Values that must never be shown: they print as `***`, and can be taken out of a text that a server sent.

use std::fmt;

/// A key or another secret. `Debug` and `Display` show nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being shown.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for where it is sent.
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

/// A key so short that it may be a plain word (local servers take `none`, `EMPTY`, `ollama`) is left in answers: taking it
/// out would change what the model says.
pub(crate) const LEAST_IN_ANSWERS: usize = 8;

/// [`redact`] for what a server answered, which goes into rows.
pub fn redact_answer<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    redact(text, secrets.into_iter().filter(|secret| secret.reveal().trim().len() >= LEAST_IN_ANSWERS))
}

/// [`redact_answer`] for a body as it came: before anything is cut out of it, because half a secret is not found again.
pub fn redact_body<'a>(mut body: Vec<u8>, secrets: impl IntoIterator<Item = &'a Secret>) -> Vec<u8> {
    for secret in secrets {
        let value = secret.reveal().trim().as_bytes();
        let Some(first) = value.first().filter(|_| value.len() >= LEAST_IN_ANSWERS) else { continue };
        let mut redacted = Vec::new();
        let (mut copied, mut looked) = (0, 0);
        while let Some(at) = body[looked..].iter().position(|byte| byte == first).map(|at| looked + at) {
            looked = at + 1;
            if body[at..].starts_with(value) {
                redacted.extend_from_slice(&body[copied..at]);
                redacted.extend_from_slice(b"***");
                looked = at + value.len();
                copied = looked;
            }
        }
        if copied > 0 {
            redacted.extend_from_slice(&body[copied..]);
            body = redacted;
        }
    }
    body
}

/// `text` with every secret in it replaced. Servers like to quote the key that they refuse.
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

    #[test]
    fn is_taken_out_of_bodies() {
        let secrets = [Secret::new("sk-canary"), Secret::new("none"), Secret::new("")];
        for (body, expected) in [
            (&b""[..], &b""[..]),
            (b"none of it", b"none of it"),
            (b"sk-canary", b"***"),
            (b"ssk-canarysk-canary, sk-canar \xff", b"s******, sk-canar \xff"),
        ] {
            assert_eq!(redact_body(body.to_vec(), &secrets), expected);
        }
    }
}
