//! The demo's input: messages and leads from files, published as their senders publish them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::cli::output::Failed;
use crate::diag::{Code, Diagnostic, SourceText, Span};
use crate::sql::catalogue::Project;
use crate::udf::hex_digest;

/// Where MongoDB's connector publishes leads.
const LEADS: &str = "incoming-leads.stratusdb.leads";
/// Where anyone publishes messages.
const MESSAGES: &str = "agent_messages";
/// How many characters of a message its label has.
const LABEL: usize = 34;

/// A line of the input.
pub struct Input {
    topic: &'static str,
    /// What is published.
    payload: Vec<u8>,
    /// Its name on the screen: a lead's e-mail, or the first words of a message.
    pub label: String,
    /// Whether a workflow begins with it. Changes other than inserts end in `copy_leads`.
    begins: bool,
    /// The workflow that a message names.
    workflow_id: Option<String>,
    /// Where the line stands.
    span: Span,
}

/// An input that has been published, and where.
pub struct Published {
    /// Its name on the screen.
    pub label: String,
    /// `topic/partition/offset`, where it was published.
    pub place: String,
    /// The workflow's id: the one that the message names, or the one that `open_message` makes of its place.
    pub workflow_id: String,
}

/// The files that a project's demo reads by default.
pub fn files(project: &Project) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project.root.join("demo")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    files
}

/// Reads files with one JSON object on each line. An object with `context` is a message, one with `operationType` is a
/// change event, and any other is a lead. A line that is not JSON is published as a lead, and so ends in
/// `dead_letters`.
///
/// # Errors
/// When a file cannot be read, or no file has a line.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Input>, Failed> {
    let mut inputs = Vec::new();
    for path in paths {
        read_file(path, &mut inputs)?;
    }
    if inputs.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| format!("`{}`", crate::diag::display_path(path))).collect();
        let what = if shown.is_empty() {
            "the folder demo/ has no file with the ending .jsonl".into()
        } else {
            format!("{} has no leads and no messages", shown.join(", "))
        };
        return Err(Failed::Other(what));
    }
    Ok(inputs)
}

fn read_file(path: &Path, inputs: &mut Vec<Input>) -> Result<(), Failed> {
    let source = SourceText::read(path).map_err(|e| vec![e])?;
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let span = Span::new(&source, start..start + line.trim_end().len());
        start += line.len();
        if !line.trim().is_empty() {
            inputs.push(input(inputs.len(), line.trim(), span));
        }
    }
    Ok(())
}

/// Checks that a pipeline reads the topic of each input.
///
/// # Errors
/// The lines that no pipeline of the project would read.
pub fn check(inputs: &[Input], topics: &BTreeSet<String>) -> Result<(), Failed> {
    let stray = inputs.iter().filter(|input| !topics.contains(input.topic));
    let errors: Vec<Diagnostic> = stray
        .map(|input| {
            let message = format!("nobody reads this line: no pipeline has the topic `{}`", input.topic);
            let help = if input.topic == LEADS {
                "give it a `context`: then it is a message"
            } else {
                "add the table `agent_messages`"
            };
            Diagnostic::new(Code::TABLE_UNKNOWN, message).at(input.span.clone()).help(help)
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
}

fn input(index: usize, line: &str, span: Span) -> Input {
    let label = |lead: &Value| {
        // As `copy_leads` reads them: a number counts as text.
        let text = |key: &str| match lead.get(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        text("email").or_else(|| text("name")).unwrap_or_else(|| format!("lead {}", index + 1))
    };
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(fields)) if fields.contains_key("context") => {
            let label: String = fields["context"].as_str().unwrap_or("message").chars().take(LABEL).collect();
            let workflow_id = fields.get("workflow_id").and_then(Value::as_str).filter(|id| !id.is_empty());
            let (workflow_id, payload) = (workflow_id.map(str::to_string), line.as_bytes().to_vec());
            Input { topic: MESSAGES, label, begins: true, workflow_id, payload, span }
        }
        Ok(Value::Object(fields)) if fields.contains_key("operationType") => {
            let event = Value::Object(fields);
            let begins = event["operationType"] == "insert";
            Input {
                topic: LEADS,
                label: label(&event["fullDocument"]),
                begins,
                workflow_id: None,
                payload: line.as_bytes().to_vec(),
                span,
            }
        }
        Ok(Value::Object(mut fields)) => {
            let id = json!({ "$oid": format!("{:024x}", index + 1) });
            let label = label(&Value::Object(fields.clone()));
            fields.insert("_id".into(), id.clone());
            let event = json!({
                "operationType": "insert",
                "ns": { "db": "stratusdb", "coll": "leads" },
                "documentKey": { "_id": id },
                "fullDocument": fields,
            });
            Input {
                topic: LEADS,
                label,
                begins: true,
                workflow_id: None,
                payload: event.to_string().into_bytes(),
                span,
            }
        }
        _ => {
            let label = format!("lead {}", index + 1);
            Input { topic: LEADS, label, begins: true, workflow_id: None, payload: line.as_bytes().to_vec(), span }
        }
    }
}

/// Publishes inputs in their order. Returns those that begin a workflow: of those that name the same one, the first.
///
/// # Errors
/// When the broker refuses one.
pub async fn publish(servers: &str, inputs: Vec<Input>) -> Result<Vec<Published>, String> {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", servers).create().map_err(|e| e.to_string())?;
    let mut published = Vec::new();
    for input in inputs {
        let record: FutureRecord<'_, (), Vec<u8>> = FutureRecord::to(input.topic).payload(&input.payload);
        let delivered = producer
            .send(record, Duration::from_secs(10))
            .await
            .map_err(|(e, _)| format!("the broker refused a line of the input: {e}"))?;
        let place = format!("{}/{}/{}", input.topic, delivered.partition, delivered.offset);
        let made = || hex_digest(&[b"workflow|", place.as_bytes()])[..32].to_string();
        let workflow_id = input.workflow_id.unwrap_or_else(made);
        if input.begins && published.iter().all(|other: &Published| other.workflow_id != workflow_id) {
            published.push(Published { label: input.label, place, workflow_id });
        }
    }
    Ok(published)
}
