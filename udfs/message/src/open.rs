//! Opens a message: parses its bytes once, validates it against the contract, and adds missing ids.

use crate::hops::{self, Arrival, Limits, Verdict};
use crate::{ENVELOPE, Object, fields, id_of};
use chrono::DateTime;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;

/// SQL's `open_message`: a message and its errors, as one JSON object.
///
/// `value` are the bytes of the message. The next four arguments are the place and time of its publication. `options`
/// is a JSON object:
///
/// | Option | |
/// | --- | --- |
/// | `agent` | The name of the agent that reads: its messages come from the router, so they must have ids. |
/// | `agents` | Instead, for the router: the names of all agents. A reply of one of them must state its place in the workflow. |
/// | `hops` | For the router: a message beyond this hop is halted. |
/// | `messages` | For the router: a workflow with more messages is halted. |
///
/// The result always has the same keys, the long ones last:
///
/// | Key | |
/// | --- | --- |
/// | `refusal` | Why the message cannot be processed; null if it can. |
/// | `refusal_status` | The kind of refusal: `unreadable` (not UTF-8), `contract` or `config`. |
/// | `halted` | Why the message must not continue; null if it may. |
/// | `message_id`, `workflow_id`, `parent_id`, `hop`, `sender`, `created_at` | The message's own values, or values made from its place in the topic. |
/// | `received_at` | When it was published, in RFC 3339. |
/// | `agent` | The option of that name. |
/// | `message` | The whole message, with the last of duplicate keys and the fields above that a message has; null if it is refused. |
#[must_use]
pub fn open(
    value: Option<&[u8]>,
    topic: Option<&str>,
    partition: Option<i32>,
    offset: Option<i64>,
    published_ms: Option<i64>,
    options: Option<&str>,
) -> String {
    let place =
        Place { topic: topic.unwrap_or_default(), partition: partition.unwrap_or(-1), offset: offset.unwrap_or(-1) };
    let received_at = time_of(published_ms.unwrap_or(0));
    let mut opened = match Options::of(options.unwrap_or("{}")).as_ref() {
        Ok(options) => Opened::read(value, &place, &received_at, options),
        Err(why) => Opened::refused("config", why.clone(), &place),
    };
    if opened.workflow_id.is_empty() {
        opened.workflow_id = place.to_string();
    }
    opened.to_json(&received_at)
}

/// An opened message.
#[derive(Debug, Default)]
struct Opened {
    refusal: Option<(&'static str, String)>,
    halted: Option<String>,
    message_id: Option<String>,
    /// Empty if it is not known.
    workflow_id: String,
    parent_id: Option<String>,
    hop: u32,
    sender: Option<String>,
    created_at: Option<String>,
    agent: Option<String>,
    message: Option<Object>,
}

impl Opened {
    fn refused(status: &'static str, why: String, place: &Place<'_>) -> Self {
        Self { refusal: Some((status, why)), workflow_id: place.to_string(), ..Self::default() }
    }

