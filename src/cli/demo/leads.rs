//! The demo's input: leads from a file, published as MongoDB would publish them.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::cli::output::Failed;
use crate::diag::SourceText;

const TOPIC: &str = "incoming-leads.stratusdb.leads";

/// A line of the file.
pub struct Lead {
    /// What is published.
    payload: Vec<u8>,
    /// How it is called on the screen: its e-mail.
    pub label: String,
    /// Whether a workflow comes of it: changes other than inserts end in `copy_leads`.
    begins: bool,
}

/// A lead and where it was published.
pub struct Published {
    /// How it is called on the screen.
    pub label: String,
    /// `topic/partition/offset`, the name of a workflow that has no other.
    pub place: String,
}

/// Reads the leads: a JSON object on each line, either a lead's fields or a whole change event. A line that is no JSON
/// is published as it is, to be seen in `dead_letters`.
///
/// # Errors
/// When the file cannot be read or has no line.
pub fn read(path: &Path) -> Result<Vec<Lead>, Failed> {
    let source = SourceText::read(path).map_err(|e| vec![e])?;
    let lines = source.text.lines().map(str::trim).filter(|l| !l.is_empty());
    let leads: Vec<Lead> = lines.enumerate().map(|(i, line)| lead(i, line)).collect();
    if leads.is_empty() {
        return Err(Failed::Other(format!("`{}` has no leads", source.name)));
    }
    Ok(leads)
}

fn lead(index: usize, line: &str) -> Lead {
    let label = |lead: &Value| {
        // As `copy_leads` reads them: a number is as good as text.
        let text = |key: &str| match lead.get(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        text("email").or_else(|| text("name")).unwrap_or_else(|| format!("lead {}", index + 1))
    };
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(fields)) if fields.contains_key("operationType") => {
            let event = Value::Object(fields);
            let begins = event["operationType"] == "insert";
            Lead { label: label(&event["fullDocument"]), begins, payload: line.as_bytes().to_vec() }
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
            Lead { label, begins: true, payload: event.to_string().into_bytes() }
        }
        _ => Lead { label: format!("lead {}", index + 1), begins: true, payload: line.as_bytes().to_vec() },
    }
}

/// Publishes the leads in their order; gives those from which a workflow begins.
///
/// # Errors
/// When the broker does not take one.
pub async fn publish(servers: &str, leads: Vec<Lead>) -> Result<Vec<Published>, String> {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", servers).create().map_err(|e| e.to_string())?;
    let mut published = Vec::new();
    for lead in leads {
        let record: FutureRecord<'_, (), Vec<u8>> = FutureRecord::to(TOPIC).payload(&lead.payload);
        let delivered = producer
            .send(record, Duration::from_secs(10))
            .await
            .map_err(|(e, _)| format!("a lead was not taken: {e}"))?;
        if lead.begins {
            let place = format!("{TOPIC}/{}/{}", delivered.partition, delivered.offset);
            published.push(Published { label: lead.label, place });
        }
    }
    Ok(published)
}
