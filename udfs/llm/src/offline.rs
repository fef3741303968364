//! The offline method: selects the agent whose texts are most similar to the beginning of a message. It calls no model.
//!
//! Texts are compared by TF-IDF over character n-grams and cosine similarity. An agent has one document of its input,
//! description and name, and one for each of its examples. The nearest document counts. The method has no vocabulary,
//! so it works for any agents and in any script, but it understands nothing: a message must share words, or parts of
//! words, with its agent. Adding examples to the agents improves it.
//!
//! The same agents and message always give the same choice: sums are computed in the order of the n-grams.

use crate::agent::Agent;
use std::collections::{HashMap, HashSet};

/// The lengths of n-grams, in characters: from a syllable to a short word with the space before it.
const LEAST_GRAM: usize = 3;
const MOST_GRAM: usize = 5;

/// The weights of an agent's texts. Its input is most similar to a message.
const INPUT: f64 = 1.0;
const DESCRIPTION: f64 = 0.5;
const NAME: f64 = 0.25;

/// How many characters of a message are compared. The text after them is usually details and quotes.
const HEAD: usize = 200;

/// The factor between the weights of one character of the head and the next.
const FADE: f64 = 0.99;

/// The opening ends with the first sentence that ends after this many characters, so that a greeting is not the
/// opening.
const LEAST_OPENING: usize = 30;

/// The similarity at which the confidence is 0.5. Texts about other subjects stay below it.
const NEAR: f64 = 0.055;

/// The similarity above which the output of one agent counts as the input of another. Such texts were written for each
/// other, so they have much more in common than a message and its agent.
const HANDED_ON: f64 = 3.0 * NEAR;

/// The lead over the second agent at which the confidence is 0.5, relative to the first agent's similarity.
const MARGIN: f64 = 0.05;

/// The choice for a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice<'a> {
    /// `None`: no agent.
    pub(crate) agent: Option<&'a str>,
    /// From 0 to 1. For an agent it is at least 0.5. For none it grows with the distance from every agent, and is below
    /// 0.5 if two agents are equally near.
    pub(crate) confidence: f64,
}

/// The method over one list of agents.
#[derive(Debug)]
pub(crate) struct TextMethod {
    names: Vec<String>,
    /// The index of each document's agent. The index after the last agent stands for finished work.
    agent_of: Vec<usize>,
    grams: HashMap<Gram, Known>,
    /// The IDF of an n-gram that occurs in no document.
    unknown_idf: f64,
}

/// The characters of an n-gram, 21 bits each.
type Gram = u128;

/// An n-gram in the documents.
#[derive(Debug)]
struct Known {
    idf: f64,
    /// The documents that contain it, with its component in each document's vector, which has length 1.
    documents: Vec<(usize, f64)>,
}

/// The n-grams of a document with their frequencies.
type Frequencies = Vec<(Gram, f64)>;

impl TextMethod {
    /// Prepares the agents. An agent's output that is no other agent's input becomes a document of finished work. A
    /// message that is nearer to it than to every agent goes to none.
    pub(crate) fn new(agents: &[Agent]) -> Self {
        let mut documents: Vec<(usize, Frequencies)> = Vec::new();
        for (number, agent) in agents.iter().enumerate() {
            let mut own = Vec::new();
            for (text, weight) in [(&agent.input, INPUT), (&agent.description, DESCRIPTION), (&agent.name, NAME)] {
                add_grams(&mut own, &Normal::of(text.chars(), usize::MAX).text, |_, _| weight);
            }
            documents.push((number, merged(own, |sum, weight| *sum += weight)));
            documents.extend(agent.examples.iter().map(|example| (number, frequencies(example))));
        }
        let takers = Self::over(agents, &documents);
        for (number, agent) in agents.iter().enumerate().filter(|(_, agent)| !agent.output.is_empty()) {
            let similarities = takers.similarities(&agent.output, usize::MAX);
            let is_taken = similarities.iter().enumerate().any(|(taker, near)| taker != number && *near >= HANDED_ON);
            if !is_taken {
                documents.push((agents.len(), frequencies(&agent.output)));
            }
        }
        Self::over(agents, &documents)
    }