    fn read(value: Option<&[u8]>, place: &Place<'_>, received_at: &str, options: &Options) -> Self {
        let Ok(text) = std::str::from_utf8(value.unwrap_or_default()) else {
            return Self::refused("unreadable", "the message is not UTF-8 text".into(), place);
        };
        let message = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(message)) => message,
            Ok(_) => return Self::refused("contract", "the message is JSON, but not an object".into(), place),
            Err(error) => {
                let why = format!("the message is not JSON ({error}): it begins with {}", fields::cut(text, 80));
                return Self::refused("contract", why, place);
            }
        };
        let broken = fields::violations(&message).map(|why| format!("the message does not match its contract: {why}"));
        let text = |name| fields::text(&message, name).map(str::to_owned);
        let mut opened = Self {
            message_id: text("message_id"),
            workflow_id: text("workflow_id").unwrap_or_default(),
            parent_id: text("parent_id"),
            sender: text("sender"),
            created_at: text("created_at"),
            agent: options.agent.clone(),
            ..Self::default()
        };
        let hop = fields::hop(&message);
        opened.hop = hop.unwrap_or(0);
        let refusal = broken.or_else(|| match &options.agent {
            Some(_) => opened.lacks_ids(hop),
            None => opened.lacks_place(hop, options),
        });
        if let Some(why) = refusal {
            let cut = |id: &str| id.chars().take(fields::LONGEST_ID).collect::<String>();
            opened.message_id = opened.message_id.as_deref().map(cut);
            opened.workflow_id = cut(&opened.workflow_id);
            opened.refusal = Some(("contract", why));
            return opened;
        }
        opened.complete(&message, place, received_at, options);
        opened.judge(place, options);
        if opened.refusal.is_none() {
            opened.message = Some(opened.with_envelope(message));
        }
        opened
    }

    /// An agent's messages come from the router, which adds the ids.
    fn lacks_ids(&self, hop: Option<u32>) -> Option<String> {
        (self.message_id.is_none() || self.workflow_id.is_empty() || hop.is_none()).then(|| {
            "the message lacks `message_id`, `workflow_id` or `hop`: publish to agent_messages, which adds them".into()
        })
    }

    /// A reply has an agent as its sender, or another message as its parent. It must state its place in the workflow,
    /// or a loop of agents would never be detected. Anyone else may publish just a `context`.
    fn lacks_place(&self, hop: Option<u32>, options: &Options) -> Option<String> {
        if !self.is_reply(options) {
            return None;
        }
        let lacks: Vec<&str> = [
            (self.workflow_id.is_empty(), "`workflow_id`"),
            (self.parent_id.is_none(), "`parent_id`"),
            (hop.is_none(), "`hop`"),
        ]
        .into_iter()
        .filter_map(|(lacks, name)| lacks.then_some(name))
        .collect();
        if !lacks.is_empty() {
            let sender = self.sender.as_deref().unwrap_or("unknown");
            return Some(format!(
                "a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of {sender} lacks {}",
                lacks.join(", ")
            ));
        }
        (hop == Some(0)).then(|| "a reply must return `hop` + 1; this one has `hop` 0".into())
    }

    fn is_reply(&self, options: &Options) -> bool {
        let sender = self.sender.as_deref().map(str::to_lowercase);
        self.parent_id.is_some() || sender.is_some_and(|sender| options.agents.contains(&sender))
    }

    /// Adds missing fields. The ids of a workflow's first message are made from its place in the topic, those of a
    /// reply from its contents, so a redelivered message gets the same ids.
    fn complete(&mut self, message: &Object, place: &Place<'_>, received_at: &str, options: &Options) {
        if self.message_id.is_none() {
            self.message_id = Some(if self.is_reply(options) {
                let context = message.get("context").and_then(Value::as_str);
                let parts = [self.parent_id.as_deref(), self.sender.as_deref(), context];
                id_of(&parts.into_iter().flatten().collect::<Vec<_>>())
            } else {
                id_of(&["message", &place.to_string()])
            });
        }
        if self.workflow_id.is_empty() {
            self.workflow_id = id_of(&["workflow", &place.to_string()]);
        }
        self.sender.get_or_insert_with(|| "unknown".into());
        self.created_at.get_or_insert_with(|| received_at.into());
    }

    fn judge(&mut self, place: &Place<'_>, options: &Options) {
        let Some(limits) = options.limits else { return };
        let verdict = hops::judge(
            Arrival {
                message_id: self.message_id.as_deref().unwrap_or_default(),
                workflow_id: &self.workflow_id,
                parent_id: self.parent_id.as_deref(),
                hop: self.hop,
                partition: place.partition,
                offset: place.offset,
            },
            limits,
        );
        match verdict {
            Verdict::Pass(hop) => self.hop = hop,
            Verdict::Halt(hop, why) => (self.hop, self.halted) = (hop, Some(why)),
            Verdict::Stray => {
                let why = "a reply must return the `workflow_id` of its parent; this one has another".into();
                self.refusal = Some(("contract", why));
            }
        }
    }

    /// The message to pass on: first the fields that Baton writes, then all others unchanged.
    fn with_envelope(&self, message: Object) -> Object {
        let mut out = Object::new();
        for (name, value) in ENVELOPE.into_iter().zip(self.envelope()) {
            out.insert(name.into(), value);
        }
        out.extend(message.into_iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())));
        out
    }

    /// The values of [`ENVELOPE`].
    fn envelope(&self) -> [Value; 6] {
        let Self { message_id, workflow_id, parent_id, hop, sender, created_at, .. } = self;
        [json!(message_id), json!(workflow_id), json!(parent_id), json!(hop), json!(sender), json!(created_at)]
    }

    fn to_json(&self, received_at: &str) -> String {
        let mut out = Object::new();
        let (status, refusal) = self.refusal.as_ref().map(|(status, why)| (status, why)).unzip();
        out.insert("refusal".into(), json!(refusal));
        out.insert("refusal_status".into(), json!(status));
        out.insert("halted".into(), json!(self.halted));
        for (name, value) in ENVELOPE.into_iter().zip(self.envelope()) {
            out.insert(name.into(), value);
        }
        out.insert("received_at".into(), json!(received_at));
        out.insert("agent".into(), json!(self.agent));
        out.insert("message".into(), json!(self.message));
        Value::Object(out).to_string()
    }
}

