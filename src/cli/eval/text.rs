//! The report of `baton eval` for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Evaluation;
use super::ask::Decision;
use super::compare::{Both, Comparison, Turn};
use super::input::{Labelled, NONE};
use super::score::{Scores, Took};
use crate::cli::output::count;

/// How many wrong decisions are listed; `--format json` has all.
const LISTED: usize = 20;

/// How many characters of a message are shown.
const EXCERPT: usize = 72;

/// Shown for what cannot be computed.
const NOTHING: &str = "-";

/// The whole report of one pipeline.
pub fn report(file: &str, messages: &[Labelled], evaluation: &Evaluation) -> String {
    let Evaluation { name, scores, decisions } = evaluation;
    let mut out = Report::default();
    out.line(&format!("{name}: {} of {file}", count(scores.messages, "message")));
    out.summary(scores);
    out.agents(scores);
    out.confusion(scores);
    out.thresholds(scores);
    out.failures(scores);
    out.wrong(messages, decisions);
    out.took(&scores.took);
    out.text
}

/// The report of two pipelines on the same messages.
pub fn comparison(
    file: &str,
    messages: &[Labelled],
    before: &Evaluation,
    after: &Evaluation,
    compared: &Comparison,
) -> String {
    let mut out = report(file, messages, after);
    let mut more = Report::default();
    more.line(&format!("before: {}; after: {}", before.name, after.name));
    more.differences(before, after, compared);
    more.changed(messages, before, after, compared);
    out.push('\n');
    out.push_str(&more.text);
    out
}

#[derive(Default)]
struct Report {
    text: String,
}

