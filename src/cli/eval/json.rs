//! The report of `baton eval` for scripts: one object, with every message's decision.

use serde_json::{Map, Value, json};

use super::Evaluation;
use super::ask::Decision;
use super::compare::{Both, Comparison};
use super::input::Labelled;
use super::score::{Scores, Took};
use super::text::excerpt;

/// How many characters of a message are repeated.
const EXCERPT: usize = 120;

/// The report of one pipeline.
pub fn report(file: &str, messages: &[Labelled], evaluation: &Evaluation) -> Value {
    let mut report = scores(&evaluation.name, &evaluation.scores);
    report.insert("file".into(), file.into());
    report.insert("decisions".into(), decisions(messages, &evaluation.decisions));
    Value::Object(report)
}

/// The report of the pipeline `after`, with `before` and the differences.
pub fn comparison(
    file: &str,
    messages: &[Labelled],
    before: &Evaluation,
    after: &Evaluation,
    compared: &Comparison,
) -> Value {
    let mut report = report(file, messages, after);
    let mut against = scores(&before.name, &before.scores);
    against.insert("decisions".into(), decisions(messages, &before.decisions));
    let agents = compared.agents.iter().map(
        |(agent, precision, recall)| json!({"agent": agent, "precision": both(*precision), "recall": both(*recall)}),
    );
    report["against"] = Value::Object(against);
    report["difference"] = json!({
        "accuracy": both(compared.accuracy),
        "agents": agents.collect::<Vec<_>>(),
        "cost": both(compared.cost),
        "latency_ms": {"p50": both(compared.p50), "p95": both(compared.p95)},
    });
    let changed = compared.changed.iter().map(|change| {
        let message = &messages[change.index];
        let [before, after] = [before, after].map(|evaluation| {
            let decision = &evaluation.decisions[change.index];
            json!({"agent": decision.agent, "status": decision.status, "confidence": decision.confidence})
        });
        json!({
            "line": message.line,
            "text": excerpt(&message.text, EXCERPT),
            "expected": message.expected,
            "before": before,
            "after": after,
            "change": change.turn.name().replace(' ', "_"),
        })
    });
    report["changed"] = changed.collect();
    report
}

fn scores(name: &str, scores: &Scores) -> Map<String, Value> {
    let agents = scores.agents.iter().map(|agent| {
        json!({
            "agent": agent.agent,
            "support": agent.support,
            "chosen": agent.chosen,
            "right": agent.right,
            "precision": agent.precision(),
            "recall": agent.recall(),
        })
    });
    let confusion = scores.agents.iter().zip(&scores.confusion).map(|(agent, counts)| {
        let chosen: Map<String, Value> =
            scores.agents.iter().zip(counts).map(|(chosen, n)| (chosen.agent.clone(), (*n).into())).collect();
        json!({"expected": agent.agent, "chosen": chosen, "no_answer": agent.unanswered})
    });
    let statuses = scores.statuses.iter().map(|status| {
        let example = status.example.as_ref().map(|(line, error)| json!({"line": line, "error": error}));
        json!({"status": status.status, "messages": status.messages, "example": example})
    });
    let thresholds = scores.thresholds.iter().map(|at| {
        json!({
            "threshold": at.threshold,
            "routed": at.routed,
            "coverage": at.coverage(),
            "precision": at.precision(),
            "accuracy": at.accuracy(),
        })
    });
    let Took { cost, without_cost, prompt_tokens, completion_tokens, attempts, latency, sources, models } =
        &scores.took;
    let fields = [
        ("pipeline", json!(name)),
        ("messages", json!(scores.messages)),
        ("right", json!(scores.right)),
        ("accuracy", json!(scores.accuracy())),
        ("no_answer", json!(scores.unanswered())),
        ("agents", agents.collect()),
        ("confusion", confusion.collect()),
        ("statuses", statuses.collect()),
        ("without_confidence", json!(scores.without_confidence)),
        ("thresholds", thresholds.collect()),
        ("cost", json!(cost)),
        ("without_cost", json!(without_cost)),
        ("prompt_tokens", json!(prompt_tokens)),
        ("completion_tokens", json!(completion_tokens)),
        ("attempts", json!(attempts)),
        ("latency_ms", json!(latency.map(|l| json!({"p50": l.p50, "p95": l.p95, "max": l.max})))),
        ("sources", json!(sources)),
        ("models", json!(models)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn decisions(messages: &[Labelled], decisions: &[Decision]) -> Value {
    let rows = messages.iter().zip(decisions).map(|(message, decision)| {
        json!({
            "line": message.line,
            "text": excerpt(&message.text, EXCERPT),
            "expected": message.expected,
            "right": decision.agent.as_ref() == Some(&message.expected),
            "agent": decision.agent,
            "status": decision.status,
            "confidence": decision.confidence,
            "error": decision.error,
            "attempts": decision.attempts,
            "prompt_tokens": decision.prompt_tokens,
            "completion_tokens": decision.completion_tokens,
            "cost": decision.cost,
            "latency_ms": decision.latency_ms,
            "model": decision.model,
            "source": decision.source,
        })
    });
    rows.collect()
}

fn both(both: Both) -> Value {
    json!({"before": both.before, "after": both.after, "difference": both.difference()})
}
