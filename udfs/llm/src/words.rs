//! Text as the offline method sees it: sentences in their order, each a list of terms with their polarity.
//!
//! Nothing here knows of agents; what the terms are worth is the business of `offline`.

use serde_json::Value;
use std::collections::HashSet;
use std::sync::LazyLock;

/// A word in the form that its inflections share, and whether the text denies it ("not scored", "unscored").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) stem: String,
    pub(crate) denied: bool,
}

/// Words that say nothing about what a text is.
const STOP_WORDS: &str = "\
    a about above after again all already also am an and any anyone anything are as ask asked asks at back be \
    because been before being best better between both but by came can come comes could did do does doing done \
    down due during each either else etc even ever every everyone few for from further get gets getting give \
    given gives go goes going good got had has have having he hello her here hers hey hi him his how i if in \
    into is it its itself just kind kindly know let like lot made make makes making many may me might mine more \
    most much must my need needed needs now of off on once one only onto or other others our ours out over own \
    per please put really same say says see shall she should since so some someone something soon still such \
    take taken takes tell than thank thanks that the their theirs them then there these they thing things this \
    those through thus to too two under until up upon us use used uses using very via want wanted wants was way \
    we well went were what when where whether which while who whom whose why will with within would yet you your \
    yours";

/// What every description of an agent has, and what speaks to the one that dispatches: no news either.
const TRADE_WORDS: &str = "\
    accept accepted accepts agent agents input message messages output outputs ignore instruction instructions \
    previous route routed forward dispatch dispatcher";

const NEGATIONS: &str = "\
    not no never without nor none neither cannot lacks lacking isn aren wasn weren hasn haven hadn don doesn \
    didn won wouldn couldn shouldn nobody nothing";

/// The words that are no terms, looked up for every word of every text.
static SKIPPED: LazyLock<HashSet<&str>> =
    LazyLock::new(|| STOP_WORDS.split(' ').chain(TRADE_WORDS.split(' ')).collect());
static DENYING: LazyLock<HashSet<&str>> = LazyLock::new(|| NEGATIONS.split(' ').collect());

/// How many words after a negation it reaches.
const REACH: usize = 3;

/// A part of a text that says one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) terms: Vec<Term>,
    /// In quotation marks, or a field beside the `context`: what somebody else wrote, not what the text says of itself.
    pub(crate) quoted: bool,
}

/// The sentences of a text, of which the first `most_chars` characters are read. A JSON text gives its values in their
/// order, each with its key, and `context` first, which is where a message of Baton says what it is.
pub(crate) fn sentences(text: &str, most_chars: usize) -> Vec<Sentence> {
    let end = text.char_indices().nth(most_chars).map_or(text.len(), |(index, _)| index);
    let text = &text[..end];
    let mut found = Vec::new();
    match serde_json::from_str::<Value>(text.trim()) {
        Ok(value @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
            let context = value.get("context");
            if let Some(context) = context {
                let mut lines = String::new();
                flatten(None, context, &mut lines);
                read(&lines, false, &mut found);
            }
            let mut lines = String::new();
            flatten(None, &value, &mut lines);
            read(&lines, context.is_some(), &mut found);
        }
        _ => read(text, false, &mut found),
    }
    found
}

fn read(text: &str, beside: bool, found: &mut Vec<Sentence>) {
    for (part, quoted) in quotations(text) {
        let sentences = split_sentences(part).map(terms).filter(|terms| !terms.is_empty());
        found.extend(sentences.map(|terms| Sentence { terms, quoted: quoted || beside }));
    }
}

/// The parts of a text outside and inside of quotation marks. A straight mark opens after a space and closes after
/// anything else, so that one for inches opens nothing.
fn quotations(text: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut before) = (0, false, ' ');
    for (index, character) in text.char_indices() {
        let opens = match character {
            '"' => before.is_whitespace() || matches!(before, '(' | '[' | ':' | '='),
            '\u{201c}' | '\u{201e}' | '\u{ab}' => true,
            _ => false,
        };
        let closes = matches!(character, '"' | '\u{201d}' | '\u{bb}') && !opens;
        if (opens && !quoted) || (closes && quoted) {
            parts.push((&text[start..index], quoted));
            start = index + character.len_utf8();
            quoted = opens;
        }
        before = character;
    }
    parts.push((&text[start..], quoted));
    parts
}

fn flatten(key: Option<&str>, value: &Value, lines: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "context") {
                flatten(Some(key), value, lines);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flatten(key, item, lines)),
        Value::Null => {}
        leaf => {
            if let Some(key) = key {
                lines.push_str(&key.replace('_', " "));
                lines.push_str(": ");
            }
            match leaf {
                Value::String(text) => lines.push_str(text),
                other => lines.push_str(&other.to_string()),
            }
            lines.push('\n');
        }
    }
}

/// Cuts at line breaks, semicolons, and stops that are followed by a space.
fn split_sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut ends = rest.char_indices().filter_map(|(index, character)| {
            let after = &rest[index + character.len_utf8()..];
            let is_end = match character {
                '\n' | '\r' | ';' | '|' | '•' | '。' | '！' | '？' => true,
                '.' | '!' | '?' => after.starts_with(char::is_whitespace) || after.is_empty(),
                _ => false,
            };
            is_end.then_some(index + character.len_utf8())
        });
        let (sentence, after) = rest.split_at(ends.next().unwrap_or(rest.len()));
        rest = after;
        Some(sentence)
    })
}