impl Report {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A table whose first column is aligned left and whose other columns are aligned right.
    fn table(&mut self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.line("");
        for row in rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a String cannot fail.
                let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            }
            self.line(&line);
        }
    }

    fn summary(&mut self, scores: &Scores) {
        self.line("");
        self.line(&format!(
            "accuracy {} ({} right of {})",
            share(Some(scores.accuracy())),
            scores.right,
            scores.messages
        ));
        if scores.unanswered() > 0 {
            self.line(&format!("{} without an answer, counted as wrong", count(scores.unanswered(), "message")));
        }
    }

    fn agents(&mut self, scores: &Scores) {
        let mut rows = vec![header(&["", "support", "chosen", "precision", "recall"])];
        for (i, agent) in scores.agents.iter().enumerate() {
            let numbers = [agent.support.to_string(), agent.chosen.to_string()];
            let shares = [share(agent.precision()), share(agent.recall())];
            rows.push([numbered(i, &agent.agent)].into_iter().chain(numbers).chain(shares).collect());
        }
        self.table(&rows);
    }

    fn confusion(&mut self, scores: &Scores) {
        let mut first = vec!["expected \\ chosen".to_string()];
        first.extend(scores.agents.iter().enumerate().map(|(i, agent)| short(i, &agent.agent)));
        first.push("no answer".into());
        let mut rows = vec![first];
        for (i, (agent, counts)) in scores.agents.iter().zip(&scores.confusion).enumerate() {
            let counts = counts.iter().chain([&agent.unanswered]);
            rows.push([numbered(i, &agent.agent)].into_iter().chain(counts.map(|n| dot(*n))).collect());
        }
        self.table(&rows);
    }

    fn thresholds(&mut self, scores: &Scores) {
        let answered = scores.messages - scores.unanswered();
        if scores.without_confidence == answered {
            self.line("");
            self.line("No decision has a confidence, so a threshold changes nothing.");
            return;
        }
        let mut rows = vec![header(&["least confidence", "routed", "coverage", "precision", "accuracy"])];
        for at in &scores.thresholds {
            let shares = [share(Some(at.coverage())), share(at.precision()), share(Some(at.accuracy()))];
            rows.push([format!("{:.2}", at.threshold), at.routed.to_string()].into_iter().chain(shares).collect());
        }
        self.table(&rows);
        self.line("");
        self.line(
            "A decision below the least confidence counts as NONE. Coverage: the share of messages that go to an agent;",
        );
        self.line("precision: the share of these that go to the right one; accuracy: the share of all that end where they should.");
        if scores.without_confidence > 0 {
            let decisions = count(scores.without_confidence, "decision");
            self.line(&format!("{decisions} without a confidence: followed at every threshold."));
        }
    }

    fn failures(&mut self, scores: &Scores) {
        for status in &scores.statuses {
            if let Some((line, error)) = &status.example {
                self.line("");
                self.line(&format!("{}: {}, such as line {line}:", status.status, count(status.messages, "message")));
                self.line(&format!("  {}", excerpt(error, 4 * EXCERPT)));
            }
        }
    }

    fn wrong(&mut self, messages: &[Labelled], decisions: &[Decision]) {
        let wrong: Vec<_> = messages
            .iter()
            .zip(decisions)
            .filter(|(m, d)| d.agent.as_ref().is_some_and(|a| *a != m.expected))
            .collect();
        if wrong.is_empty() {
            return;
        }
        self.line("");
        self.line("Wrong decisions:");
        for (message, decision) in wrong.iter().take(LISTED) {
            let confidence = decision.confidence.map_or_else(String::new, |c| format!(" ({c:.2})"));
            let chosen = outcome(decision);
            self.line(&format!("  line {}: {}, chosen {chosen}{confidence}", message.line, message.expected));
            self.line(&format!("    {}", excerpt(&message.text, EXCERPT)));
        }
        if wrong.len() > LISTED {
            self.line(&format!("  and {} more: --format json has all", wrong.len() - LISTED));
        }
    }

    fn took(&mut self, took: &Took) {
        self.line("");
        let unpriced = match (took.cost, took.without_cost) {
            (_, 0) => String::new(),
            (None, _) => " (no price is set)".into(),
            (Some(_), some) => format!(" without {} of an unknown price", count(some, "message")),
        };
        self.line(&format!("cost {}{unpriced}", money(took.cost)));
        let tokens = |number: Option<u64>| number.map_or_else(|| NOTHING.into(), |n| n.to_string());
        self.line(&format!(
            "tokens {} read, {} written; {}",
            tokens(took.prompt_tokens),
            tokens(took.completion_tokens),
            count(usize::try_from(took.attempts).unwrap_or(usize::MAX), "HTTP call")
        ));
        if let Some(latency) = took.latency {
            let [p50, p95, max] = [latency.p50, latency.p95, latency.max];
            self.line(&format!("latency p50 {p50} ms, p95 {p95} ms, max {max} ms"));
        }
        for (what, counts) in [("answers from", &took.sources), ("models", &took.models)] {
            if !counts.is_empty() {
                self.line(&format!("{what} {}", listed(counts)));
            }
        }
        if took.sources.contains_key("log") {
            self.line("answers from the decision log cost nothing and took no time in this run");
        }
    }

    fn differences(&mut self, before: &Evaluation, after: &Evaluation, compared: &Comparison) {
        let row = |name: &str, both: Both, shown: fn(Option<f64>) -> String| {
            let difference = both.difference().map_or_else(|| NOTHING.into(), |d| signed(d, shown));
            vec![name.to_string(), shown(both.before), shown(both.after), difference]
        };
        let mut rows = vec![header(&["", "before", "after", "difference"])];
        rows.push(row("accuracy", compared.accuracy, share));
        for (agent, precision, recall) in &compared.agents {
            rows.push(row(&format!("{agent}, precision"), *precision, share));
            rows.push(row(&format!("{agent}, recall"), *recall, share));
        }
        rows.push(row("cost", compared.cost, money));
        rows.push(row("latency p50, ms", compared.p50, whole));
        rows.push(row("latency p95, ms", compared.p95, whole));
        let unanswered = [before, after].map(|e| e.scores.unanswered());
        if unanswered != [0, 0] {
            let [before, after] = unanswered.map(|n| n.to_string());
            rows.push(vec!["without an answer".into(), before, after, String::new()]);
        }
        self.table(&rows);
    }

    fn changed(&mut self, messages: &[Labelled], before: &Evaluation, after: &Evaluation, compared: &Comparison) {
        self.line("");
        let [better, worse, still] = [Turn::Better, Turn::Worse, Turn::StillWrong].map(|turn| compared.count(turn));
        let changed = count(compared.changed.len(), "message");
        self.line(&format!("{changed} changed: {better} better, {worse} worse, {still} wrong before and after"));
        for change in &compared.changed {
            let message = &messages[change.index];
            let (old, new) = (outcome(&before.decisions[change.index]), outcome(&after.decisions[change.index]));
            let turn = change.turn.name();
            self.line(&format!("  line {} {turn}: {old} → {new}, expected {}", message.line, message.expected));
            self.line(&format!("    {}", excerpt(&message.text, EXCERPT)));
        }
    }
}

/// The outcome of a message.
fn outcome(decision: &Decision) -> String {
    decision.agent.clone().unwrap_or_else(|| format!("no answer ({})", decision.status))
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// An agent in the rows of a table.
fn numbered(index: usize, agent: &str) -> String {
    if agent == NONE { format!("   {NONE}") } else { format!("{:>2} {agent}", index + 1) }
}

/// Its short form, for the head of a column.
fn short(index: usize, agent: &str) -> String {
    if agent == NONE { NONE.into() } else { (index + 1).to_string() }
}

fn dot(number: usize) -> String {
    if number == 0 { ".".into() } else { number.to_string() }
}

fn listed(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(name, number)| format!("{name} ({number})")).collect::<Vec<_>>().join(", ")
}

fn share(number: Option<f64>) -> String {
    number.map_or_else(|| NOTHING.into(), |n| format!("{n:.3}"))
}

fn whole(number: Option<f64>) -> String {
    number.map_or_else(|| NOTHING.into(), |n| format!("{n:.0}"))
}

/// Prices of single calls are small, so small amounts get more digits.
fn money(number: Option<f64>) -> String {
    match number {
        None => "unknown".into(),
        Some(n) if n != 0.0 && n.abs() < 0.1 => format!("{n:.6}"),
        Some(n) => format!("{n:.4}"),
    }
}

