//! The yardstick: what `pipelines/route_messages.sql` does with a message that is in order, written by hand and tuned. A
//! consumer, a task for each message with a semaphore over all of them, one HTTP client with a pool of connections, a
//! producer. No SQL, no checks, no agents but these.
//!
//! It keeps what makes the two comparable: the same settings of Kafka's client, the same request to the model, the same
//! two messages for each decision, and offsets that are committed only when both are acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{DeliveryResult, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::Outcome;
use crate::kafka::{like_batons_consumer, like_batons_producer};
use crate::options::LoopOptions;
use crate::stub::ROUTES;

const FROM: &str = "agent_messages";
const GROUP: &str = "route_messages";
const DECISIONS: &str = "agent_predictions";

/// How often offsets are committed, as Baton does it.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// The request without the message: what Baton sends for `sql/agents.sql`, before and after it.
const REQUEST: &str = include_str!("request.json");

#[derive(Deserialize)]
struct Incoming {
    message_id: String,
    workflow_id: String,
    parent_id: Option<String>,
    #[serde(default)]
    hop: i64,
    sender: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    lead_data: LeadData,
    context: String,
}

#[derive(Deserialize, Serialize, Default)]
struct LeadData {
    name: Option<String>,
    email: Option<String>,
    job_title: Option<String>,
    company_name: Option<String>,
    company_website: Option<String>,
    project_description: Option<String>,
    lead_source: Option<String>,
}

#[derive(Deserialize)]
struct Completion {
    model: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
}

#[derive(Deserialize)]
struct Said {
    content: String,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Answer {
    agent: String,
}

#[derive(Serialize)]
struct Decision<'a> {
    agent: &'a str,
    status: &'static str,
    confidence: Option<f64>,
    error: Option<&'a str>,
    attempts: u32,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    cost: Option<f64>,
    latency_ms: u64,
    model: Option<&'a str>,
    source: &'static str,
}

#[derive(Serialize)]
struct Routed<'a> {
    message_id: &'a str,
    workflow_id: &'a str,
    parent_id: Option<&'a str>,
    hop: i64,
    sender: Option<&'a str>,
    created_at: Option<&'a str>,
    lead_data: &'a LeadData,
    context: &'a str,
    decision: &'a Decision<'a>,
}

#[derive(Serialize)]
struct Prediction<'a> {
    message_id: &'a str,
    workflow_id: &'a str,
    parent_id: Option<&'a str>,
    hop: i64,
    sender: Option<&'a str>,
    topic: &'static str,
    partition: i32,
    offset_id: i64,
    #[serde(flatten)]
    decision: &'a Decision<'a>,
    destination: &'a str,
    created_at: Option<&'a str>,
}

/// What has been read and is not acknowledged, by partition; what may be committed is the first of it.
#[derive(Default)]
struct Offsets(Mutex<HashMap<i32, BTreeMap<i64, bool>>>);

impl Offsets {
    fn began(&self, partition: i32, offset: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(partition).or_default().insert(offset, false);
    }

    fn done(&self, partition: i32, offset: i64) {
        let mut partitions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = partitions.get_mut(&partition).and_then(|pending| pending.get_mut(&offset)) {
            *done = true;
        }
    }

    fn committable(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, pending) in &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut next = None;
            while let Some(first) = pending.first_entry().filter(|first| *first.get()) {
                next = Some(first.remove_entry().0 + 1);
            }
            if let Some(next) = next {
                let _ = list.add_partition_offset(FROM, *partition, Offset::Offset(next));
            }
        }
        list
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().all(BTreeMap::is_empty)
    }
}

/// The two messages of a decision that are not acknowledged.
struct Unacknowledged {
    partition: i32,
    offset: i64,
    missing: AtomicU8,
    offsets: Arc<Offsets>,
}

struct Acknowledgements;

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Arc<Unacknowledged>;

    fn delivery(&self, result: &DeliveryResult<'_>, decision: Arc<Unacknowledged>) {
        if result.is_ok() && decision.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            decision.offsets.done(decision.partition, decision.offset);
        }
    }
}

/// What all tasks share.
struct Shared {
    client: reqwest::Client,
    url: String,
    before: &'static str,
    after: &'static str,
    producer: BaseProducer<Acknowledgements>,
    offsets: Arc<Offsets>,
}

