//! Computes numbers from decisions: accuracy, precision, recall, thresholds, cost and latency. Pure arithmetic.

use std::collections::BTreeMap;

use super::ask::Decision;
use super::input::{Labelled, NONE};

/// The confidence thresholds that are tried: a decision below one is not followed.
pub const THRESHOLDS: [f64; 12] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// The scores of a pipeline.
#[derive(Debug, PartialEq)]
pub struct Scores {
    /// All messages.
    pub messages: usize,
    /// Those for which the expected agent, or NONE, was chosen.
    pub right: usize,
    /// The agents, and NONE last.
    pub agents: Vec<AgentScore>,
    /// The confusion matrix of [`Scores::agents`]: rows are the expected agent, columns the chosen one.
    pub confusion: Vec<Vec<usize>>,
    /// The statuses, the most frequent first.
    pub statuses: Vec<StatusCount>,
    /// Decisions without a confidence. They are followed at every threshold.
    pub without_confidence: usize,
    /// One for each of [`THRESHOLDS`].
    pub thresholds: Vec<AtThreshold>,
    /// What the decisions took.
    pub took: Took,
}

/// The scores of one agent.
#[derive(Debug, PartialEq)]
pub struct AgentScore {
    /// Its name, or NONE.
    pub agent: String,
    /// Messages that it should take.
    pub support: usize,
    /// Messages that it was chosen for.
    pub chosen: usize,
    /// Those of them that it should take.
    pub right: usize,
    /// Messages that it should take and that have no answer.
    pub unanswered: usize,
}

impl AgentScore {
    /// Of the messages that it was chosen for, the share that it should take.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.right, self.chosen)
    }

    /// Of the messages that it should take, the share that it was chosen for.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.right, self.support)
    }
}

/// How many messages have a status.
#[derive(Debug, PartialEq)]
pub struct StatusCount {
    /// The status.
    pub status: String,
    /// How many.
    pub messages: usize,
    /// Its first message, unless the status is `ok`: the line, and the error.
    pub example: Option<(usize, String)>,
}

/// The numbers when decisions below a confidence are not followed.
#[derive(Debug, PartialEq)]
pub struct AtThreshold {
    /// The least confidence that is followed.
    pub threshold: f64,
    /// Messages that go to an agent.
    pub routed: usize,
    /// Those of them that go to the right one.
    pub routed_right: usize,
    /// Messages that end where they should, including NONE.
    pub right: usize,
    /// All messages.
    pub messages: usize,
}

impl AtThreshold {
    /// The share of all messages that goes to an agent.
    pub fn coverage(&self) -> f64 {
        ratio(self.routed, self.messages).unwrap_or(0.0)
    }

    /// The share of all messages that ends where it should.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right, self.messages).unwrap_or(0.0)
    }

    /// Of the messages that go to an agent, the share that goes to the right one.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.routed_right, self.routed)
    }
}

/// What decisions took: money, tokens and time.
#[derive(Debug, Default, PartialEq)]
pub struct Took {
    /// The cost of all of them; `None` when no cost is known.
    pub cost: Option<f64>,
    /// Messages for which a model was asked at an unknown price.
    pub without_cost: usize,
    /// Prompt tokens, where known.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens, where known.
    pub completion_tokens: Option<u64>,
    /// HTTP calls.
    pub attempts: u64,
    /// The latency of one message.
    pub latency: Option<Latency>,
    /// How many answers came from each source.
    pub sources: BTreeMap<String, usize>,
    /// How many answers each model gave.
    pub models: BTreeMap<String, usize>,
}

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The maximum.
    pub max: u64,
}

impl Scores {
    /// Compares decisions with the expected agents. `names` are the agents that can be chosen, in the order of the
    /// report.
    pub fn of(messages: &[Labelled], decisions: &[Decision], names: &[String]) -> Self {
        let labels = labels(messages, decisions, names);
        let place = |name: &str| labels.iter().position(|label| label == name);
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        let mut unanswered = vec![0; labels.len()];
        for (message, decision) in messages.iter().zip(decisions) {
            let Some(expected) = place(&message.expected) else { continue };
            match decision.agent.as_deref().and_then(place) {
                Some(chosen) => confusion[expected][chosen] += 1,
                None => unanswered[expected] += 1,
            }
        }
        let agents = labels.iter().enumerate().map(|(i, agent)| AgentScore {
            agent: agent.clone(),
            support: confusion[i].iter().sum::<usize>() + unanswered[i],
            chosen: confusion.iter().map(|row| row[i]).sum(),
            right: confusion[i][i],
            unanswered: unanswered[i],
        });
        Self {
            messages: messages.len(),
            right: (0..labels.len()).map(|i| confusion[i][i]).sum(),
            agents: agents.collect(),
            statuses: statuses(messages, decisions),
            without_confidence: decisions.iter().filter(|d| d.agent.is_some() && d.confidence.is_none()).count(),
            thresholds: THRESHOLDS.iter().map(|t| at_threshold(*t, messages, decisions)).collect(),
            took: Took::of(decisions),
            confusion,
        }
    }

