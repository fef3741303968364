//! Text as the offline method sees it: sentences in their order, each a list of terms with how it is said.
//!
//! Nothing here knows of agents; what the terms are worth is the business of `offline`, which words are special that of
//! `vocabulary`.

use crate::vocabulary::{DENYING, Heading, OF_AGENTS, PHRASES, SKIPPED, heading, is_empty, meaning};
use serde_json::Value;

/// A word in the form that its inflections share, and how the text has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) stem: String,
    pub(crate) said: Said,
}

/// How a text has a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Plainly,
    /// "not scored", "unscored", "scored: false".
    Denied,
    /// "to be sent".
    Due,
    /// "has been sent".
    Done,
}

impl Said {
    /// Whether one side takes back what the other says.
    pub(crate) fn contradicts(self, other: Self) -> bool {
        let one_way = |a, b| matches!((a, b), (Self::Denied, Self::Plainly | Self::Done) | (Self::Due, Self::Done));
        one_way(self, other) || one_way(other, self)
    }

    /// Whether one side says "not" and the other "to be", which can be the same or not.
    pub(crate) fn is_unclear_beside(self, other: Self) -> bool {
        matches!((self, other), (Self::Denied, Self::Due) | (Self::Due, Self::Denied))
    }
}

/// How many words after a negation it reaches.
const REACH: usize = 3;

const CLAUSE_ENDS: [char; 9] = [',', ':', '=', '(', ')', '[', ']', '—', '–'];

/// What may stand around the value of a field.
const VALUE_EDGES: [char; 7] = [' ', '.', '"', '\'', '*', '}', '\n'];

/// The words after which "be" makes of a word something that is still to be done.
const DUE: [&str; 6] = ["to", "must", "shall", "should", "can", "will"];

/// A part of a text that says one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) terms: Vec<Term>,
    /// In quotation marks, or a field beside the `context`: what somebody else wrote, not what the text says of itself.
    pub(crate) quoted: bool,
    /// It speaks of agents, or to whoever dispatches.
    pub(crate) of_agents: bool,
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
    let mut letter = Letter::default();
    for (part, quoted) in quotations(text) {
        for sentence in split_sentences(part) {
            // What somebody quotes or typed in is no e-mail of ours, whatever it looks like.
            if !quoted && letter.is_whole_with(sentence) {
                found.push(Sentence { terms: terms("finished e-mail"), quoted: beside, of_agents: false });
            }
            let sentence = Sentence {
                terms: terms(sentence),
                quoted: quoted || beside || letter.is_body(),
                of_agents: words(sentence).any(|word| OF_AGENTS.contains(word.to_lowercase().as_str())),
            };
            if !sentence.terms.is_empty() {
                found.push(sentence);
            }
        }
    }
}

/// The head of an e-mail, as far as it has been read. One with a recipient and a subject and without a sender was written
/// here and waits to be sent: whoever reads it sees that, though it says so nowhere.
#[derive(Debug, Default)]
struct Letter {
    seen: Vec<Heading>,
}

impl Letter {
    /// Reads `sentence`, and tells whether the head is whole with it and was not before.
    fn is_whole_with(&mut self, sentence: &str) -> bool {
        let Some((key, _)) = sentence.split_once([':', '=']) else { return false };
        let key = key.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
        let Some(heading) = heading(&key) else { return false };
        let was_whole = self.is_body();
        self.seen.push(heading);
        self.is_body() && !was_whole
    }