    fn over(agents: &[Agent], documents: &[(usize, Frequencies)]) -> Self {
        let mut holders: HashMap<Gram, HashSet<usize>> = HashMap::new();
        for (number, grams) in documents {
            for (gram, _) in grams {
                holders.entry(*gram).or_default().insert(*number);
            }
        }
        // Smoothed, so that a single agent can be chosen too.
        let idf = |holders: usize| ((agents.len() as f64 + 1.0) / (holders as f64 + 0.5)).ln();
        let known = |of: &HashSet<usize>| Known { idf: idf(of.len()), documents: Vec::new() };
        let mut grams: HashMap<Gram, Known> = holders.iter().map(|(gram, of)| (*gram, known(of))).collect();
        for (document, (_, frequencies)) in documents.iter().enumerate() {
            let squares = frequencies.iter().map(|(gram, tf)| (tf * grams[gram].idf).powi(2));
            let length = squares.sum::<f64>().sqrt();
            for (gram, tf) in frequencies {
                if let Some(known) = grams.get_mut(gram) {
                    known.documents.push((document, tf * known.idf / length));
                }
            }
        }
        Self {
            names: agents.iter().map(|agent| agent.name.clone()).collect(),
            agent_of: documents.iter().map(|(number, _)| *number).collect(),
            grams,
            unknown_idf: idf(0),
        }
    }

    /// The agent nearest to `text`. At most `most_chars` characters are read.
    pub(crate) fn choose(&self, text: &str, most_chars: usize) -> Choice<'_> {
        let mut similarities = self.similarities(text, most_chars);
        let done = similarities.pop().unwrap_or(0.0);
        let (mut first, mut second, mut nearest) = (0.0, 0.0, 0);
        for (number, similarity) in similarities.into_iter().enumerate() {
            if similarity > first {
                (first, second, nearest) = (similarity, first, number);
            } else if similarity > second {
                second = similarity;
            }
        }
        if done > first {
            return Choice { agent: None, confidence: round(done / (done + first)) };
        }
        let nearness = first / NEAR;
        let lead = if first > 0.0 { (first - second) / (MARGIN * first) } else { 0.0 };
        let strength = f64::min(nearness, lead);
        if strength < 1.0 {
            return Choice { agent: None, confidence: round(1.0 / (1.0 + nearness)) };
        }
        Choice { agent: self.names.get(nearest).map(String::as_str), confidence: round(strength / (1.0 + strength)) }
    }

    /// The similarity of `text` to each agent and, last, to finished work, from 0 to 1: the mean of the similarities of
    /// its opening and of its head.
    ///
    /// The opening describes the message. Half of the similarity depends only on the opening, so text after it cannot
    /// change that half: a message that opens with an agent's own sentence goes to that agent, whatever follows.
    fn similarities(&self, text: &str, most_chars: usize) -> Vec<f64> {
        let head = Normal::of(text.chars().take(most_chars), HEAD);
        let mut weighted = Vec::with_capacity(head.text.len() * (MOST_GRAM - LEAST_GRAM + 1));
        add_grams(&mut weighted, &head.text, |start, end| {
            [if end <= head.opening { 1.0 } else { 0.0 }, FADE.powi(start as i32)]
        });
        let (mut squares, mut dots) = ([0.0; 2], vec![[0.0; 2]; self.agent_of.len()]);
        for (gram, tf) in merged(weighted, |sum, weight| *sum = [sum[0] + weight[0], sum[1] + weight[1]]) {
            let known = self.grams.get(&gram);
            let idf = known.map_or(self.unknown_idf, |known| known.idf);
            let [opening, head] = tf.map(|tf| tf * idf);
            squares = [squares[0] + opening * opening, squares[1] + head * head];
            for (document, weight) in known.map_or(&[][..], |known| &known.documents) {
                let dot = &mut dots[*document];
                *dot = [dot[0] + opening * weight, dot[1] + head * weight];
            }
        }
        let mut similarities = vec![0.0; self.names.len() + 1];
        let cosine = |dot: f64, square: f64| if square > 0.0 { dot / square.sqrt() } else { 0.0 };
        for (agent, dot) in self.agent_of.iter().zip(dots) {
            let similarity = (cosine(dot[0], squares[0]) + cosine(dot[1], squares[1])) / 2.0;
            similarities[*agent] = f64::max(similarities[*agent], similarity);
        }
        similarities
    }
}

/// A normalised text: letters and digits in lower case, each word between two single spaces.
struct Normal {
    text: Vec<char>,
    /// The length of the opening, in characters.
    opening: usize,
}

