//! A case as its file has it, and the server that it scripts.
//!
//! `given.json` says in prose what a user wants; `wanted.json` says the same in a form that can be checked, by name. The
//! cases of `own.json` have both in one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::binary::root;
use crate::played::{Call, Model, Reply};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    Classify,
    Complete,
}

/// What a model server does, and what a user wants to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// The server that is like this, or where it was reported.
    pub source: String,
    pub about: String,
    pub want: String,
    pub function: Function,
    /// `openai` or `anthropic`.
    pub provider: String,
    /// How many different rows are asked about.
    pub rows: usize,
    /// Settings. One that is null is not set.
    pub env: BTreeMap<String, Option<String>>,
    /// By call; the last one repeats. `when` comes first.
    pub replies: Vec<Scripted>,
    /// Replies to some calls; the first rule that fits counts.
    #[serde(default)]
    pub when: Vec<Rule>,
    /// The function's options.
    #[serde(default)]
    pub options: Option<Value>,
    /// How long each row's text is, where that matters.
    #[serde(default)]
    pub characters: usize,
    pub wanted: Wanted,
}

/// One reply.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    #[serde(default = "success")]
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// In JSON. In it `{{call}}` stands for the call's number, and `{{mark}}` for the row's mark.
    pub body: Option<Value>,
    /// The same as it is.
    pub raw: Option<String>,
    /// A good answer of the provider with this text.
    pub says: Option<String>,
    /// The connection breaks in the middle of the body.
    #[serde(default)]
    pub resets: bool,
}

fn success() -> u16 {
    200
}

/// What a call must be like, in all respects that are given, and what is answered to such calls, one after the other.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Rows by their number.
    #[serde(default)]
    pub rows: BTreeSet<usize>,
    /// A place in the request (as a JSON pointer) that is there and not null.
    pub has: Option<String>,
    /// A place in the request that is missing or null.
    pub lacks: Option<String>,
    /// Values in the request.
    #[serde(default)]
    pub equals: BTreeMap<String, Value>,
    /// From so many calls of the row on, this one included.
    #[serde(default)]
    pub from: usize,
    pub replies: Vec<Scripted>,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every row is answered, but those in `failed`.
    Answers,
    /// The process ends with 78. No row fails.
    Stops,
    /// It stops reading and says why. No row fails.
    Waits,
    /// One of the two.
    StopsOrWaits,
}

/// What can be checked. Whatever is not given is not checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub outcome: Outcome,
    /// The agent or the text of each row that is answered.
    pub value: Option<String>,
    /// The same where the text is JSON.
    pub json: Option<Value>,
    /// The most calls.
    pub calls: Option<usize>,
    /// All of these are in the error, or in the reason to wait.
    #[serde(default)]
    pub names: Vec<String>,
    /// One of these is.
    #[serde(default)]
    pub names_one_of: Vec<String>,
    /// Rows that fail, with a part of their error.
    #[serde(default)]
    pub failed: BTreeMap<usize, String>,
    /// What the status of a row that fails is, if that is certain.
    pub status: Option<String>,
    /// Parts of the log.
    #[serde(default)]
    pub log: Vec<String>,
    /// Parts of one line of the log, and of no other.
    #[serde(default)]
    pub log_once: Vec<String>,
    /// Not in the log.
    #[serde(default)]
    pub never_log: Vec<String>,
    /// In no request, neither in its head nor in its body.
    #[serde(default)]
    pub never_sent: Vec<String>,
    /// Places (as JSON pointers) that every request has.
    #[serde(default)]
    pub every_request_has: Vec<String>,
    /// Places that the last request has.
    #[serde(default)]
    pub last_request_has: Vec<String>,
    /// Places that the last request lacks.
    #[serde(default)]
    pub last_request_lacks: Vec<String>,
    /// What the first request has at some places.
    #[serde(default)]
    pub first_request: BTreeMap<String, Value>,
    /// Each call of a row leaves more room for its answer than the one before.
    #[serde(default)]
    pub more_room: bool,
}

