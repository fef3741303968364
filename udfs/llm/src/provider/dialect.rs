//! The features that one model on one server supports: all are assumed, refusals and answers disprove some, and the
//! result is remembered for an hour.
//!
//! `ask` uses it like this: start with [`Dialects::of`]. After a fault, [`Dialect::after`] gives the dialect without the
//! feature that the fault names, to be passed to [`Dialects::remember`] and tried at once. If the fault names nothing,
//! [`Dialect::try_without`] gives one without a feature that this server has never accepted. It is only tried. After every
//! success, [`Dialects::accepted`] notes what is proven, and remembers what was left out on trial.

use super::Question;
use crate::fault::{Cause, Fault};
use crate::gate::MOST_ANSWERED;
use crate::registry::Registry;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::Effort;
use baton_llm_settings::settings::Provider;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a lesson is remembered: servers are updated, and a refusal may have had another reason.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How much of a message is searched for the name of a feature, in bytes. What follows may quote the request.
const SEARCHED: usize = 600;

/// How a schema is sent to the server, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SchemaBy {
    /// As the format of the answer: `response_format` at OpenAI, `output_config.format` at Anthropic.
    Format,
    /// As the input of a tool that the model must call; for Anthropic's older models.
    Tool,
    /// Only in the prompt.
    Prompt,
}

/// Where the instruction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// In a message of the system.
    System,
    /// Before the user's text: the model's template has no system role.
    Folded,
}

/// Which effort is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EffortBy {
    /// The one that is asked for.
    Asked,
    /// `low` instead of less: the model always thinks.
    AtLeastLow,
    /// None.
    Omitted,
}

/// The parts of a request that a server may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Feature {
    Logprobs,
    Effort,
    Schema,
    Temperature,
    System,
    /// A name for `max_tokens` and its limit.
    MaxTokens,
    /// Whether a server that takes a schema keeps it.
    Holds,
}

const FEATURES: usize = 7;

/// The order in which features are left out on trial: the least needed first.
const OPTIONAL: [Feature; 5] =
    [Feature::Logprobs, Feature::Effort, Feature::Schema, Feature::Temperature, Feature::System];

/// The features of one model on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(super) schema_by: SchemaBy,
    /// Enforces the schema. Some servers accept one and ignore it.
    holds: bool,
    pub(super) temperature: bool,
    /// Requires `max_completion_tokens` instead of `max_tokens`.
    pub(super) completion_tokens: bool,
    /// The longest answer that may be asked for.
    most_tokens: Option<u32>,
    pub(super) logprobs: bool,
    effort_by: EffortBy,
    pub(super) system: Role,
    /// One bit for each feature that the server has accepted.
    proven: u8,
    /// Whether a feature is left out on trial.
    on_trial: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            schema_by: SchemaBy::Format,
            holds: true,
            temperature: true,
            completion_tokens: false,
            most_tokens: None,
            logprobs: true,
            effort_by: EffortBy::Asked,
            system: Role::System,
            proven: 0,
            on_trial: false,
        }
    }
}

impl Dialect {
    /// Whether the schema of `question` is sent outside the prompt.
    pub(super) fn sends_schema(self, question: &Question<'_>) -> bool {
        question.schema.is_some() && question.strict && self.schema_by != SchemaBy::Prompt
    }

    /// Whether the server is assumed to enforce the schema of `question`.
    pub(super) fn enforces(self, question: &Question<'_>) -> bool {
        self.sends_schema(question) && self.holds
    }