fn signed(number: f64, shown: fn(Option<f64>) -> String) -> String {
    let text = shown(Some(number.abs()));
    // A number that is shown as zero has no sign.
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if is_zero {
        ""
    } else if number < 0.0 {
        "-"
    } else {
        "+"
    };
    format!("{sign}{text}")
}

/// The first `limit` characters of a text, on one line.
pub(super) fn excerpt(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(rows: &[(&str, &str, Option<f64>)]) -> (Vec<Labelled>, Evaluation) {
        let message = |(i, (expected, agent, _)): (usize, &(&str, &str, _))| Labelled {
            line: i + 2,
            text: format!("A message\n\tthat {agent} \u{1b}[31m would take, of {} words", "many ".repeat(20)),
            expected: (*expected).into(),
        };
        let decision = |(i, (_, agent, confidence)): (usize, &(&str, &str, Option<f64>))| Decision {
            agent: Some((*agent).to_string()),
            status: "ok".into(),
            confidence: *confidence,
            attempts: Some(u64::from(i > 0)),
            prompt_tokens: Some(100),
            cost: (i != 1).then_some(if i == 0 { 0.0 } else { 0.000_125 }),
            latency_ms: Some(7),
            source: Some(if i == 0 { "log".into() } else { "model".into() }),
            model: Some("m".into()),
            ..Decision::default()
        };
        let messages: Vec<Labelled> = rows.iter().enumerate().map(message).collect();
        let decisions: Vec<Decision> = rows.iter().enumerate().map(decision).collect();
        let scores = Scores::of(&messages, &decisions, &["Ada".to_string(), "Ben".to_string()]);
        (messages, Evaluation { name: "route".into(), scores, decisions })
    }

    #[test]
    fn the_report_has_thresholds_and_says_what_is_not_known() {
        let (messages, evaluation) = evaluation(&[
            ("Ada", "Ada", Some(0.97)),
            ("Ada", "Ben", Some(0.45)),
            ("Ben", "Ben", None),
            ("NONE", "NONE", Some(0.5)),
        ]);
        insta::assert_snapshot!(report("labelled.csv", &messages, &evaluation), @r"
        route: 4 messages of labelled.csv

        accuracy 0.750 (3 right of 4)

                 support  chosen  precision  recall
         1 Ada         2       1      1.000   0.500
         2 Ben         1       2      0.500   1.000
           NONE        1       1      1.000   1.000

        expected \ chosen  1  2  NONE  no answer
         1 Ada             1  1     .          .
         2 Ben             .  1     .          .
           NONE            .  .     1          .

        least confidence  routed  coverage  precision  accuracy
        0.00                   3     0.750      0.667     0.750
        0.10                   3     0.750      0.667     0.750
        0.20                   3     0.750      0.667     0.750
        0.30                   3     0.750      0.667     0.750
        0.40                   3     0.750      0.667     0.750
        0.50                   2     0.500      1.000     0.750
        0.60                   2     0.500      1.000     0.750
        0.70                   2     0.500      1.000     0.750
        0.80                   2     0.500      1.000     0.750
        0.90                   2     0.500      1.000     0.750
        0.95                   2     0.500      1.000     0.750
        0.99                   1     0.250      1.000     0.500

        A decision below the least confidence counts as NONE. Coverage: the share of messages that go to an agent;
        precision: the share of these that go to the right one; accuracy: the share of all that end where they should.
        1 decision without a confidence: followed at every threshold.

        Wrong decisions:
          line 3: Ada, chosen Ben (0.45)
            A message that Ben [31m would take, of many many many many many many man…

        cost 0.000250 without 1 message of an unknown price
        tokens 400 read, - written; 3 HTTP calls
        latency p50 7 ms, p95 7 ms, max 7 ms
        answers from log (1), model (3)
        models m (4)
        answers from the decision log cost nothing and took no time in this run
        ");
    }

    #[test]
    fn wrong_decisions_are_listed_up_to_a_number() {
        let (messages, evaluation) = evaluation(&[("Ada", "Ben", None); 25]);
        let report = report("labelled.csv", &messages, &evaluation);
        assert_eq!(report.matches("Ada, chosen Ben").count(), LISTED);
        assert!(report.contains("  and 5 more: --format json has all\n"), "{report}");
    }

    #[test]
    fn differences_have_signs_when_there_is_something_to_see() {
        let shown = |number| signed(number, share);
        assert_eq!([shown(0.25), shown(-0.25), shown(0.0001), shown(-0.0001)], ["+0.250", "-0.250", "0.000", "0.000"]);
        assert_eq!(
            [money(None), money(Some(0.0)), money(Some(0.000_1)), money(Some(12.5))],
            ["unknown", "0.0000", "0.000100", "12.5000"]
        );
        assert_eq!(excerpt(" a\n\u{1b}[1m  \u{fc}b ", 5), "a [1m…");
    }
}