/// All cases, those that were given first.
pub fn all() -> Vec<Case> {
    let read = |name: &str| {
        let path = root().join("tests/cli/model_servers").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let (given, own, mut wanted) = (read("given.json"), read("own.json"), read("wanted.json"));
    let mut cases = given.as_array().expect("a list of cases").clone();
    for case in &mut cases {
        let name = case["name"].as_str().expect("a name").to_owned();
        let more = wanted.as_object_mut().expect("an object").remove(&name);
        let more = more.unwrap_or_else(|| panic!("wanted.json says nothing of {name}"));
        let fields = case.as_object_mut().expect("a case");
        for (key, value) in more.as_object().expect("fields of a case") {
            assert!(fields.insert(key.clone(), value.clone()).is_none(), "{name}: {key} is given");
        }
    }
    assert_eq!(wanted, json!({}), "these were not given");
    cases.extend(own.as_array().expect("a list of cases").iter().cloned());
    let read = |case: &Value| serde_json::from_str(&case.to_string()).unwrap_or_else(|e| panic!("{e}: {case:#}"));
    cases.iter().map(read).collect()
}

/// A request as it came.
pub struct Request {
    pub head: String,
    pub body: Value,
    /// The row's mark.
    pub mark: String,
}

/// A server that follows a case, and all that it was asked.
pub struct Server {
    pub model: Model,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(case: &Case) -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (script, seen) = (case.clone(), Arc::clone(&requests));
        let used = Mutex::new((0, vec![0; case.when.len()]));
        let model = Model::start(move |call| {
            let mark = mark(&call.text);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(Request { head: call.head.clone(), body: call.request.clone(), mark: mark.clone() });
            let number = seen.len();
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            let rule = script.when.iter().position(|rule| rule.fits(call, &mark));
            let (replies, at) = match rule {
                Some(rule) => (&script.when[rule].replies, &mut used.1[rule]),
                None => (&script.replies, &mut used.0),
            };
            let reply = &replies[(*at).min(replies.len() - 1)];
            *at += 1;
            reply.reply(&script.provider, number, &mark)
        });
        Self { model, requests }
    }

    /// Looks at all that it was asked.
    pub fn look<T>(&self, look: impl FnOnce(&[Request]) -> T) -> T {
        look(&self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What stands in brackets at the beginning of a text.
fn mark(text: &str) -> String {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(mark, _)| mark).to_owned()
}

impl Rule {
    fn fits(&self, call: &Call, mark: &str) -> bool {
        let at = |place: &str| call.request.pointer(place).filter(|value| !value.is_null());
        let row = mark.parse::<usize>().ok();
        (self.rows.is_empty() || row.is_some_and(|row| self.rows.contains(&row)))
            && self.has.as_ref().is_none_or(|place| at(place).is_some())
            && self.lacks.as_ref().is_none_or(|place| at(place).is_none())
            && self.equals.iter().all(|(place, value)| at(place) == Some(value))
            && call.nth >= self.from
    }
}

impl Scripted {
    fn reply(&self, provider: &str, number: usize, mark: &str) -> Reply {
        if self.resets {
            return Reply::Resets;
        }
        let body = match (&self.says, &self.body, &self.raw) {
            (Some(text), None, None) if provider == "anthropic" => json!({
                "type": "message", "model": "m-1", "stop_reason": "end_turn",
                "content": [{ "type": "text", "text": text }],
                "usage": { "input_tokens": 700, "output_tokens": 9 },
            })
            .to_string(),
            (Some(text), None, None) => return Reply::Says(text.clone()),
            (None, Some(body), None) => body.to_string(),
            (None, None, Some(raw)) => raw.clone(),
            (None, None, None) => String::new(),
            _ => panic!("a reply has a body, or it is raw, or it says something"),
        };
        let body = body.replace("{{call}}", &number.to_string()).replace("{{mark}}", mark);
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Reply::Sends(self.status, headers, body)
    }
}