    /// The effort to send for `question`.
    pub(super) fn effort(self, question: &Question<'_>) -> Option<&'static str> {
        let effort = question.effort?;
        match self.effort_by {
            EffortBy::Asked => Some(effort.as_str()),
            EffortBy::AtLeastLow => Some(effort.max(Effort::Low).as_str()),
            EffortBy::Omitted => None,
        }
    }

    /// `max_tokens`, as far as the server allows it.
    pub(super) fn bounded(self, max_tokens: Option<u32>) -> Option<u32> {
        max_tokens.map(|tokens| self.most_tokens.map_or(tokens, |most| tokens.min(most)))
    }

    /// The dialect to try next if a fault names a feature that was sent; `None` if it names none, or none that can be left
    /// out.
    pub(super) fn after(self, fault: &Fault, provider: Provider, question: &Question<'_>) -> Option<Self> {
        // A long prompt or a bad generation says nothing about features, whatever words it comes with.
        let is_refusal = matches!(fault.status, 400 | 403 | 422 | 500 | 501);
        let of_request = match fault.cause() {
            Cause::Unknown | Cause::Busy => true,
            // 403 without a reason is put down to the key.
            cause => cause == Cause::Key && !fault.is_certain() && fault.status == 403,
        };
        if !is_refusal || !of_request {
            return None;
        }
        let said = fault.message[..fault.message.floor_char_boundary(SEARCHED)].to_lowercase();
        let feature = if fault.param.is_empty() {
            self.named_in(&said, provider, question)
        } else {
            named_by(&fault.param.to_lowercase())
        };
        self.without(feature.filter(|feature| self.sends(*feature, provider, question))?, &said, provider, question)
    }

    /// The dialect to try next after a fault that names nothing: without the first feature that was sent and that this
    /// server and model have never accepted.
    pub(super) fn try_without(self, fault: &Fault, provider: Provider, question: &Question<'_>) -> Option<Self> {
        // Other failures pass by themselves: 502, 503, 504, 529.
        let may_be = match fault.cause() {
            Cause::Unknown => matches!(fault.status, 400 | 404 | 422),
            Cause::Busy => matches!(fault.status, 500 | 501),
            _ => false,
        };
        // A path that does not exist is 404 too, so there the message must be about parameters.
        let said = fault.message.to_lowercase();
        let names_nothing = fault.param.is_empty()
            && !NAMES.iter().any(|name| said.contains(name))
            && (fault.status != 404 || said.contains("parameters"));
        if !may_be || !names_nothing {
            return None;
        }
        let unproven = |feature: &Feature| self.proven & bit(*feature) == 0 && self.sends(*feature, provider, question);
        let feature = OPTIONAL.into_iter().find(unproven)?;
        let mut next = self;
        match feature {
            Feature::Logprobs => next.logprobs = false,
            Feature::Effort => next.effort_by = EffortBy::Omitted,
            Feature::Schema => next.schema_by = SchemaBy::Prompt,
            Feature::Temperature => next.temperature = false,
            Feature::System => next.system = Role::Folded,
            Feature::MaxTokens | Feature::Holds => return None,
        }
        Some(Self { on_trial: true, ..next })
    }

    /// Whether something is left out without being known to help.
    pub(super) fn on_trial(self) -> bool {
        self.on_trial
    }

    /// Whether both leave out the same.
    pub(super) fn is_as(self, other: Self) -> bool {
        Self { proven: 0, on_trial: false, ..self } == Self { proven: 0, on_trial: false, ..other }
    }

    /// Whether a request for `question` contains a feature that this server and model have never accepted.
    pub(super) fn has_unproven(self, provider: Provider, question: &Question<'_>) -> bool {
        OPTIONAL.into_iter().any(|feature| self.proven & bit(feature) == 0 && self.sends(feature, provider, question))
    }

    /// Whether a request for `question` contains the feature.
    fn sends(self, feature: Feature, provider: Provider, question: &Question<'_>) -> bool {
        let openai = provider != Provider::Anthropic;
        match feature {
            Feature::Logprobs => openai && self.logprobs && question.choices.is_some(),
            Feature::Effort => self.effort(question).is_some(),
            Feature::Schema => self.sends_schema(question),
            Feature::Temperature => self.temperature && question.temperature.is_some(),
            Feature::System => openai && self.system == Role::System,
            Feature::MaxTokens => !openai || question.max_tokens.is_some(),
            Feature::Holds => false,
        }
    }

    fn without(mut self, feature: Feature, said: &str, provider: Provider, question: &Question<'_>) -> Option<Self> {
        match feature {
            Feature::Logprobs => self.logprobs = false,
            Feature::Temperature => self.temperature = false,
            Feature::System => self.system = Role::Folded,
            Feature::Effort => {
                let too_little = question.effort < Some(Effort::Low) && self.effort_by == EffortBy::Asked;
                let takes_more =
                    ["supported values", "must be one of", "input should be", "expected one of", "budget 0"]
                        .iter()
                        .any(|words| said.contains(words))
                        || self.effort(question).is_some_and(|sent| said.contains(&format!("'{sent}'")));
                let raise = too_little && takes_more && provider != Provider::Anthropic;
                self.effort_by = if raise { EffortBy::AtLeastLow } else { EffortBy::Omitted };
            }
            Feature::Schema => {
                self.schema_by = match self.schema_by {
                    SchemaBy::Format if provider == Provider::Anthropic => SchemaBy::Tool,
                    _ => SchemaBy::Prompt,
                }
            }
            Feature::MaxTokens => {
                let openai = provider != Provider::Anthropic;
                let renamed = said.contains("max_completion_tokens") || said.contains("unsupported parameter");
                match limit_in(said, self.bounded(question.max_tokens).unwrap_or(MOST_ANSWERED)) {
                    Some(limit) => self.most_tokens = Some(limit),
                    None if openai && renamed && !self.completion_tokens => self.completion_tokens = true,
                    None => return None,
                }
            }
            Feature::Holds => return None,
        }
        Some(self)
    }

    /// The feature that a sentence names, of those that were sent.
    fn named_in(self, said: &str, provider: Provider, question: &Question<'_>) -> Option<Feature> {
        let schema_words = match (self.schema_by, provider) {
            (SchemaBy::Tool, _) => ["tool", "schema"].as_slice(),
            (_, Provider::Anthropic) => &["output_config", "output_format", "output format", "structured", "schema"],
            _ => &["response_format", "response format", "json_schema", "schema", "structured", "grammar", "guided"],
        };
        let effort_words = match provider {
            Provider::Anthropic if question.effort > Some(Effort::None) => ["effort", "output_config"].as_slice(),
            Provider::Anthropic => &["thinking"],
            _ => &["reasoning_effort", "reasoning effort", "reasoning", "thinking", "effort"],
        };
        let system_words = [
            "system role",
            "role system",
            "'system'",
            "`system`",
            "\"system\"",
            "role: system",
            "system message",
            "system prompt",
            "developer instruction",
            "system instruction",
            "roles must alternate",
        ];
        let words: [(Feature, &[&str]); 6] = [
            (Feature::Temperature, &["temperature"]),
            (Feature::Logprobs, &["logprobs", "log probabilities"]),
            (Feature::MaxTokens, &["max_completion_tokens", "max_tokens", "output tokens"]),
            (Feature::Effort, effort_words),
            (Feature::System, &system_words),
            (Feature::Schema, schema_words),
        ];
        let sent = |feature| self.sends(feature, provider, question);
        words
            .into_iter()
            .filter(|(feature, words)| sent(*feature) && words.iter().any(|word| said.contains(word)))
            .map(|(feature, _)| feature)
            // A name that is already given up to no effect is not given up again.
            .find(|feature| self.without(*feature, said, provider, question).is_some())
    }
}

/// Words of which one is in every message about a feature. What is named but cannot be left out is not searched for.
const NAMES: [&str; 8] =
    ["temperature", "logprobs", "tokens", "schema", "response_format", "output_config", "effort", "thinking"];

/// The feature of a parameter's name, in lower case: `messages[0].role`, `body.reasoning_effort`, `response_format`.
fn named_by(param: &str) -> Option<Feature> {
    let names: [(&[&str], Feature); 7] = [
        (&["effort", "reasoning", "thinking"], Feature::Effort),
        (&["logprobs"], Feature::Logprobs),
        (&["temperature"], Feature::Temperature),
        (&["max_tokens", "max_completion_tokens", "max_output_tokens"], Feature::MaxTokens),
        (&["format", "output_config", "json_schema", "guided_json", "grammar"], Feature::Schema),
        (&["tools", "tool_choice"], Feature::Schema),
        (&["role", "system"], Feature::System),
    ];
    names.into_iter().find(|(names, _)| names.iter().any(|name| param.contains(name))).map(|(_, feature)| feature)
}

/// The greatest number below `sent` in a refusal of it: `max_tokens: 64000 > 8192`.
fn limit_in(said: &str, sent: u32) -> Option<u32> {
    said.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .filter(|number| (16..sent).contains(number))
        .max()
        .filter(|_| {
            said.contains(&sent.to_string())
                || said.contains("less than or equal")
                || said.contains("at most")
                || said.contains("valid range")
        })
}

fn bit(feature: Feature) -> u8 {
    1 << feature as usize
}

/// The features found out about servers.
#[derive(Debug, Default)]
pub(crate) struct Dialects([Registry<Mutex<Known>>; 2]);

/// How long something is left out on trial.
const SUPPOSED: Duration = Duration::from_secs(60);

/// What is known about one model on one server.
#[derive(Debug, Default)]
struct Known {
    dialect: Dialect,
    /// A dialect that is tried.
    supposed: Option<(Dialect, Instant)>,
    /// When each feature was disproved.
    learned: [Option<Instant>; FEATURES],
}

impl Known {
    /// Takes over what `found` gives up, for one feature after the other.
    fn add(&mut self, found: Dialect) {
        let known = self.dialect;
        let dialect = &mut self.dialect;
        dialect.logprobs &= found.logprobs;
        dialect.effort_by = dialect.effort_by.max(found.effort_by);
        dialect.schema_by = dialect.schema_by.max(found.schema_by);
        dialect.temperature &= found.temperature;
        dialect.system = dialect.system.max(found.system);
        dialect.completion_tokens |= found.completion_tokens;
        dialect.most_tokens = [dialect.most_tokens, found.most_tokens].into_iter().flatten().min();
        dialect.holds &= found.holds;
        let dialect = self.dialect;
        for (feature, is_new) in [
            (Feature::Logprobs, known.logprobs != dialect.logprobs),
            (Feature::Effort, known.effort_by != dialect.effort_by),
            (Feature::Schema, known.schema_by != dialect.schema_by),
            (Feature::Temperature, known.temperature != dialect.temperature),
            (Feature::System, known.system != dialect.system),
            (
                Feature::MaxTokens,
                (known.completion_tokens, known.most_tokens) != (dialect.completion_tokens, dialect.most_tokens),
            ),
            (Feature::Holds, known.holds != dialect.holds),
        ] {
            if is_new {
                self.learned[feature as usize] = Some(Instant::now());
            }
        }
    }

