//! What the model of these tests answers, so that they know what comes.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::json;

use crate::played::{Call, Model, Reply};

/// What the first words of a message lead to.
const ROUTES: [(&str, &str); 8] = [
    ("New, raw lead", "Lead Ingestion Agent"),
    ("Research report on a lead", "Lead Scoring Agent"),
    ("Scored lead whose next step is Actively Engage", "Active Outreach Agent"),
    ("Scored lead whose next step is Nurture", "Nurture Campaign Agent"),
    ("One finished e-mail", "Send Email Agent"),
    ("Three finished e-mails", "Send Email Agent"),
    // Agents that some tests add.
    ("A draft contract", "Legal Review Agent"),
    ("Round and round", "Circling Agent"),
];

/// A model that knows where messages belong, and what agents ask it for.
pub fn start() -> Model {
    Model::start(reply)
}

/// The same at a port that was left free for it.
pub fn start_at(port: u16) -> Model {
    Model::start_at(port, reply)
}

fn reply(call: &Call) -> Reply {
    // The harmless question is nobody's message.
    if call.text == "Hello." {
        return Reply::Says("Hello to you.".to_owned());
    }
    Reply::Says(if is_classification(call) { classification(call) } else { completion(call) })
}

/// Whether `llm_classify` asks.
pub fn is_classification(call: &Call) -> bool {
    call.user.starts_with("<message>")
}

/// An agent by the first words of the message; always one of the names that the request allows.
fn classification(call: &Call) -> String {
    let name = ROUTES.iter().find(|(words, _)| call.text.starts_with(words)).map_or("NONE", |(_, agent)| *agent);
    let allowed = &call.request["response_format"]["json_schema"]["schema"]["properties"]["agent"]["enum"];
    match allowed.as_array() {
        Some(allowed) => assert!(allowed.contains(&name.into()), "{name} is not among {allowed:?}"),
        // A server that was seen to ignore the schema gets it in the prompt.
        None => assert!(call.system.contains(&format!("\"{name}\"")), "{name} is not in the prompt: {}", call.system),
    }
    json!({ "agent": name }).to_string()
}

/// What an agent asks for: told by the schema that the answer has to keep, wherever the request has it.
fn completion(call: &Call) -> String {
    let in_prompt = call.system.split("JSON Schema:").nth(1).unwrap_or_default();
    let schema = format!("{} {in_prompt}", call.request["response_format"]);
    // Another input has another answer: equal questions at one time would share a call.
    let mut hasher = DefaultHasher::new();
    call.text.hash(&mut hasher);
    let mark = format!("{:016x}", hasher.finish());
    let letter =
        |n: u32| json!({ "subject": format!("Subject {n}"), "body": format!("Hello,\n\nletter {n} of \"three\".") });
    if schema.contains("\"next_step\"") {
        let (score, next_step) = if call.user.contains("applying for a job") {
            (0, "Close")
        } else if call.user.contains("budget is approved") {
            (90, "Actively Engage")
        } else {
            (30, "Nurture")
        };
        let summary = format!("A lead, {mark}.");
        let points = ["Says what it wants.", "Names \"volumes\"."];
        json!({ "score": score, "next_step": next_step, "talking_points": points, "summary": summary }).to_string()
    } else if schema.contains("\"emails\"") {
        json!({ "emails": [letter(1), letter(2), letter(3)] }).to_string()
    } else if schema.contains("\"subject\"") {
        letter(1).to_string()
    } else {
        format!("A person who works with data at a company ({mark}). What it uses today is not known.")
    }
}