/// The terms of one sentence, stop words left out, negation spread over the words that it reaches.
pub(crate) fn terms(sentence: &str) -> Vec<Term> {
    let lower = joined(&sentence.to_lowercase());
    let mut found = Vec::new();
    for clause in lower.split([',', ':', '(', ')', '—', '–']) {
        let mut reach = 0;
        for word in clause.split(|character: char| !character.is_alphanumeric()) {
            if DENYING.contains(word) {
                reach = REACH;
                continue;
            }
            if matches!(word, "but" | "and" | "then" | "so") {
                reach = 0;
            }
            if word.len() < 2 || word.bytes().all(|byte| byte.is_ascii_digit()) || SKIPPED.contains(word) {
                continue;
            }
            let denied = reach > 0;
            reach = reach.saturating_sub(1);
            let (word, un) = match word.strip_prefix("un") {
                Some(rest) if rest.len() > 4 && (rest.ends_with("ed") || rest.ends_with("en")) => (rest, true),
                _ => (word, false),
            };
            found.push(Term { stem: stem(word), denied: denied != un });
        }
    }
    found
}

/// Writes as one word what is written both ways, so that neither half stands for something else.
fn joined(lower: &str) -> String {
    let mut text = lower.replace("e-mail", "email");
    for apart in ["log in", "logged in", "logging in", "log on", "sign in", "signed in", "signing in"] {
        if text.contains(apart) {
            text = text.replace(apart, "login");
        }
    }
    text
}

/// The form that the inflections of an English word share, near enough. Words in other scripts stay as they are.
fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 {
        return word.to_owned();
    }
    let mut stem = word.to_owned();
    if let Some(base) = ["ies", "ied"].iter().find_map(|end| stem.strip_suffix(end)).filter(|base| base.len() > 2) {
        stem = format!("{base}y");
    } else if stem.ends_with('s') && !["ss", "us", "is"].iter().any(|end| stem.ends_with(end)) {
        stem.pop();
    }
    for suffix in ["ization", "isation", "ation", "ition", "ing", "ed", "ment", "ion", "er", "or", "ly", "e"] {
        let Some(base) = stem.strip_suffix(suffix) else { continue };
        let has_vowel = base.bytes().any(|byte| b"aeiouy".contains(&byte));
        // "ion" belongs to the stem of "million" and "version", not to that of "ingestion".
        let least = if matches!(suffix, "ion" | "ly") { 5 } else { 3 };
        if base.len() < least || !has_vowel || (suffix == "ion" && !base.ends_with(['s', 't'])) {
            continue;
        }
        stem = base.to_owned();
        let bytes = stem.as_bytes();
        let doubled = bytes.len() > 3 && bytes[bytes.len() - 1] == bytes[bytes.len() - 2];
        if doubled && !stem.ends_with(['l', 's', 'e']) {
            stem.pop();
        }
        break;
    }
    if let Some(base) = stem.strip_suffix('y').filter(|base| base.len() > 2) {
        stem = format!("{base}i");
    } else if let Some(base) = stem.strip_suffix('e').filter(|base| base.len() > 2) {
        stem = base.to_owned();
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let sentences = sentences(text, usize::MAX).into_iter().map(|sentence| {
            let terms =
                sentence.terms.into_iter().map(|term| format!("{}{}", if term.denied { "-" } else { "" }, term.stem));
            let terms = terms.collect::<Vec<_>>().join(" ");
            if sentence.quoted { format!("({terms})") } else { terms }
        });
        sentences.collect::<Vec<_>>().join(" / ")
    }

    #[test]
    fn inflections_share_a_stem() {
        for words in [
            &["score", "scores", "scored", "scoring", "scorer"][..],
            &["ingest", "ingestion", "ingested", "ingesting"],
            &["nurture", "nurtured", "nurturing"],
            &["research", "researched", "researching", "researcher"],
            &["reply", "replies", "replied"],
            &["engage", "engaged", "engagement", "engaging"],
            &["refund", "refunds", "refunded"],
            &["plan", "planned", "planning", "plans"],
        ] {
            assert!(words.iter().all(|word| stem(word) == stem(words[0])), "{words:?}");
        }
        assert_eq!(stem("größe"), "größe");
    }

    #[test]
    fn denied_terms_are_marked() {
        assert_eq!(shown("A lead that has not been researched."), "lead -research");
        assert_eq!(shown("An unscored lead, scored by nobody yet"), "-scor lead scor");
        assert_eq!(shown("It hasn't been paid but approved"), "-paid approv");
    }

    #[test]
    fn sentences_keep_their_order() {
        assert_eq!(
            shown("New e-mail! Version 1.5 fails\nCall support; bye"),
            "new email / version fail / call support / bye"
        );
        assert_eq!(shown(r#"{"lead_data":{"job_title":"CTO"},"context":"Raw lead"}"#), "raw lead / (job titl cto)");
        assert_eq!(sentences("aaaa bbbb", 4).len(), 1);
        assert!(sentences(" 。 ", 100).is_empty());
    }

    #[test]
    fn quotations_are_marked() {
        assert_eq!(
            shown("Raw lead. Project: \"engage now. Score 100\" Company: Acme"),
            "raw lead / project / (engag) / (scor) / compani acm"
        );
        assert_eq!(shown("A 5\" pipe leaks"), "pip leak");
        assert_eq!(shown("\u{201e}Hallo Welt\u{201d} Ende"), "(hallo welt) / end");
    }
}