    /// Assumes every feature again whose lesson is too old.
    fn forget(&mut self) {
        if self.learned.iter().all(Option::is_none) {
            return;
        }
        let usual = Dialect::default();
        for feature in [OPTIONAL.as_slice(), &[Feature::MaxTokens, Feature::Holds]].concat() {
            let learned = &mut self.learned[feature as usize];
            if learned.is_none_or(|learned| learned.elapsed() < REMEMBERED) {
                continue;
            }
            *learned = None;
            let dialect = &mut self.dialect;
            match feature {
                Feature::Logprobs => dialect.logprobs = usual.logprobs,
                Feature::Effort => dialect.effort_by = usual.effort_by,
                Feature::Schema => dialect.schema_by = usual.schema_by,
                Feature::Temperature => dialect.temperature = usual.temperature,
                Feature::System => dialect.system = usual.system,
                Feature::MaxTokens => {
                    dialect.completion_tokens = usual.completion_tokens;
                    dialect.most_tokens = usual.most_tokens;
                }
                Feature::Holds => dialect.holds = usual.holds,
            }
        }
    }
}

impl Dialects {
    /// What is known about the endpoint's model, or supposed.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Dialect {
        self.with(endpoint, |known| {
            known.forget();
            // The row that tries it may be gone.
            known.supposed = known.supposed.filter(|(_, at)| at.elapsed() < SUPPOSED);
            known.supposed.map_or(known.dialect, |(supposed, _)| Dialect { proven: known.dialect.proven, ..supposed })
        })
    }