    /// The share of all messages for which the expected agent, or NONE, was chosen.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right, self.messages).unwrap_or(0.0)
    }

    /// Messages without an answer.
    pub fn unanswered(&self) -> usize {
        self.agents.iter().map(|agent| agent.unanswered).sum()
    }
}

/// The agents in their order, then names that occur only in messages or decisions, then NONE.
fn labels(messages: &[Labelled], decisions: &[Decision], names: &[String]) -> Vec<String> {
    let seen = messages.iter().map(|m| m.expected.as_str()).chain(decisions.iter().filter_map(|d| d.agent.as_deref()));
    let mut labels: Vec<String> = Vec::new();
    for name in names.iter().map(String::as_str).chain(seen) {
        if name != NONE && !labels.iter().any(|label| label == name) {
            labels.push(name.to_string());
        }
    }
    labels.push(NONE.into());
    labels
}

fn statuses(messages: &[Labelled], decisions: &[Decision]) -> Vec<StatusCount> {
    let mut counts: Vec<StatusCount> = Vec::new();
    for (message, decision) in messages.iter().zip(decisions) {
        if let Some(count) = counts.iter_mut().find(|count| count.status == decision.status) {
            count.messages += 1;
        } else {
            let error = decision.error.clone().filter(|_| decision.agent.is_none());
            let example = error.map(|error| (message.line, error));
            counts.push(StatusCount { status: decision.status.clone(), messages: 1, example });
        }
    }
    counts.sort_by_key(|count| std::cmp::Reverse(count.messages));
    counts
}

fn at_threshold(threshold: f64, messages: &[Labelled], decisions: &[Decision]) -> AtThreshold {
    let mut at = AtThreshold { threshold, routed: 0, routed_right: 0, right: 0, messages: messages.len() };
    for (message, decision) in messages.iter().zip(decisions) {
        let Some(agent) = decision.agent.as_deref() else { continue };
        if decision.routes() && decision.confidence.is_none_or(|confidence| confidence >= threshold) {
            let is_right = agent == message.expected;
            at.routed += 1;
            at.routed_right += usize::from(is_right);
            at.right += usize::from(is_right);
        } else {
            at.right += usize::from(message.expected == NONE);
        }
    }
    at
}

impl Took {
    fn of(decisions: &[Decision]) -> Self {
        let mut took = Self::default();
        let mut latencies = Vec::new();
        for decision in decisions {
            let asked = decision.attempts.unwrap_or(0);
            took.attempts += asked;
            match decision.cost {
                Some(cost) => took.cost = Some(took.cost.unwrap_or(0.0) + cost),
                None => took.without_cost += usize::from(asked > 0),
            }
            add(&mut took.prompt_tokens, decision.prompt_tokens);
            add(&mut took.completion_tokens, decision.completion_tokens);
            latencies.extend(decision.latency_ms);
            for (counts, name) in [(&mut took.sources, &decision.source), (&mut took.models, &decision.model)] {
                if let Some(name) = name {
                    *counts.entry(name.clone()).or_default() += 1;
                }
            }
        }
        latencies.sort_unstable();
        took.latency = latencies.last().map(|max| Latency {
            p50: percentile(&latencies, 50),
            p95: percentile(&latencies, 95),
            max: *max,
        });
        took
    }
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0) + more);
    }
}