impl Normal {
    /// Reads at most `most` characters.
    fn of(text: impl Iterator<Item = char>, most: usize) -> Self {
        let mut normal = vec![' '];
        let mut opening = None;
        let mut characters = text.peekable();
        while let Some(character) = characters.next() {
            if normal.len() > most {
                break;
            }
            if character.is_alphanumeric() {
                normal.extend(character.to_lowercase());
                continue;
            }
            if normal.last() != Some(&' ') {
                normal.push(' ');
            }
            // The full stop in "1.5" does not end a sentence.
            let ends = matches!(character, '.' | '!' | '?' | '。' | '！' | '？' | '।' | '؟')
                && !characters.peek().is_some_and(|next| next.is_alphanumeric() && next.is_ascii());
            if ends && opening.is_none() && normal.len() > LEAST_OPENING {
                opening = Some(normal.len());
            }
        }
        if normal.last() != Some(&' ') {
            normal.push(' ');
        }
        Self { opening: opening.unwrap_or(normal.len()), text: normal }
    }
}

/// The n-grams of a text's head.
fn frequencies(text: &str) -> Frequencies {
    let mut grams = Vec::new();
    add_grams(&mut grams, &Normal::of(text.chars(), HEAD).text, |_, _| 1.0);
    merged(grams, |sum, weight| *sum += weight)
}

/// Adds all n-grams of a text. `weigh` gives the weight for a start and an end.
fn add_grams<W>(grams: &mut Vec<(Gram, W)>, text: &[char], weigh: impl Fn(usize, usize) -> W) {
    for start in 0..text.len() {
        let mut gram: Gram = 0;
        for (length, character) in (1..=MOST_GRAM).zip(&text[start..]) {
            gram = gram << 21 | Gram::from(u32::from(*character));
            if length >= LEAST_GRAM {
                grams.push((gram, weigh(start, start + length)));
            }
        }
    }
}