    /// Whether what follows is what the e-mail says to its recipient.
    fn is_body(&self) -> bool {
        let seen = |heading| self.seen.contains(&heading);
        seen(Heading::Recipient) && seen(Heading::Subject) && !seen(Heading::Sender)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric())
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
    let mut clauses = lower.split(CLAUSE_ENDS).peekable();
    while let Some(clause) = clauses.next() {
        let empty = clauses.peek().is_some_and(|value| is_empty(value.trim_matches(VALUE_EDGES)));
        let mut reach = if empty { usize::MAX } else { 0 };
        // What "be" and "been" say of the next word: that it is still to be done, or that it is done.
        let (mut before, mut aspect) = ("", None);
        for word in words(clause) {
            match word {
                "be" if DUE.contains(&before) => aspect = Some(Said::Due),
                "been" | "was" | "were" | "gone" => aspect = Some(Said::Done),
                _ if matches!(before, "is" | "are") && (word.ends_with("ed") || word.ends_with("en")) => {
                    aspect = Some(Said::Done);
                }
                _ => {}
            }
            before = word;
            if DENYING.contains(word) {
                reach = reach.max(REACH);
                continue;
            }
            if matches!(word, "but" | "and" | "then" | "so") && !empty {
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
            let asserted = aspect.take().unwrap_or(Said::Plainly);
            let said = if denied != un { Said::Denied } else { asserted };
            found.push(Term { stem: meaning(word), said });
        }
    }
    found
}

/// Writes as one word what means one thing, so that neither half stands for something else.
fn joined(lower: &str) -> String {
    let mut text = lower.replace("e-mail", "email");
    for (phrases, word) in PHRASES {
        for phrase in *phrases {
            if text.contains(phrase) {
                text = text.replace(phrase, word);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::stem;

    fn shown(text: &str) -> String {
        let sentences = sentences(text, usize::MAX).into_iter().map(|sentence| {
            let terms = sentence
                .terms
                .into_iter()
                .map(|term| format!("{}{}", if term.said == Said::Denied { "-" } else { "" }, term.stem));
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
        assert_eq!(shown("A lead that has not been researched."), "lead -examin");
        assert_eq!(shown("An unscored lead, scored by nobody yet"), "-scor lead scor");
        assert_eq!(shown("It hasn't been paid but approved"), "-pay approv");
    }

    #[test]
    fn sentences_keep_their_order() {
        assert_eq!(
            shown("New e-mail! Version 1.5 fails\nCall support; bye"),
            "raw email / version fail / call support / bye"
        );
        assert_eq!(shown(r#"{"lead_data":{"job_title":"CTO"},"context":"Raw lead"}"#), "raw lead / (job titl cto)");
        assert_eq!(sentences("aaaa bbbb", 4).len(), 1);
        assert!(sentences(" 。 ", 100).is_empty());
    }

    #[test]
    fn an_empty_field_denies_its_name() {
        assert_eq!(shown("Score: open. Next step = none"), "-scor open / -next -step");
        assert_eq!(shown(r#"{"sent": false, "size": 3}"#), "-send fals / siz");
    }

    #[test]
    fn done_and_due_are_told_apart() {
        let said = |text| terms(text).into_iter().map(|term| term.said).collect::<Vec<_>>();
        assert_eq!(said("ready to be sent"), [Said::Plainly, Said::Due]);
        assert_eq!(said("has already been sent"), [Said::Done]);
        assert_eq!(said("is written, must be paid"), [Said::Done, Said::Due]);
        assert_eq!(said("has not been sent"), [Said::Denied]);
    }

    #[test]
    fn other_words_for_the_same() {
        for (one, other) in [("written", "writes"), ("mail", "e-mails"), ("looked into", "researched")] {
            assert_eq!(shown(one), shown(other));
        }
        assert_eq!(shown("Neuer Lead, nicht bewertet"), shown("new lead, not scored"));
    }

    #[test]
    fn the_head_of_an_email_makes_it_one() {
        let email = shown("finished e-mail");
        let draft = shown("To: a@b.example\nSubject: Your reports\n\nHello!");
        assert!(draft.contains(&format!("{email} / (subject report)")), "{draft}");
        for text in ["From: x\nTo: y\nSubject: Reports", "Subject: Reports", "Raw: \"To: x\nSubject: y\""] {
            assert!(!shown(text).contains(&email), "{text}");
        }
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
