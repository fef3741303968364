//! The model's confidence in the name that it answered, computed from the log-probabilities of the answer's tokens.
//!
//! It is the probability of that name among the defined names. At each token where names diverge, it is the share of
//! the tokens that lead to the name among the tokens that lead to any name. Servers list a few alternatives of each
//! token. The probability of unlisted alternatives counts against the name as far as possible, so a short list never
//! makes the confidence too high. If the numbers are inconsistent, there is no confidence.

use crate::answer::json_pieces;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One of the names that an answer can have, as it is spelled in JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The text between its quotes, including the closing quote: as it is, and, if different, with all non-ASCII
    /// characters escaped.
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

    /// Whether a text that starts with `text` can be this name.
    fn fits(&self, text: &[u8]) -> bool {
        self.spellings.iter().any(|spelling| {
            let spelling = spelling.as_bytes();
            spelling.starts_with(text) || text.starts_with(spelling)
        })
    }
}

/// A token of an answer, or an alternative to one.
#[derive(Debug, Deserialize)]
pub(crate) struct Token<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    bytes: Option<Vec<u8>>,
    logprob: f64,
    /// Parsed only where names diverge, because it is most of an answer.
    #[serde(borrow)]
    top_logprobs: Option<&'a RawValue>,
}

impl<'a> Token<'a> {
    /// The alternatives that the server lists, usually including the token itself; `None` if there are none.
    fn listed(&self) -> Option<Vec<Token<'a>>> {
        let listed: Vec<Token<'a>> = serde_json::from_str(self.top_logprobs?.get()).ok()?;
        (!listed.is_empty()).then_some(listed)
    }

    /// The bytes of the token. Half a character has no text: it is shown as a replacement character, and only its bytes
    /// are exact.
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

/// The probability of the name in `answer` among all `choices`, from 0 to 1.
pub(crate) fn confidence(answer: &str, tokens: &[Token<'_>], choices: &[Choice]) -> Option<f64> {
    let (by_bytes, before) =
        [false, true].into_iter().find_map(|by_bytes| Some((by_bytes, spell(tokens, by_bytes, answer)?)))?;
    let (start, end) = name_place(answer)?;
    let text = answer.as_bytes();
    let given = |choice: &Choice| choice.spellings.iter().any(|name| name.as_bytes() == &text[start..end]);
    let chosen = choices.iter().position(given)?;
    let mut confidence = 1.0;
    let mut left: Vec<usize> = (0..choices.len()).collect();
    // Tokens before the answer, such as thoughts that the server leaves out of it, end at 0.
    let mut ends_at = 0;
    for token in tokens {
        let starts_at = ends_at;
        ends_at += token.spelled(by_bytes).len();
        if ends_at <= before + start {
            continue;
        }
        let (token_start, token_end) = (starts_at.saturating_sub(before), ends_at - before);
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
        match token.listed() {
            Some(listed) => confidence *= step.share(token, &listed)?,
            None if next.len() == left.len() => {}
            None => return None,
        }
        left = next;
    }
    (left.len() == 1).then(|| (confidence * 10_000.0).round() / 10_000.0)
}

/// The choices of `among` that can start with `text`.
fn fitting(choices: &[Choice], among: &[usize], text: &[u8]) -> Vec<usize> {
    among.iter().copied().filter(|index| choices[*index].fits(text)).collect()
}

/// Where in the concatenated tokens the answer starts; `None` if they do not spell it. Tokens after it (such as the end of
/// a message) do not matter, nor do those before it (such as thoughts).
fn spell(tokens: &[Token<'_>], by_bytes: bool, answer: &str) -> Option<usize> {
    let answer = answer.as_bytes();
    let mut rest = answer;
    for token in tokens {
        match rest.strip_prefix(token.spelled(by_bytes)) {
            Some(after) => rest = after,
            None => break,
        }
        if rest.is_empty() {
            return Some(0);
        }
    }
    let all = tokens.iter().map(|token| token.spelled(by_bytes)).collect::<Vec<_>>().concat();
    // Thoughts may contain the answer, so it is the last place.
    (0..=all.len().checked_sub(answer.len())?).rev().find(|at| all[*at..].starts_with(answer))
}

/// The range of the name in an answer: from after its opening quote to after its closing quote.
fn name_place(answer: &str) -> Option<(usize, usize)> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        agent: &'a RawValue,
    }
    let name = json_pieces(answer).find_map(|json| match serde_json::from_str::<Answer<'_>>(json) {
        Ok(answer) => Some(answer.agent.get()),
        Err(_) => match serde_json::from_str::<[Answer<'_>; 1]>(json) {
            Ok([answer]) => Some(answer.agent.get()),
            Err(_) => Some(serde_json::from_str::<&RawValue>(json).ok()?.get()).filter(|name| name.starts_with('"')),
        },
    })?;
    let start = (name.as_ptr() as usize).checked_sub(answer.as_ptr() as usize)?;
    name.starts_with('"').then_some((start + 1, start + name.len()))
}