/// Each n-gram once, in order, with the sum of its weights.
fn merged<W>(mut grams: Vec<(Gram, W)>, add: impl Fn(&mut W, &W)) -> Vec<(Gram, W)> {
    // The sort is stable: the weights of one n-gram are added in the order of the text.
    grams.sort_by_key(|(gram, _)| *gram);
    grams.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            add(&mut kept.1, &next.1);
        }
        same
    });
    grams
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, input: &str, examples: &[&str]) -> Agent {
        Agent {
            name: name.to_owned(),
            input: input.to_owned(),
            examples: examples.iter().map(|example| (*example).to_owned()).collect(),
            ..Agent::default()
        }
    }

    fn offices() -> TextMethod {
        TextMethod::new(&[
            agent("Contracts", "A draft contract that nobody has reviewed.", &[]),
            agent("Invoices", "An invoice from a supplier, not paid yet.", &["Rechnung 4711, zahlbar bis Freitag"]),
            agent("Travel", "A request to book a journey by train.", &[]),
        ])
    }

    fn chosen(method: &TextMethod, text: &str) -> Option<String> {
        method.choose(text, 10_000).agent.map(str::to_owned)
    }

    #[test]
    fn the_nearest_agent_is_chosen() {
        let method = offices();
        assert_eq!(chosen(&method, "Drafted: contract with Acme, reviewed by nobody.").as_deref(), Some("Contracts"));
        assert_eq!(chosen(&method, "{\"kind\": \"INVOICE\", \"paid\": false}").as_deref(), Some("Invoices"));
        let near = method.choose("A request to book a journey by train.", 10_000);
        assert_eq!((near.agent, near.confidence > 0.9), (Some("Travel"), true), "{near:?}");
    }

    #[test]
    fn the_nearest_document_of_an_agent_counts() {
        let text = "Rechnung 815 ist zahlbar bis Montag";
        assert_eq!(chosen(&offices(), text).as_deref(), Some("Invoices"));
        assert_eq!(
            chosen(&TextMethod::new(&[agent("A", "An invoice.", &[]), agent("B", "A letter.", &[])]), text),
            None
        );
    }

    #[test]
    fn nothing_behind_the_opening_outweighs_it() {
        let method = offices();
        let openings = [
            ("A draft contract that nobody has reviewed.", "Contracts"),
            ("An invoice from a supplier, not paid yet.", "Invoices"),
            ("A request to book a journey by train.", "Travel"),
        ];
        for (opening, name) in openings {
            for (other, _) in openings {
                let text = format!("{opening} {}", [other; 20].join(" "));
                assert_eq!(chosen(&method, &text).as_deref(), Some(name), "{text}");
            }
        }
    }

    #[test]
    fn what_is_far_from_all_or_between_two_is_for_nobody() {
        let method = offices();
        for text in ["", " \n", "?!", "🚂🚂🚂", "xyz", "Heavy snowfall, the museum opens at noon"] {
            let choice = method.choose(text, 10_000);
            assert!(choice.agent.is_none() && choice.confidence > 0.5, "{text}: {choice:?}");
        }
        let alike = TextMethod::new(&[agent("A", "An invoice.", &[]), agent("B", "An invoice.", &[])]);
        let choice = alike.choose("An invoice.", 10_000);
        assert!(choice.agent.is_none() && choice.confidence < 0.5, "{choice:?}");
    }

    #[test]
    fn what_an_agent_publishes_is_not_sent_to_it_again() {
        let review = Agent {
            output: "A review. Review of a contract, finished.".into(),
            ..agent("Contracts", "A draft contract that has not been reviewed yet.", &[])
        };
        let archive = agent("Archive", "A review of a contract that is finished and not archived yet.", &[]);
        let other = agent("Travel", "A request to book a journey by train.", &[]);
        let reply = "Review of a contract, finished. There is a penalty.";
        assert_eq!(chosen(&TextMethod::new(&[review.clone(), other.clone()]), reply), None);
        assert_eq!(chosen(&TextMethod::new(&[review, other, archive]), reply).as_deref(), Some("Archive"));
    }

    #[test]
    fn one_agent_alone_can_be_chosen() {
        let method = TextMethod::new(&[agent("A", "An invoice.", &[])]);
        assert_eq!(chosen(&method, "The invoice of May").as_deref(), Some("A"));
        assert_eq!(chosen(&method, "Snow"), None);
    }

    #[test]
    fn every_script_is_compared() {
        let method = TextMethod::new(&[
            agent("請求", "まだ支払われていない請求書。", &[]),
            agent("Отпуск", "Заявление на отпуск, которое никто не рассмотрел.", &[]),
            agent("शिकायत", "ग्राहक की शिकायत जिसका उत्तर नहीं दिया गया।", &[]),
        ]);
        for (text, name) in [
            ("支払われていない請求書が届きました。", "請求"),
            ("ЗАЯВЛЕНИЕ: прошу дать мне отпуск в июле", "Отпуск"),
            ("एक ग्राहक की नई शिकायत आई है", "शिकायत"),
        ] {
            assert_eq!(chosen(&method, text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn a_text_is_compared_by_its_letters_and_digits() {
        let normal = |text: &str, most| Normal::of(text.chars(), most).text.into_iter().collect::<String>();
        assert_eq!(normal("  Über-Größe:\n\t1.5 \u{0}%", usize::MAX), " über größe 1 5 ");
        assert_eq!(normal("", usize::MAX), " ");
        assert_eq!(normal("abcdef", 3), " abc ");
        let opening = |text: &str| Normal::of(text.chars(), usize::MAX).opening;
        let sentence = "Version 1.5 of the report is here";
        assert_eq!(opening(&format!("Good morning! {sentence}. And so on")), 48);
        assert_eq!(opening(sentence), sentence.len() + 2);
    }

    #[test]
    fn grams_are_counted_once_each_in_order() {
        let mut grams = Vec::new();
        let text: Vec<char> = "ababa".chars().collect();
        add_grams(&mut grams, &text, |start, _| start + 1);
        let merged = merged(grams, |sum, weight| *sum += weight);
        // aba (twice: 1 + 3), bab, abab, baba, ababa.
        assert_eq!(merged.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [4, 2, 1, 2, 1]);
        assert!(merged.is_sorted_by_key(|(gram, _)| *gram));
    }

    #[test]
    fn the_same_question_has_the_same_answer_at_once() {
        let text = format!("An invoice from a supplier for a journey. {}", "Please pay, or book! ".repeat(500_000));
        let started = std::time::Instant::now();
        let method = offices();
        let first = method.choose(&text, usize::MAX);
        assert_eq!(first.agent, Some("Invoices"));
        for _ in 0..20 {
            assert_eq!(offices().choose(&text, usize::MAX), first);
        }
        assert!(started.elapsed().as_secs() < 2);
    }
}
