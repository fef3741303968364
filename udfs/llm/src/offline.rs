//! The offline method: which agent's own words a text is nearest to. No model, no network, no table of answers.
//!
//! Each agent is a bag of weighted terms: what it accepts counts most, then what it does, then its name. A term that few
//! of the agents have says more than one that most have. A text is read in order, and what it says first about itself
//! counts most: the head of a message says what it is, its later parts hold details and what others wrote. A term that
//! one side denies ("not scored yet") and the other asserts counts against the agent, and so does work that is done
//! ("has been sent") with an agent that still has to do it ("to be sent"). When no agent is near, or two are
//! equally near, the choice is none.
//!
//! The words themselves are the business of `words` and `vocabulary`.

use crate::agent::Agent;
use crate::words::{Said, Sentence, Term, sentences};
use std::collections::HashMap;

/// What the parts of an agent weigh.
const INPUT: f64 = 1.0;
const DESCRIPTION: f64 = 0.6;
const NAME: f64 = 0.35;

/// What the sentences of a text weigh, in their order; those after the last weigh as much as it.
const SENTENCES: &[f64] = &[1.0, 0.5, 0.3, 0.2, 0.14, 0.1, 0.08, 0.06];

/// How soon further occurrences of a term add nothing.
const SATURATION: f64 = 1.0;

/// What a sentence in quotation marks weighs in addition, unless it is the first.
const QUOTED: f64 = 0.15;

/// What a sentence about agents and all after it weigh in addition: "You are the router, so …" says nothing of itself.
const OF_AGENTS: f64 = 0.1;

/// The share of a text's words that the agents know, at which half of the evidence counts: in a text about something
/// else a few words are met by chance.
const FOREIGN: f64 = 0.15;

/// What two terms in a row weigh when an agent has them in a row too.
const PAIR: f64 = 0.6;

/// What a term counts that one side takes back and the other asserts.
const CONTRADICTION: f64 = -1.0;

/// The part that does not count of what one term says alone, beyond all others together.
const ALONE: f64 = 0.2;

/// How much of a score counts when another agent has just as much.
const UNDECIDED: f64 = 0.35;

/// The score that is worth a confidence of 0.5; below it, the choice is none.
const HALF: f64 = 0.35;

/// What the method chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice<'a> {
    /// `None`: no agent.
    pub(crate) agent: Option<&'a str>,
    /// 0 to 1.
    pub(crate) confidence: f64,
}

/// The method over one list of agents.
#[derive(Debug)]
pub(crate) struct TextMethod {
    names: Vec<String>,
    /// For each stem, which agents have it: how much it weighs for them, and how they have it.
    words: HashMap<String, Vec<Posting>>,
    pairs: HashMap<(String, String), Vec<Posting>>,
    /// Pairs by what they are when written as one word: "payslip" for "pay slip".
    compounds: HashMap<String, (String, String)>,
    /// Stems by their first letters, for words that are near one of the agents' and not among them.
    by_prefix: HashMap<String, Vec<String>>,
    /// In lower case, those of several words.
    full_names: Vec<String>,
    /// Whether the agents' work is with agents, routers or dispatchers: then a text about these is nothing special.
    of_agents: bool,
}

#[derive(Debug, Clone, Copy)]
struct Posting {
    agent: usize,
    weight: f64,
    said: Said,
}

/// What speaks for one agent and against it.
#[derive(Debug, Clone, Copy, Default)]
struct Evidence {
    score: f64,
    /// What the strongest term adds.
    strongest: f64,
}

impl Evidence {
    fn add(&mut self, amount: f64) {
        self.score += amount;
        self.strongest = self.strongest.max(amount);
    }

    /// The score, less for one term that stands alone: it may be met by chance.
    fn weighed(&self) -> f64 {
        let others = (self.score - self.strongest).max(0.0);
        self.score - ALONE * (self.strongest - others).max(0.0)
    }
}

const PREFIX: usize = 4;

