//! What comes out: figures of both sides, each beside its goal, as text and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// One thing that was measured.
#[derive(Debug, Clone)]
pub struct Figure {
    /// For programs: `throughput_200.rate`.
    pub key: &'static str,
    /// For people.
    pub what: &'static str,
    pub unit: &'static str,
    /// The median over the runs of Baton, of the yardstick, and which runs there were.
    pub baton: Option<f64>,
    pub bare: Option<f64>,
    pub runs: (Vec<f64>, Vec<f64>),
    pub goals: Vec<Goal>,
}

/// What a figure should be.
#[derive(Debug, Clone)]
pub struct Goal {
    pub text: String,
    pub met: bool,
}

/// All figures of a run of the benchmark.
#[derive(Debug, Default)]
pub struct Report {
    pub machine: Vec<(&'static str, String)>,
    pub figures: Vec<Figure>,
    /// What is to be known beside the figures.
    pub remarks: Vec<String>,
}

impl Figure {
    pub fn new(key: &'static str, what: &'static str, unit: &'static str, runs: (Vec<f64>, Vec<f64>)) -> Self {
        Self { key, what, unit, baton: median(&runs.0), bare: median(&runs.1), runs, goals: Vec::new() }
    }

    /// A goal for Baton alone.
    pub fn at_least(self, least: f64) -> Self {
        let met = self.baton.map(|value| value >= least);
        let text = format!("at least {}", number(least));
        self.goal(text, met)
    }

    /// A goal for Baton alone.
    pub fn at_most(self, most: f64) -> Self {
        let met = self.baton.map(|value| value <= most);
        let text = format!("at most {}", number(most));
        self.goal(text, met)
    }

    /// A goal for the yardstick.
    pub fn bare_at_least(self, least: f64) -> Self {
        let met = self.bare.map(|value| value >= least);
        let text = format!("yardstick at least {}", number(least));
        self.goal(text, met)
    }

    /// A goal for the ratio of the two.
    pub fn times_bare_at_least(self, least: f64) -> Self {
        let ratio = self.ratio();
        let shown = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.3})"));
        self.goal(format!("at least {least} × yardstick{shown}"), ratio.map(|ratio| ratio >= least))
    }

    /// The same, the other way round.
    pub fn times_bare_at_most(self, most: f64) -> Self {
        let ratio = self.ratio();
        let shown = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
        self.goal(format!("at most {most} × yardstick{shown}"), ratio.map(|ratio| ratio <= most))
    }

    /// A goal for the difference of the two.
    pub fn over_bare_at_most(self, most: f64) -> Self {
        let over = self.baton.zip(self.bare).map(|(baton, bare)| baton - bare);
        let shown = over.map_or(String::new(), |over| format!(" ({over:+.2})"));
        self.goal(format!("at most yardstick + {most}{shown}"), over.map(|over| over <= most))
    }

    fn ratio(&self) -> Option<f64> {
        self.baton.zip(self.bare).map(|(baton, bare)| baton / bare)
    }

    /// A side that was not measured has neither met nor missed its goal.
    fn goal(mut self, text: String, met: Option<bool>) -> Self {
        self.goals.extend(met.map(|met| Goal { text, met }));
        self
    }
}

impl Report {
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (what, value) in &self.machine {
            let _ = writeln!(text, "{what:<12} {value}");
        }
        let _ = writeln!(text, "\n{:<44} {:>10} {:>10}  {:<6} goal", "", "Baton", "yardstick", "");
        for figure in &self.figures {
            let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
            let (baton, bare) = (shown(figure.baton), shown(figure.bare));
            let _ = write!(text, "{:<44} {baton:>10} {bare:>10}  {:<6}", figure.what, figure.unit);
            for (index, goal) in figure.goals.iter().enumerate() {
                let word = if goal.met { "met" } else { "MISSED" };
                let _ = write!(text, "{} {}: {word}", if index > 0 { ";" } else { "" }, goal.text);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "\n{remark}");
        }
        text
    }

    pub fn json(&self) -> String {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let goals: Vec<Value> =
                    figure.goals.iter().map(|goal| json!({ "goal": goal.text, "met": goal.met })).collect();
                json!({
                    "figure": figure.key, "what": figure.what, "unit": figure.unit, "baton": figure.baton,
                    "yardstick": figure.bare, "runs": { "baton": figure.runs.0, "yardstick": figure.runs.1 },
                    "goals": goals,
                })
            })
            .collect();
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(what, value)| ((*what).to_owned(), value.clone().into())).collect();
        format!("{:#}\n", json!({ "machine": machine, "figures": figures, "remarks": self.remarks }))
    }
}

/// The middle one, or the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Three digits at least, whole when it is large.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let whole = format!("{value:.0}");
            // A space before the last three digits; nothing here has more than six.
            let (head, tail) = whole.split_at(whole.len() - 3);
            format!("{head} {tail}")
        }
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What the figures were measured on.
pub fn machine() -> Vec<(&'static str, String)> {
    let told = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Some(text.lines().next()?.trim().to_owned())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    vec![
        ("date", told("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_default()),
        ("processor", format!("{cores} cores, {}", model.map_or("unknown", |(_, name)| name))),
        ("system", told("uname", &["-sr"]).unwrap_or_default()),
        ("compiler", told("rustc", &["--version"]).unwrap_or_default()),
        ("java", told("java", &["-version"]).unwrap_or_default()),
        ("load before", load.join(" ")),
    ]
}
