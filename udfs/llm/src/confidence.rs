//! How sure a model is of the name that it answered, from the log-probabilities of its answer's tokens.
//!
//! The number is the probability of that name among the defined names: at each token at which they part, the share of
//! what leads to the name in what leads to any of them. Servers list a few alternatives of each token; what they leave
//! out counts against the name as far as it can, so that the number is never too high for a short list. Where anything
//! does not add up, there is no number.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One of the names that an answer can have, as JSON text spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Between its quotes, the closing one included: as it is, and where it differs with escapes in place of all that is
    /// not ASCII.
    spellings: Vec<String>,
}

impl Choice {
    pub(crate) fn new(name: &str) -> Self {
        let quoted = serde_json::Value::from(name).to_string();
        let mut ascii = String::with_capacity(quoted.len());
        for character in quoted.chars() {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        let mut spellings: Vec<String> = [quoted, ascii].into_iter().map(|spelling| spelling[1..].to_owned()).collect();
        spellings.dedup();
        Self { spellings }
    }

    /// Whether what begins with `text` can become this name, or has become it.
    fn fits(&self, text: &[u8]) -> bool {
        self.spellings.iter().any(|spelling| {
            let spelling = spelling.as_bytes();
            spelling.starts_with(text) || text.starts_with(spelling)
        })
    }
}

/// A token of an answer, or one that could have stood in its place.
#[derive(Debug, Deserialize)]
pub(crate) struct Token<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    bytes: Option<Vec<u8>>,
    logprob: f64,
    #[serde(borrow)]
    top_logprobs: Option<Vec<Token<'a>>>,
}

impl Token<'_> {
    /// What the token stands for. Half a character has no text: it is shown as a replacement, and only its bytes say more.
    fn spelled(&self, by_bytes: bool) -> &[u8] {
        match &self.bytes {
            Some(bytes) if by_bytes || self.token.contains('\u{fffd}') => bytes,
            _ => self.token.as_bytes(),
        }
    }

    fn probability(&self) -> Option<f64> {
        (self.logprob <= 0.0).then(|| self.logprob.exp())
    }
}

/// How probable the name that `answer` gives is among all `choices`, from 0 to 1.
pub(crate) fn confidence(answer: &str, tokens: &[Token<'_>], choices: &[Choice]) -> Option<f64> {
    let by_bytes = [false, true].into_iter().find(|by_bytes| spell(tokens, *by_bytes, answer))?;
    let (start, end) = name_place(answer)?;
    let text = answer.as_bytes();
    let given = |choice: &Choice| choice.spellings.iter().any(|name| name.as_bytes() == &text[start..end]);
    let chosen = choices.iter().position(given)?;
    let mut confidence = 1.0;
    let mut left: Vec<usize> = (0..choices.len()).collect();
    let mut token_end = 0;
    for token in tokens {
        let token_start = token_end;
        token_end += token.spelled(by_bytes).len();
        if token_end <= start {
            continue;
        }
        if left.len() == 1 || token_start >= end {
            break;
        }
        let next = fitting(choices, &left, &text[start..token_end.min(end)]);
        let step = Step {
            choices,
            left: &left,
            next: &next,
            chosen,
            before: &text[token_start.min(start)..start],
            name: &text[start..token_start.max(start)],
            by_bytes,
        };
        match &token.top_logprobs {
            Some(listed) if !listed.is_empty() => confidence *= step.share(token, listed)?,
            _ if next.len() == left.len() => {}
            _ => return None,
        }
        left = next;
    }
    (left.len() == 1).then(|| (confidence * 10_000.0).round() / 10_000.0)
}

/// Those of the choices `among` that a name which begins with `text` can be.
fn fitting(choices: &[Choice], among: &[usize], text: &[u8]) -> Vec<usize> {
    among.iter().copied().filter(|index| choices[*index].fits(text)).collect()
}

/// Whether the tokens, one after the other, are the answer. What follows it (the token that ends a message) does not matter.
fn spell(tokens: &[Token<'_>], by_bytes: bool, answer: &str) -> bool {
    let mut rest = answer.as_bytes();
    for token in tokens {
        let spelled = token.spelled(by_bytes);
        match rest.strip_prefix(spelled) {
            Some(after) => rest = after,
            None => return rest.is_empty(),
        }
    }
    rest.is_empty()
}

/// Where in an answer the name stands: from behind its opening quote to behind its closing one.
fn name_place(answer: &str) -> Option<(usize, usize)> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        agent: &'a RawValue,
    }
    let json = crate::classify::unwrapped(answer);
    let name = match serde_json::from_str::<Answer<'_>>(json) {
        Ok(answer) => answer.agent.get(),
        Err(_) => serde_json::from_str::<&RawValue>(json).ok()?.get(),
    };
    let start = (name.as_ptr() as usize).checked_sub(answer.as_ptr() as usize)?;
    name.starts_with('"').then_some((start + 1, start + name.len()))
}

/// One token of the name. Choices are numbers in `choices`.
struct Step<'a> {
    choices: &'a [Choice],
    /// The choices that the text before the token leaves.
    left: &'a [usize],
    /// The choices that the token leaves.
    next: &'a [usize],
    chosen: usize,
    /// What the token holds of the text before the name; mostly nothing.
    before: &'a [u8],
    /// What there is of the name before the token.
    name: &'a [u8],
    by_bytes: bool,
}

impl Step<'_> {
    /// What part of the probability that leads to any of the choices leads on to the chosen one.
    fn share(&self, token: &Token<'_>, listed: &[Token<'_>]) -> Option<f64> {
        let (mut pro, mut contra, mut in_all, mut least) = (0.0, 0.0, 0.0, 1.0_f64);
        let mut unseen = self.left.to_vec();
        let is_token = |other: &Token<'_>| other.spelled(self.by_bytes) == token.spelled(self.by_bytes);
        let unlisted = (!listed.iter().any(is_token)).then_some(token);
        for other in listed.iter().chain(unlisted) {
            let probability = other.probability()?;
            in_all += probability;
            if unlisted.is_none_or(|token| !std::ptr::eq(token, other)) {
                least = least.min(probability);
            }
            let Some(rest) = self.inside(other.spelled(self.by_bytes)) else { continue };
            let fitting = fitting(self.choices, self.left, &[self.name, rest].concat());
            unseen.retain(|choice| !fitting.contains(choice));
            if fitting.contains(&self.chosen) {
                // What leaves open more than the token does, as a shorter piece of the same text, says nothing.
                if fitting.iter().all(|choice| self.next.contains(choice)) {
                    pro += probability;
                }
            } else if !fitting.is_empty() {
                contra += probability;
            }
        }
        if in_all > 1.01 {
            return None; // These are no probabilities.
        }
        // A choice that no listed token leads to can be at most as probable as the last one listed.
        let hidden = (1.0 - in_all).max(0.0).min(least * unseen.len() as f64);
        let share = pro / (pro + contra + hidden);
        share.is_finite().then_some(share)
    }

    /// What `other`, in the token's place, has of the name; `None` when it does not get there. White space before the name
    /// does not matter.
    fn inside<'o>(&self, mut other: &'o [u8]) -> Option<&'o [u8]> {
        for byte in self.before.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            other = other.trim_ascii_start().strip_prefix(std::slice::from_ref(byte))?;
        }
        Some(other)
    }
}