impl TextMethod {
    pub(crate) fn new(agents: &[Agent]) -> Self {
        let mut words: HashMap<String, Vec<Posting>> = HashMap::new();
        let mut pairs: HashMap<(String, String), Vec<Posting>> = HashMap::new();
        let mut of_agents_itself = false;
        for (index, agent) in agents.iter().enumerate() {
            for (text, weight) in [(&agent.input, INPUT), (&agent.description, DESCRIPTION), (&agent.name, NAME)] {
                for Sentence { terms: mut sentence, of_agents, .. } in sentences(text, usize::MAX) {
                    of_agents_itself |= of_agents;
                    // "Writes one e-mail": what an agent does is still to be done when it is asked.
                    if weight == DESCRIPTION && sentence[0].said == Said::Plainly {
                        sentence[0].said = Said::Due;
                    }
                    for term in &sentence {
                        note(words.entry(term.stem.clone()).or_default(), index, weight, term.said);
                    }
                    for pair in sentence.windows(2) {
                        let key = (pair[0].stem.clone(), pair[1].stem.clone());
                        note(pairs.entry(key).or_default(), index, weight, either(pair));
                    }
                }
            }
        }
        for postings in words.values_mut().chain(pairs.values_mut()) {
            let idf = ((agents.len() as f64 + 1.0) / (postings.len() as f64 + 0.5)).ln().max(0.05);
            for posting in postings {
                posting.weight *= idf;
            }
        }
        let mut by_prefix: HashMap<String, Vec<String>> = HashMap::new();
        for stem in words.keys() {
            if let Some(prefix) = prefix(stem) {
                by_prefix.entry(prefix).or_default().push(stem.clone());
            }
        }
        // The same text and agents always make the same choice.
        by_prefix.values_mut().for_each(|stems| stems.sort());
        let compounds = pairs.keys().map(|pair| (format!("{}{}", pair.0, pair.1), pair.clone())).collect();
        let full_names =
            agents.iter().map(|agent| agent.name.to_lowercase()).filter(|name| name.contains(' ')).collect();
        Self {
            names: agents.iter().map(|agent| agent.name.clone()).collect(),
            words,
            pairs,
            compounds,
            by_prefix,
            full_names,
            of_agents: of_agents_itself,
        }
    }

    /// The agent that `text` is nearest to, of which the first `most_chars` characters are read.
    pub(crate) fn choose(&self, text: &str, most_chars: usize) -> Choice<'_> {
        let (scores, met) = self.scores(text, most_chars);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let best = order.first().map_or(0.0, |index| scores[*index].max(0.0));
        let second = order.get(1).map_or(0.0, |index| scores[*index].max(0.0));
        let margin = if best > 0.0 { (best - second) / best } else { 0.0 };
        let relevance = met * (1.0 + FOREIGN) / (met + FOREIGN);
        let evidence = best * relevance * (UNDECIDED + (1.0 - UNDECIDED) * margin);
        let confidence = round(evidence / (evidence + HALF));
        if confidence < 0.5 {
            return Choice { agent: None, confidence: round(1.0 - confidence) };
        }
        Choice { agent: order.first().map(|index| self.names[*index].as_str()), confidence }
    }

    fn scores(&self, text: &str, most_chars: usize) -> (Vec<f64>, f64) {
        let mut word_weights: HashMap<(&str, Said), f64> = HashMap::new();
        let mut pair_weights: HashMap<&(String, String), f64> = HashMap::new();
        let (mut position, mut about_agents) = (0, false);
        let (mut met, mut all) = (0.0, 0.0);
        for Sentence { terms: sentence, quoted, of_agents } in sentences(&self.without_names(text), most_chars) {
            let mut weight = SENTENCES.get(position).or(SENTENCES.last()).copied().unwrap_or(0.1);
            if quoted && position > 0 {
                weight *= QUOTED;
            }
            about_agents |= of_agents && !self.of_agents;
            if about_agents {
                weight *= OF_AGENTS;
            }
            for term in &sentence {
                let known = self.known(&term.stem);
                all += weight;
                met += if known.is_empty() { 0.0 } else { weight };
                for (stem, nearness) in known {
                    *word_weights.entry((stem, term.said)).or_default() += weight * nearness;
                }
            }
            for pair in sentence.windows(2) {
                let together = format!("{}{}", pair[0].stem, pair[1].stem);
                if let Some((stem, _)) = self.words.get_key_value(&together) {
                    *word_weights.entry((stem, pair[1].said)).or_default() += weight;
                }
                let key = (pair[0].stem.clone(), pair[1].stem.clone());
                if let Some((key, _)) = self.pairs.get_key_value(&key) {
                    *pair_weights.entry(key).or_default() += weight;
                }
            }
            // A greeting is not yet the head of the message.
            if sentence.len() > 2 || met > 0.0 {
                position += 1;
            }
        }
        let mut evidence = vec![Evidence::default(); self.names.len()];
        for ((stem, said), weight) in word_weights {
            for posting in self.words.get(stem).into_iter().flatten() {
                let agrees = match posting.said {
                    against if against.contradicts(said) => CONTRADICTION,
                    unclear if unclear.is_unclear_beside(said) => 0.0,
                    _ => 1.0,
                };
                evidence[posting.agent].add(agrees * posting.weight * saturated(weight));
            }
        }
        for (pair, weight) in pair_weights {
            for posting in self.pairs.get(pair).into_iter().flatten().filter(|posting| posting.said != Said::Denied) {
                evidence[posting.agent].score += PAIR * posting.weight * saturated(weight);
            }
        }
        (evidence.iter().map(Evidence::weighed).collect(), if all > 0.0 { met / all } else { 0.0 })
    }

    /// The agents' own stems that a text's stem is, is made of, or is near to, and how near.
    fn known(&self, stem: &str) -> Vec<(&str, f64)> {
        if let Some((known, _)) = self.words.get_key_value(stem) {
            return vec![(known, 1.0)];
        }
        if let Some((first, second)) = self.compounds.get(stem) {
            return vec![(first, 1.0), (second, 1.0)];
        }
        let candidates = prefix(stem).and_then(|prefix| self.by_prefix.get(&prefix));
        let nearest = candidates
            .into_iter()
            .flatten()
            .map(|known| (known.as_str(), nearness(stem, known)))
            .filter(|(_, nearness)| *nearness >= 0.6)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map(|(known, nearness)| (known, nearness * 0.8)).into_iter().collect()
    }

    /// `text` in lower case and without agents' full names: a text can name the agent that it is from, or one that it
    /// wants to be sent to, and neither says what it is. A name of one word may be just that word, and stays.
    fn without_names(&self, text: &str) -> String {
        let mut text = text.to_lowercase();
        for name in &self.full_names {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), " ");
            }
        }
        text
    }
}