/// Routes until SIGTERM.
pub fn run(options: &LoopOptions) -> Outcome<()> {
    let runtime = if options.threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(options.threads).enable_all().build()?
    };
    let (before, after) = REQUEST.trim_end().split_once(r#""{message}""#).ok_or("request.json has no {message}")?;
    let shared = Arc::new(Shared {
        client: reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(options.in_flight)
            .timeout(Duration::from_secs(30))
            .build()?,
        url: format!("{}/chat/completions", options.model),
        before,
        after,
        producer: like_batons_producer(&options.servers).create_with_context(Acknowledgements)?,
        offsets: Arc::default(),
    });
    let gone = Arc::new(AtomicBool::new(false));
    let polling = thread::spawn({
        let (shared, gone) = (Arc::clone(&shared), Arc::clone(&gone));
        move || {
            while !gone.load(Ordering::Acquire) {
                shared.producer.poll(Duration::from_millis(200));
            }
        }
    });
    let routed = runtime.block_on(route(options, &shared));
    gone.store(true, Ordering::Release);
    let _ = polling.join();
    routed
}

async fn route(options: &LoopOptions, shared: &Arc<Shared>) -> Outcome<()> {
    let consumer: StreamConsumer = like_batons_consumer(&options.servers, GROUP).create()?;
    consumer.subscribe(&[FROM])?;
    let in_flight = Arc::new(Semaphore::new(options.in_flight));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut commit = tokio::time::interval(COMMIT_EVERY);
    let mut permit = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = commit.tick() => {
                let list = shared.offsets.committable();
                if list.count() > 0 {
                    consumer.commit(&list, CommitMode::Async)?;
                }
            }
            free = Arc::clone(&in_flight).acquire_owned(), if permit.is_none() => permit = Some(free?),
            message = consumer.recv(), if permit.is_some() => {
                let message = message?.detach();
                shared.offsets.began(message.partition(), message.offset());
                let (shared, permit) = (Arc::clone(shared), permit.take());
                tokio::spawn(async move {
                    if let Err(error) = decide(&shared, &message).await {
                        crate::note(&format!("offset {}: {error}", message.offset()));
                    }
                    drop(permit);
                });
            }
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = shared.offsets.committable();
        if list.count() > 0 {
            consumer.commit(&list, CommitMode::Sync)?;
        }
        if shared.offsets.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("messages in flight were not delivered".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn decide(shared: &Shared, message: &OwnedMessage) -> Outcome<()> {
    let incoming: Incoming = serde_json::from_slice(message.payload().unwrap_or_default())?;
    let started = Instant::now();
    let mut body = Vec::with_capacity(REQUEST.len() + 2 * incoming.context.len());
    body.extend_from_slice(shared.before.as_bytes());
    let enclosed = format!("<message>\n{}\n</message>", entities(&incoming.context));
    serde_json::to_writer(&mut body, &enclosed)?;
    body.extend_from_slice(shared.after.as_bytes());
    let response = shared
        .client
        .post(&shared.url)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await?
        .error_for_status()?;
    let completion: Completion = serde_json::from_slice(&response.bytes().await?)?;
    let said = completion.choices.first().ok_or("the model says nothing")?;
    let Answer { agent } = serde_json::from_str(&said.message.content)?;
    let place = ROUTES.iter().find(|(_, name, _)| *name == agent).map_or("unrouted", |(_, _, place)| place);
    let decision = Decision {
        agent: &agent,
        status: "ok",
        confidence: None,
        error: None,
        attempts: 1,
        prompt_tokens: completion.usage.as_ref().and_then(|usage| usage.prompt_tokens),
        completion_tokens: completion.usage.as_ref().and_then(|usage| usage.completion_tokens),
        cost: None,
        latency_ms: u64::try_from(started.elapsed().as_millis())?,
        model: completion.model.as_deref(),
        source: "model",
    };
    let (sender, created_at) = (incoming.sender.as_deref(), incoming.created_at.as_deref());
    let routed = serde_json::to_vec(&Routed {
        message_id: &incoming.message_id,
        workflow_id: &incoming.workflow_id,
        parent_id: incoming.parent_id.as_deref(),
        hop: incoming.hop,
        sender,
        created_at,
        lead_data: &incoming.lead_data,
        context: &incoming.context,
        decision: &decision,
    })?;
    let prediction = serde_json::to_vec(&Prediction {
        message_id: &incoming.message_id,
        workflow_id: &incoming.workflow_id,
        parent_id: incoming.parent_id.as_deref(),
        hop: incoming.hop,
        sender,
        topic: FROM,
        partition: message.partition(),
        offset_id: message.offset(),
        decision: &decision,
        destination: place,
        created_at,
    })?;
    let unacknowledged = Arc::new(Unacknowledged {
        partition: message.partition(),
        offset: message.offset(),
        missing: AtomicU8::new(2),
        offsets: Arc::clone(&shared.offsets),
    });
    for (topic, payload) in [(DECISIONS, &prediction), (place, &routed)] {
        let record = BaseRecord::with_opaque_to(topic, Arc::clone(&unacknowledged)).payload(payload);
        shared.producer.send(record.key(&incoming.workflow_id)).map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// As Baton's prompts have it: nothing in a message can close its tag.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}