/// The place of publication of a message.
#[derive(Debug)]
struct Place<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A Kafka timestamp in RFC 3339. One outside the calendar is moved to its nearest end.
fn time_of(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis.clamp(0, 253_000_000_000_000)).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The `options` of a call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    agent: Option<String>,
    /// In lower case.
    agents: Vec<String>,
    limits: Option<Limits>,
}

impl Options {
    /// Reads options. They are the same for every row of a pipeline, so the last ones are cached.
    fn of(text: &str) -> Rc<Result<Self, String>> {
        type Last = Option<(String, Rc<Result<Options, String>>)>;
        thread_local!(static LAST: RefCell<Last> = const { RefCell::new(None) });
        LAST.with_borrow_mut(|last| match last {
            Some((known, options)) if known == text => Rc::clone(options),
            _ => {
                let options = Rc::new(Self::parse(text));
                *last = Some((text.to_owned(), Rc::clone(&options)));
                options
            }
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: String| format!("the options of open_message are wrong: {why}");
        let given: Object = serde_json::from_str(text).map_err(|error| wrong(format!("no JSON object ({error})")))?;
        let mut options = Self::default();
        let mut limits = Limits { hops: u32::MAX, messages: u32::MAX };
        for (key, value) in &given {
            let limit = || {
                let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                number.ok_or_else(|| wrong(format!("`{key}` must be a whole number above 0, not {value}")))
            };
            match key.as_str() {
                "agent" => match value.as_str() {
                    Some(name) => options.agent = Some(name.to_owned()),
                    None => return Err(wrong(format!("`agent` must be a name, not {value}"))),
                },
                "agents" => {
                    let names = value.as_array().map(|all| all.iter().map(|one| Some(one.as_str()?.to_lowercase())));
                    let names: Option<Vec<String>> = names.and_then(Iterator::collect);
                    options.agents = names.ok_or_else(|| wrong("`agents` must be a list of names".into()))?;
                }
                "hops" => limits.hops = limit()?,
                "messages" => limits.messages = limit()?,
                _ => {
                    return Err(wrong(format!(
                        "there is no option `{key}`: the options are agent, agents, hops, messages"
                    )));
                }
            }
        }
        if limits != (Limits { hops: u32::MAX, messages: u32::MAX }) {
            options.limits = Some(limits);
        }
        Ok(options)
    }
}