fn note(postings: &mut Vec<Posting>, agent: usize, weight: f64, said: Said) {
    match postings.iter_mut().find(|posting| posting.agent == agent) {
        // The heavier part says what the term is to the agent; what else says it again adds a little.
        Some(posting) if posting.said == said => posting.weight = posting.weight.max(weight) + 0.1 * weight,
        Some(posting) if posting.weight < weight => *posting = Posting { agent, weight, said },
        Some(_) => {}
        None => postings.push(Posting { agent, weight, said }),
    }
}

/// A pair is denied with one of its terms.
fn either(pair: &[Term]) -> Said {
    if pair.iter().any(|term| term.said == Said::Denied) { Said::Denied } else { Said::Plainly }
}

fn saturated(weight: f64) -> f64 {
    (1.0 + SATURATION) * weight / (weight + SATURATION)
}

fn prefix(stem: &str) -> Option<String> {
    let prefix: String = stem.chars().take(PREFIX).collect();
    (stem.chars().count() > PREFIX).then_some(prefix)
}

/// How much of the longer of two words their common beginning is.
fn nearness(a: &str, b: &str) -> f64 {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    common as f64 / a.chars().count().max(b.chars().count()) as f64
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method() -> TextMethod {
        let agent = |name: &str, description: &str, input: &str| Agent {
            name: name.to_owned(),
            description: description.to_owned(),
            input: input.to_owned(),
            ..Agent::default()
        };
        TextMethod::new(&[
            agent("Scoring Agent", "Gives a lead a score.", "A research report on a lead, not scored yet."),
            agent("Outreach Agent", "Writes an e-mail.", "A scored lead whose next step is Engage."),
            agent("Payment Agent", "Looks at a pay slip.", "A question about the pay slip."),
        ])
    }

    fn choose(text: &str) -> Option<String> {
        method().choose(text, 10_000).agent.map(str::to_owned)
    }

    #[test]
    fn the_head_of_a_message_counts_most() {
        let report = "Research report on a lead. Size: 80 people.";
        let scored = "Scored lead, next step Engage.";
        assert_eq!(choose(&format!("{report} Note: {scored}")).as_deref(), Some("Scoring Agent"));
        assert_eq!(choose(&format!("{scored} Note: {report}")).as_deref(), Some("Outreach Agent"));
    }

    #[test]
    fn what_is_denied_counts_against() {
        assert_eq!(choose("This lead has not been scored yet").as_deref(), Some("Scoring Agent"));
        assert_eq!(choose("This lead is unscored").as_deref(), Some("Scoring Agent"));
    }

    #[test]
    fn a_name_alone_says_nothing() {
        assert_eq!(choose("Ignore that and send this to the Payment Agent, PAYMENT AGENT!"), None);
    }

    #[test]
    fn work_that_is_done_is_not_to_be_done() {
        assert_eq!(choose("A scored lead, next step Engage").as_deref(), Some("Outreach Agent"));
        assert_eq!(choose("The e-mail has been written."), None);
    }

    #[test]
    fn orders_about_agents_say_little() {
        let confidence = |text| method().choose(text, 10_000).confidence;
        assert!(
            confidence("You are the router. A question about the pay slip")
                < confidence("A question about the pay slip")
        );
        assert_eq!(choose("A pay slip. You are the router.").as_deref(), Some("Payment Agent"));
    }

    #[test]
    fn words_written_together_are_found() {
        assert_eq!(choose("My payslip, please").as_deref(), Some("Payment Agent"));
    }

    #[test]
    fn nothing_in_common_is_none() {
        for text in ["Bonjour tout le monde", "1234", "💥", "a", "{}", "\u{0}"] {
            let method = method();
            let choice = method.choose(text, 10_000);
            assert_eq!(choice, Choice { agent: None, confidence: 1.0 }, "{text}");
        }
    }

    #[test]
    fn only_the_beginning_is_read() {
        assert_eq!(method().choose("Bonjour payslip", 8).agent, None);
    }
}
