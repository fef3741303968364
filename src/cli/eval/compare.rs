//! Compares two pipelines on the same messages: their numbers, and which messages changed.

use super::ask::Decision;
use super::input::Labelled;
use super::score::{AgentScore, Latency, Scores};

/// A number of both pipelines; `None` where it is not defined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Both {
    /// Of the pipeline that is compared with.
    pub before: Option<f64>,
    /// Of the pipeline that is evaluated.
    pub after: Option<f64>,
}

impl Both {
    fn new(before: impl Into<Option<f64>>, after: impl Into<Option<f64>>) -> Self {
        Self { before: before.into(), after: after.into() }
    }

    /// How much it grew.
    pub fn difference(self) -> Option<f64> {
        Some(self.after? - self.before?)
    }
}

/// What differs between two evaluations of the same messages.
#[derive(Debug, PartialEq)]
pub struct Comparison {
    /// The share of right decisions.
    pub accuracy: Both,
    /// For each agent of either: its name, precision and recall.
    pub agents: Vec<(String, Both, Both)>,
    /// The cost of all messages, when it is known for each of them.
    pub cost: Both,
    /// The median latency, in milliseconds.
    pub p50: Both,
    /// The 95th percentile of the latency, in milliseconds.
    pub p95: Both,
    /// Messages with another outcome, in the order of the file.
    pub changed: Vec<Change>,
}

/// How a changed message compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Wrong before, right now.
    Better,
    /// Right before, wrong now.
    Worse,
    /// Wrong before and now.
    StillWrong,
}

impl Turn {
    /// The word that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::StillWrong => "still wrong",
        }
    }
}

/// A message whose decision differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its index among the messages.
    pub index: usize,
    /// How it compares.
    pub turn: Turn,
}

impl Comparison {
    /// Compares two evaluations.
    pub fn of(
        messages: &[Labelled],
        (scores_before, before): (&Scores, &[Decision]),
        (scores_after, after): (&Scores, &[Decision]),
    ) -> Self {
        let agent = |scores: &Scores, name: &str| {
            let found = scores.agents.iter().find(|a| a.agent == name);
            (found.and_then(AgentScore::precision), found.and_then(AgentScore::recall))
        };
        let names = scores_after.agents.iter().map(|a| a.agent.clone());
        let agents = names.map(|name| {
            let (precision_before, recall_before) = agent(scores_before, &name);
            let (precision, recall) = agent(scores_after, &name);
            (name, Both::new(precision_before, precision), Both::new(recall_before, recall))
        });
        let latency = |scores: &Scores, of: fn(&Latency) -> u64| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a call")]
            scores.took.latency.as_ref().map(|latency| of(latency) as f64)
        };
        Self {
            accuracy: Both::new(scores_before.accuracy(), scores_after.accuracy()),
            agents: agents.collect(),
            cost: Both::new(whole_cost(scores_before), whole_cost(scores_after)),
            p50: Both::new(latency(scores_before, |l| l.p50), latency(scores_after, |l| l.p50)),
            p95: Both::new(latency(scores_before, |l| l.p95), latency(scores_after, |l| l.p95)),
            changed: changes(messages, before, after),
        }
    }

    /// How many messages changed like this.
    pub fn count(&self, turn: Turn) -> usize {
        self.changed.iter().filter(|change| change.turn == turn).count()
    }
}

/// The cost, when it is known for all messages: a part of it cannot be compared.
fn whole_cost(scores: &Scores) -> Option<f64> {
    scores.took.cost.filter(|_| scores.took.without_cost == 0)
}

fn changes(messages: &[Labelled], before: &[Decision], after: &[Decision]) -> Vec<Change> {
    let rows = messages.iter().zip(before.iter().zip(after)).enumerate();
    let changed = rows.filter(|(_, (_, (before, after)))| before.agent != after.agent);
    changed
        .map(|(index, (message, (before, after)))| {
            let is_right = |decision: &Decision| decision.agent.as_ref() == Some(&message.expected);
            let turn = match (is_right(before), is_right(after)) {
                (_, true) => Turn::Better,
                (true, false) => Turn::Worse,
                (false, false) => Turn::StillWrong,
            };
            Change { index, turn }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(agents: &[&str], cost: Option<f64>) -> Vec<Decision> {
        let decision = |agent: &&str| Decision {
            agent: Some(agent.to_string()).filter(|a| !a.is_empty()),
            status: if agent.is_empty() { "timeout".into() } else { "ok".into() },
            cost,
            attempts: Some(1),
            latency_ms: Some(if cost.is_some() { 10 } else { 30 }),
            ..Decision::default()
        };
        agents.iter().map(decision).collect()
    }

    #[test]
    fn differences_and_turns_by_hand() {
        let expected = ["A", "A", "B", "NONE", "B"];
        let messages: Vec<Labelled> = expected
            .iter()
            .enumerate()
            .map(|(i, e)| Labelled { line: i + 1, text: "t".into(), expected: (*e).into() })
            .collect();
        let names = ["A".to_string(), "B".to_string()];
        let before = decisions(&["A", "B", "A", "NONE", ""], Some(0.5));
        let after = decisions(&["A", "A", "NONE", "A", ""], None);
        let (of_before, of_after) = (Scores::of(&messages, &before, &names), Scores::of(&messages, &after, &names));
        let compared = Comparison::of(&messages, (&of_before, &before), (&of_after, &after));
        assert_eq!((compared.accuracy.before, compared.accuracy.after), (Some(0.4), Some(0.4)));
        assert_eq!(compared.accuracy.difference(), Some(0.0));
        assert_eq!(compared.agents[0], ("A".into(), Both::new(0.5, 2.0 / 3.0), Both::new(0.5, 1.0)));
        assert_eq!(compared.agents[1], ("B".into(), Both::new(0.0, None), Both::new(0.0, 0.0)));
        assert_eq!(compared.agents[1].1.difference(), None);
        assert_eq!(compared.cost, Both::new(2.5, None));
        assert_eq!(compared.p95.difference(), Some(20.0));
        let turns: Vec<_> = compared.changed.iter().map(|c| (c.index, c.turn)).collect();
        assert_eq!(turns, [(1, Turn::Better), (2, Turn::StillWrong), (3, Turn::Worse)]);
        assert_eq!(compared.count(Turn::Better), 1);
    }
}
