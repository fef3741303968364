//! Follows each workflow of the demo by the rows of the topics. Pure code, without I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::input::Published;
use crate::cli::output::count;

/// The outcome of a workflow whose next agent is a program elsewhere: the demo does not start it.
const WAITING: &str = "waiting";

/// How many characters of an agent's text are shown.
const SHOWN: usize = 60;

/// A row of a topic.
#[derive(Clone)]
pub struct Event {
    /// The topic.
    pub topic: String,
    /// When it was published, in milliseconds since 1970.
    pub timestamp: i64,
    /// The row.
    pub row: Value,
}

/// All workflows of the demo.
pub struct Story {
    workflows: Vec<Workflow>,
    /// By the key of the change event or the workflow's id.
    by_id: HashMap<String, usize>,
    /// Leads that have no workflow yet, by their e-mail or name, in the order of publication.
    waiting: Vec<usize>,
    deciders: BTreeMap<String, usize>,
    /// Rows of workflows whose first message has not been read yet, because topics are read in parallel.
    early: HashMap<String, Vec<Event>>,
    /// The topics of agents that are programs elsewhere.
    elsewhere: HashSet<String>,
}

struct Workflow {
    label: String,
    id: Option<String>,
    path: Vec<String>,
    hops: i64,
    outcome: Option<(String, String)>,
}

impl Story {
    /// A story in which nothing has happened yet. A workflow ends when it reaches a topic in `elsewhere`: nobody
    /// answers there.
    #[must_use]
    pub fn new(published: Vec<Published>, elsewhere: HashSet<String>) -> Self {
        let mut by_id = HashMap::new();
        let mut workflows = Vec::new();
        for (i, lead) in published.into_iter().enumerate() {
            by_id.insert(lead.place, i);
            by_id.insert(lead.workflow_id, i);
            workflows.push(Workflow { label: lead.label, id: None, path: Vec::new(), hops: 0, outcome: None });
        }
        let waiting = (0..workflows.len()).collect();
        Self { workflows, by_id, waiting, deciders: BTreeMap::new(), early: HashMap::new(), elsewhere }
    }

