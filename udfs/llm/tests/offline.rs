//! How often the offline method is right, on four catalogues that it has no knowledge of.
//!
//! The sets were written before the method was tuned. Each second line of `<set>.jsonl`, from the first on, was set
//! aside: nobody looked at what the method makes of them, and the numbers in the README are theirs. The other lines, and
//! those of `<set>.tuning.jsonl`, were tuned on. An expected
//! NONE is right when the choice is NONE or its confidence is below 0.5, which is what the reference pipeline does.
//!
//! On the labelled messages of the reference system (evals/) the half that may be tuned on is measured too; the other half is
//! measured by `baton eval`.
//!
//! `cargo test --release --test offline -- --nocapture` prints the misses of the lines that were tuned on.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says where")]

use baton_llm::{Llm, Source, Status};
use serde_json::{Value, json};

/// A catalogue, its messages of which half is set aside, and more that were only tuned on.
const SETS: &[(&str, &str, &str, &str)] = &[
    (
        "sales",
        include_str!("sets/sales.agents.json"),
        include_str!("sets/sales.jsonl"),
        include_str!("sets/sales.tuning.jsonl"),
    ),
    (
        "support",
        include_str!("sets/support.agents.json"),
        include_str!("sets/support.jsonl"),
        include_str!("sets/support.tuning.jsonl"),
    ),
    ("hr", include_str!("sets/hr.agents.json"), include_str!("sets/hr.jsonl"), include_str!("sets/hr.tuning.jsonl")),
    (
        "incidents",
        include_str!("sets/incidents.agents.json"),
        include_str!("sets/incidents.jsonl"),
        include_str!("sets/incidents.tuning.jsonl"),
    ),
];

/// The reference system: its agents as they are, and the half of its labelled messages that may be tuned on.
const REFERENCE_AGENTS: &str = include_str!("../../../sql/agents.sql");
const REFERENCE_TUNING: &str = include_str!("../../../evals/route_messages.tuning.jsonl");

/// The rows of sql/agents.sql as the pipelines hand them over: name, description, input, output of each agent, which are
/// the only texts in quotation marks there.
fn reference_agents() -> String {
    let (_, rows) = REFERENCE_AGENTS.split_once("VALUES").unwrap();
    let texts: Vec<&str> = rows.split('\'').skip(1).step_by(2).collect();
    assert_eq!(texts.len(), 5 * 4, "sql/agents.sql is written in another way: read it here as it is now");
    let agent = |texts: &[&str]| json!({"name": texts[0], "description": texts[1], "input": texts[2]});
    Value::Array(texts.chunks(4).map(agent).collect()).to_string()
}

#[derive(Default)]
struct Tally {
    right: usize,
    routed_right: usize,
    routed: usize,
    all: usize,
}

impl Tally {
    fn accuracy(&self) -> f64 {
        self.right as f64 / self.all as f64
    }

    /// Of the rows that went to an agent, how many went to the right one.
    fn precision(&self) -> f64 {
        self.routed_right as f64 / self.routed.max(1) as f64
    }
}

async fn tally<'a>(set: &str, agents: &str, lines: impl Iterator<Item = &'a str>, held: bool) -> Tally {
    let llm = Llm::from_lookup(|_| None);
    let mut tally = Tally::default();
    for line in lines {
        let row: Value = serde_json::from_str(line).unwrap();
        let (text, expected) = (row["text"].as_str().unwrap(), row["expected"].as_str().unwrap());
        let result = llm.classify(Some(text), Some(agents), None).await;
        assert_eq!((result.status, result.facts.source), (Status::Ok, Some(Source::Offline)), "{:?}", result.error);
        let confidence = result.confidence.unwrap();
        assert!((0.0..=1.0).contains(&confidence));
        let named = result.agent.unwrap();
        let chosen = if confidence < 0.5 { "NONE" } else { named.as_str() };
        tally.all += 1;
        tally.right += usize::from(chosen == expected);
        if chosen != "NONE" {
            tally.routed += 1;
            tally.routed_right += usize::from(chosen == expected);
        }
        if chosen != expected && !held {
            println!("  {set}: {expected} <- {named} {confidence}: {}", text.chars().take(110).collect::<String>());
        }
    }
    tally
}

#[tokio::test]
async fn accuracy_on_catalogues_that_it_has_not_seen() {
    let mut sums = [Tally::default(), Tally::default()];
    for (set, agents, lines, tuning) in SETS {
        for (held, sum) in [false, true].into_iter().zip(&mut sums) {
            let half = lines.lines().skip(usize::from(!held)).step_by(2);
            let more = if held { "" } else { tuning };
            let part = tally(set, agents, half.chain(more.lines()), held).await;
            println!(
                "{set}, {}: accuracy {:.3}, precision {:.3} ({} lines)",
                if held { "set aside" } else { "tuned on" },
                part.accuracy(),
                part.precision(),
                part.all
            );
            sum.right += part.right;
            sum.routed += part.routed;
            sum.routed_right += part.routed_right;
            sum.all += part.all;
        }
    }
    println!("tuned on: accuracy {:.3}, precision {:.3}", sums[0].accuracy(), sums[0].precision());
    println!("set aside: accuracy {:.3}, precision {:.3}", sums[1].accuracy(), sums[1].precision());
    assert!(sums.iter().all(|sum| sum.all > 100), "the sets are not whole");
    assert!(sums[0].accuracy() >= 0.9 && sums[0].precision() >= 0.9, "worse than when it was tuned");
    assert!(sums[1].accuracy() >= 0.85 && sums[1].precision() >= 0.92, "worse than the README says");
}

#[tokio::test]
async fn accuracy_on_the_reference_system() {
    let agents = reference_agents();
    let tally = tally("reference", &agents, REFERENCE_TUNING.lines(), false).await;
    println!("reference, tuned on: accuracy {:.3}, precision {:.3}", tally.accuracy(), tally.precision());
    assert!(tally.all > 100, "the set is not whole");
    assert!(tally.accuracy() >= 0.88 && tally.precision() >= 0.88, "worse than when it was tuned");
}
