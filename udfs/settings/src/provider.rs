//! The providers, and each provider's own server. `endpoint` selects the server of a call.

use std::fmt;

/// The protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Any server with OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages API.
    Anthropic,
    /// No model: the offline method, and the fallback argument.
    Offline,
}

impl Provider {
    /// All names, for messages.
    pub const NAMES: &'static str = "openai, anthropic, offline";

    /// The provider called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "openai" => Some(Self::OpenAi),
            "anthropic" => Some(Self::Anthropic),
            "offline" => Some(Self::Offline),
            _ => None,
        }
    }

    /// The highest temperature in its protocol.
    #[must_use]
    pub fn most_temperature(self) -> f64 {
        if self == Self::Anthropic { 1.0 } else { 2.0 }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Offline => "offline",
        })
    }
}

/// A provider's own server.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    pub(crate) host: &'static str,
    /// Whether hosts like `eu.api.openai.com` are the provider's too.
    pub(crate) has_regions: bool,
    pub(crate) url: &'static str,
    /// A small model that is good enough to choose among agents.
    pub(crate) model: &'static str,
    /// The setting with the key for this server only.
    pub(crate) key_setting: &'static str,
}

pub(crate) const OPENAI: Home = Home {
    host: "api.openai.com",
    has_regions: true,
    url: "https://api.openai.com/v1",
    // OpenAI names it as the successor of gpt-4.1-mini, which is shut down on 2027-01-14 (seen on 2026-11-30).
    model: "gpt-6-luna",
    key_setting: "OPENAI_API_KEY",
};

pub(crate) const ANTHROPIC: Home = Home {
    host: "api.anthropic.com",
    has_regions: false,
    url: "https://api.anthropic.com/v1",
    model: "claude-haiku-5-5",
    key_setting: "ANTHROPIC_API_KEY",
};

/// The prefixes of Anthropic's keys, and of most keys of OpenAI.
pub(crate) const ANTHROPIC_KEY: &str = "sk-ant-";
pub(crate) const OPENAI_KEY: &str = "sk-proj-";