    /// Whether every workflow has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.unfinished() == 0
    }

    /// How many workflows have not ended.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.workflows.iter().filter(|w| w.outcome.is_none()).count()
    }

    /// Records a row. Returns the lines to show.
    pub fn tell(&mut self, event: &Event) -> Vec<String> {
        let row = &event.row;
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        let id = text("workflow_id");
        if event.topic == "agent_messages" && row["sender"] == "copy_leads" {
            self.begin(&id, row);
            let early = self.early.remove(&id).unwrap_or_default();
            return early.iter().flat_map(|event| self.tell(event)).collect();
        }
        // A lead that never became a message is identified by where it was published.
        let place = || format!("{}/{}/{}", text("topic"), row["partition"], row["offset_id"]);
        let known = self.by_id.get(&id).or_else(|| self.by_id.get(&place()));
        let Some(index) = known.copied() else {
            // A message that names no workflow has its place as the id of one.
            let lines = if event.topic == "dead_letters" && id == place() {
                vec![format!("{:<34} ■ dead_letters: {}", "a message of no workflow", text("error"))]
            } else {
                Vec::new()
            };
            self.early.entry(id).or_default().push(event.clone());
            return lines;
        };
        let mut lines = Vec::new();
        if self.workflows[index].id.is_none() && !id.is_empty() {
            self.workflows[index].id = Some(id.clone());
            self.by_id.insert(id.clone(), index);
        }
        lines.extend(self.show(index, event));
        for early in self.early.remove(&id).unwrap_or_default() {
            lines.extend(self.show(index, &early));
        }
        lines
    }

    /// Records a row of a known workflow. Returns the lines to show.
    fn show(&mut self, index: usize, event: &Event) -> Vec<String> {
        let row = &event.row;
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        let workflow = &mut self.workflows[index];
        if let Some(hop) = row["hop"].as_i64() {
            workflow.hops = workflow.hops.max(hop);
        }
        match event.topic.as_str() {
            "agent_messages" => {
                let mut said: String = text("context").chars().take(SHOWN).collect();
                if said.len() < text("context").len() {
                    said.push('…');
                }
                vec![format!("{:<34} {} says: {said}", workflow.label, text("sender"))]
            }
            "agent_predictions" => {
                let source = text("source");
                let model = text("model");
                let decider = if source == "offline" || model.is_empty() { source } else { model };
                *self.deciders.entry(decider.clone()).or_default() += 1;
                let agent = row["agent"].as_str().unwrap_or("no answer");
                let sure =
                    row["confidence"].as_f64().map_or_else(String::new, |c| format!(", {:.0} % sure", c * 100.0));
                if !matches!(agent, "NONE" | "no answer") {
                    workflow.path.push(agent.to_string());
                }
                let hop = row["hop"].as_i64().unwrap_or(0);
                let mut lines = vec![format!("{:<34} hop {hop:<2} → {agent}  ({decider}{sure})", workflow.label)];
                if self.elsewhere.contains(&text("destination")) {
                    let why = format!("{agent} is a program elsewhere");
                    lines.push(format!("{:<34} ■ {WAITING}: {why}", workflow.label));
                    workflow.outcome = Some((WAITING.into(), why));
                }
                lines
            }
            "completed" | "unrouted" | "halted" | "dead_letters" if workflow.outcome.is_none() => {
                let why =
                    ["reason", "error", "status"].iter().map(|k| text(k)).find(|t| !t.is_empty()).unwrap_or_default();
                // A decision for no agent is not a step of the path.
                let shown =
                    if event.topic == "completed" || why.is_empty() { String::new() } else { format!(": {why}") };
                workflow.outcome = Some((event.topic.clone(), why));
                // A later message must not be matched to a lead that has ended.
                self.waiting.retain(|waiting| *waiting != index);
                vec![format!("{:<34} ■ {}{shown}", workflow.label, event.topic)]
            }
            _ => Vec::new(),
        }
    }

    /// Matches a workflow to its lead by the workflow's first message.
    fn begin(&mut self, id: &str, row: &Value) {
        if self.by_id.contains_key(id) {
            return;
        }
        let names = [row["lead_data"]["email"].as_str(), row["lead_data"]["name"].as_str()];
        let found = self.waiting.iter().position(|i| {
            let label = self.workflows[*i].label.trim();
            names.iter().flatten().any(|n| n.trim() == label)
        });
        // A message without e-mail and name is matched to the first lead without them.
        let found = found.or_else(|| self.waiting.iter().position(|i| self.workflows[*i].label.starts_with("lead ")));
        if let Some(at) = found {
            let index = self.waiting.remove(at);
            self.workflows[index].id = Some(id.to_string());
            self.by_id.insert(id.to_string(), index);
        }
    }

    /// One JSON object for each workflow, in the order of the file.
    pub fn workflows(&self) -> impl Iterator<Item = Value> {
        self.workflows.iter().map(|w| {
            json!({
                "workflow_id": w.id,
                "outcome": w.outcome.as_ref().map(|(topic, _)| topic),
                "path": w.path,
                "hops": w.hops,
                "lead": w.label,
            })
        })
    }

    /// The summary at the end, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = String::from("\n");
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for workflow in &self.workflows {
            let outcome = workflow.outcome.as_ref().map_or("unfinished", |(topic, _)| topic);
            *outcomes.entry(outcome).or_default() += 1;
            let path: Vec<String> = workflow.path.chunk_by(|a, b| a == b).map(steps).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:<34} {:<13} {}", workflow.label, outcome, path.join(" → "));
        }
        let each = |counts: &BTreeMap<&str, usize>| {
            counts.iter().map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(", ")
        };
        let deciders: BTreeMap<&str, usize> = self.deciders.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        let _ = writeln!(out, "\n{}: {}.", count(self.workflows.len(), "workflow"), each(&outcomes));
        if !deciders.is_empty() {
            let _ = writeln!(out, "Decisions by: {}.", each(&deciders));
        }
        let _ = writeln!(
            out,
            "Nothing is kept: the broker lived in this process. For your own Kafka and model see README.md."
        );
        out
    }
}

/// One agent's steps in a row: `Send Email`, `Lead Scoring (3 times)`.
fn steps(agents: &[String]) -> String {
    let agent = agents.first().map_or("", String::as_str);
    let name = agent.strip_suffix(" Agent").unwrap_or(agent);
    if agents.len() == 1 { name.into() } else { format!("{name} ({} times)", agents.len()) }
}
