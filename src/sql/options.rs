//! What an option of a statement is for: docs and checks are made from it. Reading the options of a table belongs to
//! `connectors`, those of an agent to [`agent`](super::agent).

/// What an option is for; docs and checks are made from it.
#[derive(Debug, Clone, Copy)]
pub struct OptionDoc {
    /// The key, as Arroyo spells it; what only Baton has begins with `baton.`.
    pub key: &'static str,
    /// One sentence for the docs.
    pub description: &'static str,
    /// What holds when it is not given; `None` when there is no default.
    pub default: Option<&'static str>,
    /// The values that it takes, when they are few.
    pub choices: &'static [&'static str],
}

/// An option with any value and no default.
#[must_use]
pub const fn option(key: &'static str, description: &'static str) -> OptionDoc {
    OptionDoc { key, description, default: None, choices: &[] }
}

impl OptionDoc {
    /// The same with a default.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The same with a closed list of values.
    #[must_use]
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}