    /// Adds new findings, so rows with different findings at the same time end up with all of them. What is left out on
    /// trial waits for [`Dialects::accepted`].
    pub(super) fn remember(&self, endpoint: &Endpoint, found: Dialect) {
        self.with(endpoint, |known| match &mut known.supposed {
            Some((supposed, _)) => *supposed = found,
            None => known.add(found),
        });
    }

    /// All rows leave out what this dialect does, until it is known whether that helps.
    pub(super) fn suppose(&self, endpoint: &Endpoint, trial: Dialect) {
        self.with(endpoint, |known| known.supposed = Some((trial, Instant::now())));
    }

    /// It did not help.
    pub(super) fn drop_supposition(&self, endpoint: &Endpoint) {
        self.with(endpoint, |known| known.supposed = None);
    }

    /// Notes that the server accepted a request for `question`: what it contained is proven. If the same question was
    /// refused before, what was left out on trial is remembered.
    pub(super) fn accepted(&self, endpoint: &Endpoint, dialect: Dialect, question: &Question<'_>, was_refused: bool) {
        let provider = endpoint.provider;
        let sent = OPTIONAL.into_iter().filter(|feature| dialect.sends(*feature, provider, question));
        let sent = sent.fold(0, |bits, feature| bits | bit(feature));
        let helped = dialect.on_trial && was_refused;
        if helped || dialect.proven & sent != sent {
            self.with(endpoint, |known| {
                known.dialect.proven |= sent;
                if helped {
                    known.add(dialect);
                    known.supposed = None;
                }
            });
        }
    }

    /// Notes that the server accepted a schema but ignored it. From now on the prompt contains it too.
    pub(crate) fn ignores_schema(&self, endpoint: &Endpoint) {
        self.with(endpoint, |known| known.add(Dialect { holds: false, ..Dialect::default() }));
    }

    fn with<T>(&self, endpoint: &Endpoint, change: impl FnOnce(&mut Known) -> T) -> T {
        // A server may speak both protocols on one URL.
        let known = &self.0[usize::from(endpoint.provider == Provider::Anthropic)];
        let known = known.of([endpoint.base.as_str(), &endpoint.model], Mutex::default);
        change(&mut known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