/// One token of the name. Choices are indexes into `choices`.
struct Step<'a> {
    choices: &'a [Choice],
    /// The choices that are possible before the token.
    left: &'a [usize],
    /// The choices that are possible after the token.
    next: &'a [usize],
    chosen: usize,
    /// The part of the token before the name; usually empty.
    before: &'a [u8],
    /// The part of the name before the token.
    name: &'a [u8],
    by_bytes: bool,
}

impl Step<'_> {
    /// The share of the chosen name in the probability of the tokens that lead to any of the choices.
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
            let for_chosen = fitting.contains(&self.chosen);
            if for_chosen && !fitting.iter().all(|choice| self.next.contains(choice)) {
                // A shorter piece of the same text does not decide what the token decides, so it is ignored.
                continue;
            }
            unseen.retain(|choice| !fitting.contains(choice));
            if for_chosen {
                pro += probability;
            } else if !fitting.is_empty() {
                contra += probability;
            }
        }
        if in_all > 1.01 {
            return None; // These are no probabilities.
        }
        // A choice without a listed token is at most as probable as the least probable listed one.
        let hidden = (1.0 - in_all).max(0.0).min(least * unseen.len() as f64);
        let share = pro / (pro + contra + hidden);
        share.is_finite().then_some(share)
    }

    /// The part of the name in `other`, if it replaced the token; `None` if it does not reach the name. White space
    /// before the name does not matter.
    fn inside<'o>(&self, mut other: &'o [u8]) -> Option<&'o [u8]> {
        for byte in self.before.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            other = other.trim_ascii_start().strip_prefix(std::slice::from_ref(byte))?;
        }
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const AGENTS: &[&str] = &["Lead Ingestion Agent", "Lead Scoring Agent", "Send Email Agent", "NONE"];

    fn alternative(token: &str, probability: f64) -> Value {
        json!({ "token": token, "logprob": probability.ln().min(0.0) })
    }

    /// A token with its probability, and its alternatives.
    fn token(text: &str, probability: f64, others: &[(&str, f64)]) -> Value {
        let mut token = alternative(text, probability);
        let others = others.iter().map(|(text, probability)| alternative(text, *probability));
        token["top_logprobs"] = std::iter::once(alternative(text, probability)).chain(others).collect();
        token
    }

    fn sure(text: &str) -> Value {
        token(text, 1.0, &[])
    }

    /// A token or an alternative that is part of a character.
    fn half(bytes: &[u8], probability: f64) -> Value {
        json!({ "token": "\u{fffd}", "logprob": probability.ln(), "bytes": bytes, "top_logprobs": [] })
    }

    fn confidence_of(answer: &str, tokens: &[Value], names: &[&str]) -> Option<f64> {
        let tokens = Value::from(tokens).to_string();
        let choices: Vec<Choice> = names.iter().map(|name| Choice::new(name)).collect();
        confidence(answer, &serde_json::from_str::<Vec<Token<'_>>>(&tokens).unwrap(), &choices)
    }

    /// The confidence in the answer that the tokens spell.
    fn of(tokens: &[Value], names: &[&str]) -> Option<f64> {
        let answer: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        confidence_of(&answer, tokens, names)
    }

    #[test]
    fn a_name_that_differs_in_its_first_token() {
        let name = [token("Send", 0.8, &[("Lead", 0.2)]), sure(" Email"), sure(" Agent"), sure("\"}")];
        let tokens = [&[sure("{\""), sure("agent"), sure("\":\"")], &name[..]].concat();
        assert_eq!(of(&tokens, AGENTS), Some(0.8));
    }

    #[test]
    fn names_are_told_apart_where_they_differ() {
        let tokens = [
            sure("{\"agent\":\""),
            token("Lead", 0.9, &[("Send", 0.1)]),
            token(" Scoring", 0.7, &[(" Ingestion", 0.3)]),
            // Only one name is possible from here on, so the tokens do not matter.
            token(" Agent", 0.5, &[(" Person", 0.5)]),
            sure("\"}"),
        ];
        assert_eq!(of(&tokens, AGENTS), Some(0.63));
    }

    #[test]
    fn what_leads_to_no_name_does_not_count() {
        let send = token("Send", 0.4, &[("Lead", 0.1), ("The", 0.3), ("send", 0.2)]);
        assert_eq!(of(&[sure("{\"agent\":\""), send, sure(" Email Agent"), sure("\"}")], AGENTS), Some(0.8));
    }

    #[test]
    fn what_is_not_listed_counts_against_the_name_as_far_as_it_can() {
        let answer = |send| [sure("{\"agent\":\""), send, sure(" Email Agent\"}")];
        // Three names are not listed (the two of `Lead`, and NONE). None can be more probable than the last listed one:
        // 0.05.
        assert_eq!(of(&answer(token("Send", 0.7, &[("It", 0.05)])), AGENTS), Some(0.8235));
        // The rest is smaller than that: 0.01.
        assert_eq!(of(&answer(token("Send", 0.9, &[("It", 0.09)])), AGENTS), Some(0.989));
        // All names are listed, so the rest leads to none.
        assert_eq!(of(&[sure("\""), token("A", 0.5, &[("B", 0.1)]), sure("\"")], &["A", "B"]), Some(0.8333));
    }

    #[test]
    fn a_token_that_was_sampled_against_the_odds_need_not_be_listed() {
        let mut unlikely = token("Lead", 0.1, &[]);
        unlikely["top_logprobs"] = json!([alternative("Send", 0.6), alternative("NONE", 0.3)]);
        assert_eq!(of(&[sure("\""), unlikely, sure(" Scoring"), sure(" Agent\"")], AGENTS), Some(0.1));
    }

    #[test]
    fn pieces_of_the_same_text_are_no_rivals() {
        // `":"` does not decide what `":"Lead` decides. `":"Le` decides the same as it, and `Send Email` the same as
        // `Send`.
        let lead =
            token("\":\"Lead", 0.5, &[("\":\"Send", 0.15), ("\":\"NONE", 0.1), ("\":\"Le", 0.1), ("\":\"", 0.15)]);
        assert_eq!(of(&[sure("{\"agent"), lead, sure(" Scoring"), sure(" Agent\"}")], AGENTS), Some(0.7059));
        let send = token("Send", 0.5, &[("Send Email", 0.25), ("NONE", 0.25)]);
        assert_eq!(of(&[sure("{\"agent\":\""), send, sure(" Email Agent\"}")], AGENTS), Some(0.75));
    }

    #[test]
    fn a_token_may_reach_over_either_end_of_the_name() {
        let none = token(": \"NONE\"}", 0.6, &[(":\"NONE", 0.1), (": \"Send Email Agent\"", 0.3)]);
        assert_eq!(of(&[sure("{\"agent\""), none], AGENTS), Some(0.7));
    }

    #[test]
    fn a_name_that_begins_another_ends_with_its_quote() {
        let names = ["Lead", "Lead Scoring"];
        let tokens = [sure("{\"agent\":\""), sure("Lead"), token("\"}", 0.9, &[(" Scoring", 0.1)])];
        assert_eq!(of(&tokens, &names), Some(0.9));
        let tokens = [sure("{\"agent\":\""), sure("Lead"), token(" Scoring", 0.75, &[("\"", 0.25)]), sure("\"}")];
        assert_eq!(of(&tokens, &names), Some(0.75));
    }

    #[test]
    fn the_name_is_found_wherever_it_stands() {
        for (before, after) in [
            ("{\"agent\":\"", "\"}"),
            (" {\n  \"agent\" : \"", "\"\n}\n"),
            ("{\"why\":\"NONE\",\"agent\":\"", "\",\"x\":{\"agent\":\"NONE\"}}"),
            ("\"", "\""),
            ("```json\n{\"agent\":\"", "\"}\n```"),
            ("<think>NONE \"NONE\"</think>{\"agent\":\"", "\"}"),
        ] {
            assert_eq!(of(&[sure(before), token("NONE", 0.9, &[("Send", 0.1)]), sure(after)], AGENTS), Some(0.9));
        }
    }

    #[test]
    fn where_it_cannot_be_computed_there_is_no_number() {
        let name = || token("NONE", 0.9, &[("Send", 0.1)]);
        for (tokens, why) in [
            (vec![], "nothing is said"),
            (vec![name()], "no quotes: whether the name ends here is not known"),
            (vec![sure("{\"agent\":\""), token("none", 0.9, &[]), sure("\"}")], "another case"),
            (vec![sure("{\"agent\":\" "), name(), sure("\"}")], "white space in the name"),
            (vec![sure("{\"agent\":\""), name(), sure("\",\"agent\":\"NONE\"}")], "two names"),
            (vec![sure("{\"agent\":[\""), name(), sure("\"]}")], "no text"),
            (vec![sure("{\"agent\":\""), token("Evil", 0.9, &[]), sure("\"}")], "not defined"),
        ] {
            assert_eq!(of(&tokens, AGENTS), None, "{why}");
        }
        for (listed, why) in [
            (Value::Null, "no list"),
            (json!([]), "an empty list"),
            (json!("Send"), "no list at all"),
            (json!([{ "token": "Send" }]), "no number"),
            (json!([{ "token": "Send", "logprob": null }]), "no number"),
            (json!([{ "token": "Send", "logprob": 0.5 }]), "more than certain"),
            (json!([alternative("NONE", 0.9), alternative("Send", 0.9)]), "more than certain together"),
            (
                json!([{ "token": "NONE", "logprob": -9999.0 }, { "token": "It", "logprob": 0.0 }]),
                "nothing leads to a name",
            ),
        ] {
            let mut name = name();
            name["top_logprobs"] = listed;
            assert_eq!(of(&[sure("{\"agent\":\""), name, sure("\"}")], AGENTS), None, "{why}");
        }
    }

    #[test]
    fn tokens_that_do_not_spell_the_answer_say_nothing() {
        let tokens = vec![sure("\""), token("A", 0.9, &[("B", 0.1)]), sure("\"")];
        for (answer, expected) in [
            ("\"A\"", Some(0.9)),
            ("\"B\"", None),
            (" \"A\"", None),
            ("\"A\" ", None),
            ("A", None),
            ("\"A\"\"A\"", None),
        ] {
            assert_eq!(confidence_of(answer, &tokens, &["A", "B"]), expected, "{answer}");
        }
        // The token that ends a message is not part of its text.
        let ended = [tokens, vec![sure("<|im_end|>")]].concat();
        assert_eq!(confidence_of("\"A\"", &ended, &["A", "B"]), Some(0.9));
    }

    #[test]
    fn tokens_around_the_answer_do_not_matter() {
        let mut tokens: Vec<Value> = ["<think>", "\"A\"", "?", "</think>", "\n\n"].map(sure).into();
        tokens.extend([sure("\""), token("A", 0.9, &[("B", 0.1)]), sure("\""), sure("<|end|>")]);
        assert_eq!(confidence_of("\"A\"", &tokens, &["A", "B"]), Some(0.9));
        assert_eq!(confidence_of("<think>\"A\"?</think>\n\n\"A\"", &tokens, &["A", "B"]), Some(0.9));
        // The token that starts the answer may start before it.
        let joined = [sure("</think>\n"), sure("\n{\"agent\":\""), token("A", 0.9, &[("B", 0.1)]), sure("\"}")];
        assert_eq!(confidence_of("{\"agent\":\"A\"}", &joined, &["A", "B"]), Some(0.9));
        assert_eq!(confidence_of("[{\"agent\":\"A\"}]", &joined, &["A", "B"]), None);
    }

    #[test]
    fn names_that_are_more_than_ascii() {
        let names = ["Bücher", "Bände", "Büro \"Ost\""];
        // A tokenizer may split a character: then only the bytes identify the tokens.
        let mut second = half(&[0xbc], 0.8);
        second["top_logprobs"] = json!([half(&[0xbc], 0.8), half(&[0xa4], 0.2)]);
        let plain = |text: &str, mut token: Value| {
            token["bytes"] = text.as_bytes().into();
            token
        };
        let last = plain("cher", token("cher", 0.5, &[("ro", 0.5)]));
        let tokens =
            [plain("\"", sure("\"")), plain("B", sure("B")), half(&[0xc3], 1.0), second, last, plain("\"", sure("\""))];
        assert_eq!(confidence_of("\"Bücher\"", &tokens, &names), Some(0.4));
        // An alternative too may be half a character.
        let mut whole = token("ü", 0.75, &[]);
        whole["top_logprobs"] = json!([alternative("ü", 0.75), half(&[0xc3, 0xa4], 0.25)]);
        let tokens = [sure("\"B"), whole, token("cher", 0.5, &[("ro", 0.5)]), sure("\"")];
        assert_eq!(of(&tokens, &names), Some(0.375));
        // Names as JSON escapes them.
        let tokens = [sure("\"B\\u00fc"), token("cher", 0.25, &[("ro", 0.75)]), sure("\"")];
        assert_eq!(of(&tokens, &names), Some(0.25));
        let tokens = [sure("\"Bü"), token("ro", 0.6, &[("cher", 0.4)]), sure(" \\\"Ost\\\""), sure("\"")];
        assert_eq!(of(&tokens, &names), Some(0.6));
        assert_eq!(Choice::new("a😀").spellings, ["a😀\"", "a\\ud83d\\ude00\""]);
    }

    /// An answer with one of `names`, one character per token, from a model that weighs the names by `weights` and
    /// gives a part of each token's probability to other tokens. `most` alternatives are listed.
    fn spelled_out(names: &[String], weights: &[f64], chosen: usize, most: usize, noise: f64) -> Vec<Value> {
        let mut tokens = vec![sure("{\"agent\":\"")];
        let ended = |name: &String| format!("{name}\"");
        let mut so_far = String::new();
        for character in ended(&names[chosen]).chars() {
            let mut next: Vec<(String, f64)> = vec![("#".into(), noise / 2.0), ("%".into(), noise / 3.0)];
            let fits = |name: &String| ended(name).starts_with(&so_far);
            let all: f64 = names.iter().zip(weights).filter(|(name, _)| fits(name)).map(|(_, weight)| weight).sum();
            for (name, weight) in names.iter().zip(weights).filter(|(name, _)| fits(name)) {
                let token = ended(name)[so_far.len()..][..1].to_owned();
                let share = weight / all * (1.0 - noise);
                match next.iter_mut().find(|(other, _)| *other == token) {
                    Some((_, probability)) => *probability += share,
                    None => next.push((token, share)),
                }
            }
            next.sort_by(|one, other| other.1.total_cmp(&one.1));
            let own = next.iter().find(|(token, _)| token.starts_with(character)).unwrap();
            let mut token = alternative(&own.0, own.1);
            token["top_logprobs"] = next.iter().take(most).map(|(token, share)| alternative(token, *share)).collect();
            tokens.push(token);
            so_far.push(character);
        }
        tokens.push(sure("}"));
        tokens
    }

    #[test]
    fn it_is_what_the_model_weighs_or_less_where_the_list_is_short() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let mut names: Vec<String> = (0..random.usize(2..12))
                .map(|_| (0..random.usize(1..4)).map(|_| random.char('a'..='h')).collect())
                .collect();
            names.sort();
            names.dedup();
            let weights: Vec<f64> = names.iter().map(|_| random.f64().powi(3) + 1e-6).collect();
            let chosen = random.usize(0..names.len());
            let truth = if names.len() == 1 { 1.0 } else { weights[chosen] / weights.iter().sum::<f64>() };
            let noise = random.f64() * 0.5;
            let shown: Vec<&str> = names.iter().map(String::as_str).collect();
            let all = of(&spelled_out(&names, &weights, chosen, 20, noise), &shown).unwrap();
            assert!((all - truth).abs() < 1e-4, "{names:?} {weights:?}: {all}, not {truth}");
            let few = of(&spelled_out(&names, &weights, chosen, 5, noise), &shown).unwrap();
            assert!(few < truth + 1e-4, "{names:?} {weights:?}: {few}, more than {truth}");
        }
    }

    #[test]
    fn it_is_always_a_probability() {
        // Any numbers that a server could send, even if they are not probabilities.
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let mut some = |text: &str| {
                let logprob = match random.u8(0..8) {
                    0 => 0.0,
                    1 => -9999.0,
                    2 => -1e-300,
                    3 => f64::MIN,
                    _ => -10.0 * random.f64(),
                };
                json!({ "token": text, "logprob": logprob })
            };
            let mut chosen = some("Send");
            chosen["top_logprobs"] = ["Lead", "Send", "NONE", "Le", "\"", ""].iter().map(|text| some(text)).collect();
            let confidence = of(&[sure("{\"agent\":\""), chosen, sure(" Email Agent\"}")], AGENTS);
            assert!(confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence)), "{confidence:?}");
        }
    }
}