/// The smallest value of `sorted` that at least `percent` percent of the values do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// A share; `None` when the whole is 0.
#[expect(clippy::cast_precision_loss, reason = "files of labelled messages have far fewer than 2^52 lines")]
fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`, `agent` (empty: none), confidence.
    fn rows(rows: &[(&str, &str, Option<f64>)]) -> (Vec<Labelled>, Vec<Decision>) {
        let messages = rows.iter().enumerate().map(|(i, (expected, ..))| Labelled {
            line: i + 1,
            text: format!("message {i}"),
            expected: (*expected).into(),
        });
        let decisions = rows.iter().map(|(_, agent, confidence)| {
            let failed = agent.is_empty();
            Decision {
                agent: (!failed).then(|| (*agent).to_string()),
                status: if failed { "timeout".into() } else { "ok".into() },
                confidence: *confidence,
                error: failed.then(|| "late".into()),
                ..Decision::default()
            }
        });
        (messages.collect(), decisions.collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn precision_recall_and_confusion_by_hand() {
        let (messages, decisions) = rows(&[
            ("A", "A", None),
            ("A", "A", None),
            ("A", "B", None),
            ("A", "NONE", None),
            ("B", "B", None),
            ("B", "", None),
            ("NONE", "A", None),
            ("NONE", "NONE", None),
        ]);
        let scores = Scores::of(&messages, &decisions, &names(&["A", "B", "C"]));
        assert_eq!((scores.messages, scores.right, scores.unanswered()), (8, 4, 1));
        assert_eq!(Some(scores.accuracy()), Some(0.5));
        assert_eq!(
            scores.confusion,
            [vec![2, 1, 0, 1], vec![0, 1, 0, 0], vec![0, 0, 0, 0], vec![1, 0, 0, 1]],
            "rows are expected, columns chosen"
        );
        let score = |i: usize| {
            let a = &scores.agents[i];
            (a.agent.as_str(), a.support, a.chosen, a.precision(), a.recall(), a.unanswered)
        };
        assert_eq!(score(0), ("A", 4, 3, Some(2.0 / 3.0), Some(0.5), 0));
        assert_eq!(score(1), ("B", 2, 2, Some(0.5), Some(0.5), 1));
        assert_eq!(score(2), ("C", 0, 0, None, None, 0));
        assert_eq!(score(3), ("NONE", 2, 2, Some(0.5), Some(0.5), 0));
        let status = |status: &str, messages, example: Option<(usize, String)>| StatusCount {
            status: status.into(),
            messages,
            example,
        };
        assert_eq!(scores.statuses, [status("ok", 7, None), status("timeout", 1, Some((6, "late".into())))]);
    }

    #[test]
    fn thresholds_by_hand() {
        let (messages, decisions) = rows(&[
            ("A", "A", Some(0.95)),
            ("A", "A", Some(0.5)),
            ("A", "B", Some(0.3)),
            ("NONE", "B", Some(0.3)),
            ("NONE", "NONE", Some(0.2)),
            ("B", "B", None),
            ("B", "", None),
            ("NONE", "A", Some(0.7)),
        ]);
        let scores = Scores::of(&messages, &decisions, &names(&["A", "B"]));
        assert_eq!(scores.without_confidence, 1);
        let at = |threshold: f64| {
            let at = scores.thresholds.iter().find(|at| at.threshold >= threshold).expect("a threshold");
            (at.routed, at.routed_right, at.right)
        };
        // Every decision is followed. Right are the first two, NONE, and the B without a confidence.
        assert_eq!(at(0.0), (6, 3, 4));
        assert_eq!(scores.right, 4);
        // 0.3 is not below 0.3.
        assert_eq!(at(0.3), (6, 3, 4));
        // Both at 0.3 become NONE, which is right for one of them.
        assert_eq!(at(0.4), (4, 3, 5));
        assert_eq!(at(0.6), (3, 2, 4));
        // Only 0.95 and the one without a confidence remain; the wrong A is now NONE, which is right.
        assert_eq!(at(0.8), (2, 2, 5));
        assert_eq!(at(0.99), (1, 1, 4));
        let last = scores.thresholds.last().expect("thresholds");
        assert_eq!((last.coverage(), last.accuracy(), last.precision()), (0.125, 0.5, Some(1.0)));
        let none = Scores::of(&messages[6..7], &decisions[6..7], &[]);
        assert_eq!((none.thresholds[0].coverage(), none.thresholds[0].precision()), (0.0, None));
    }

    #[test]
    fn unknown_names_have_a_place_too() {
        let (messages, decisions) = rows(&[("Other", "A", None), ("NONE", "Stranger", None)]);
        let scores = Scores::of(&messages, &decisions, &names(&["A"]));
        let order: Vec<&str> = scores.agents.iter().map(|a| a.agent.as_str()).collect();
        assert_eq!(order, ["A", "Other", "Stranger", "NONE"]);
        assert_eq!(scores.right, 0);
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        let (_, mut decisions) = rows(&[("A", "A", None), ("A", "A", None), ("A", "A", None), ("A", "", None)]);
        assert_eq!(Took::of(&decisions), Took::default());
        decisions[0] = Decision {
            cost: Some(0.25),
            attempts: Some(2),
            prompt_tokens: Some(100),
            completion_tokens: Some(7),
            latency_ms: Some(40),
            model: Some("m".into()),
            source: Some("model".into()),
            ..decisions[0].clone()
        };
        decisions[1] = Decision {
            attempts: Some(1),
            prompt_tokens: Some(50),
            latency_ms: Some(10),
            source: Some("model".into()),
            ..decisions[1].clone()
        };
        decisions[2] = Decision {
            cost: Some(0.0),
            attempts: Some(0),
            latency_ms: Some(1),
            source: Some("log".into()),
            ..decisions[2].clone()
        };
        let took = Took::of(&decisions);
        assert_eq!((took.cost, took.without_cost, took.attempts), (Some(0.25), 1, 3));
        assert_eq!((took.prompt_tokens, took.completion_tokens), (Some(150), Some(7)));
        assert_eq!(took.latency, Some(Latency { p50: 10, p95: 40, max: 40 }));
        assert_eq!(took.sources, BTreeMap::from([("model".into(), 2), ("log".into(), 1)]));
        assert_eq!(took.models, BTreeMap::from([("m".into(), 1)]));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 95), percentile(&hundred, 100)), (50, 95, 100));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 95)), (7, 7));
        assert_eq!((percentile(&[1, 9], 50), percentile(&[1, 9], 95)), (1, 9));
    }
}
