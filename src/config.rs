//! The environment as Baton sees it: variables, values that the command line puts over them, and `${NAME}` in option
//! values.

use std::collections::BTreeMap;
use std::fmt;

/// Variables of the process, with values put over them (the demo puts its broker's address over
/// `KAFKA_BOOTSTRAP_SERVERS`).
#[derive(Clone, Default)]
pub struct Environment {
    overlay: BTreeMap<String, String>,
    isolated: bool,
    keeps_unset: bool,
}

impl Environment {
    /// The variables of the process.
    #[must_use]
    pub fn process() -> Self {
        Self::default()
    }

    /// Only the given variables: for tests.
    #[must_use]
    pub fn only<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let overlay = variables.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Self { overlay, isolated: true, keeps_unset: false }
    }

    /// The same, but a `${NAME}` that is not set stays as written: for text that does not run.
    #[must_use]
    pub fn keeping_unset(mut self) -> Self {
        self.keeps_unset = true;
        self
    }

    /// Whether what is not set may be set later, elsewhere.
    #[must_use]
    pub fn keeps_unset(&self) -> bool {
        self.keeps_unset
    }

    /// The same, with one value put over it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.overlay.insert(name.to_string(), value.to_string());
        self
    }

    /// The value of a variable. An empty variable counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match self.overlay.get(name) {
            Some(value) => Some(value.clone()),
            None if self.isolated => None,
            None => std::env::var(name).ok(),
        };
        value.filter(|v| !v.is_empty())
    }

    /// Replaces `${NAME}` and `${NAME:-default}` with the environment's values; `$$` becomes one `$`.
    ///
    /// # Errors
    /// [`InterpolateError`] names the variable that is not set, or the part that has another form.
    pub fn interpolate(&self, text: &str) -> Result<String, InterpolateError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = after.find('}').ok_or(InterpolateError::Unclosed)?;
                let (name, default) = match after[..end].split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (&after[..end], None),
                };
                let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if !legal {
                    return Err(InterpolateError::Name(name.to_string()));
                }
                match (self.get(name), default) {
                    (Some(value), _) => out.push_str(&value),
                    (None, Some(default)) => out.push_str(default),
                    (None, None) if self.keeps_unset => out.extend(["${", name, "}"]),
                    (None, None) => return Err(InterpolateError::NotSet(name.to_string())),
                }
                rest = &after[end + 1..];
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The names of the `${NAME}` and `${NAME:-default}` in a text.
#[must_use]
pub fn variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some((inside, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            names.push(inside.split(":-").next().unwrap_or_default().to_string());
            rest = after;
        }
    }
    names
}

/// Shows names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("overlay", &self.overlay.keys()).finish_non_exhaustive()
    }
}

/// Why a text with `${…}` has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpolateError {
    /// The variable is not set and there is no default.
    #[error("the environment has no variable `{0}`")]
    NotSet(String),
    /// `${` without `}`.
    #[error("`${{` is not closed by `}}`")]
    Unclosed,
    /// The text between the braces is not a valid variable name.
    #[error("`{0}` is not a valid variable name")]
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_dollars() {
        let environment = Environment::only([("HOST", "kafka"), ("EMPTY", "")]);
        let value = |text| environment.interpolate(text);
        assert_eq!(value("${HOST}:9092").as_deref(), Ok("kafka:9092"));
        assert_eq!(value("${PORT:-9092}${EMPTY:-x}").as_deref(), Ok("9092x"));
        assert_eq!(value("a$b $$ ${HOST}").as_deref(), Ok("a$b $ kafka"));
        assert_eq!(value("${NOPE:-}").as_deref(), Ok(""));
        assert_eq!(environment.clone().keeping_unset().interpolate("${NOPE}:${HOST}").as_deref(), Ok("${NOPE}:kafka"));
        assert_eq!(value("${NOPE}"), Err(InterpolateError::NotSet("NOPE".into())));
        assert_eq!(value("${HOST"), Err(InterpolateError::Unclosed));
        assert_eq!(value("${a b}"), Err(InterpolateError::Name("a b".into())));
        assert_eq!(variables("${HOST}:${PORT:-9092} $$ $${NO} a$b"), ["HOST", "PORT"]);
    }
}
