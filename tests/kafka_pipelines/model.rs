//! A server that speaks OpenAI's chat completions and answers by rule, so that tests know what comes; it counts what it
//! is asked and can be slow, hold its answers back, or fail.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What the first words of a message lead to.
const ROUTES: [(&str, &str); 6] = [
    ("New, raw lead", "Lead Ingestion Agent"),
    ("Research report on a lead", "Lead Scoring Agent"),
    ("Scored lead whose next step is Actively Engage", "Active Outreach Agent"),
    ("Scored lead whose next step is Nurture", "Nurture Campaign Agent"),
    ("One finished e-mail", "Send Email Agent"),
    ("Three finished e-mails", "Send Email Agent"),
];

/// A running server.
pub struct Model {
    port: u16,
    inner: Arc<Inner>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Inner {
    seen: Mutex<Seen>,
    /// How many calls may be answered from now on.
    gate: watch::Sender<usize>,
    behaviour: Mutex<Behaviour>,
}

#[derive(Clone, Default)]
struct Behaviour {
    latency: Duration,
    /// A status for all calls, or those of `llm_complete` only.
    failure: Option<(u16, bool)>,
}

/// What it has been asked.
#[derive(Clone, Default)]
pub struct Seen {
    /// All calls.
    pub calls: usize,
    /// Calls that wait for their answer.
    pub in_flight: usize,
    /// The most that did so at one time.
    pub peak: usize,
    /// Calls by what stands in brackets in the text asked about, where something does.
    pub by_mark: BTreeMap<String, usize>,
    /// Calls by key.
    pub by_key: BTreeMap<String, usize>,
}

/// A call that is in flight, also when its client is gone.
struct InFlight(Arc<Inner>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.seen().in_flight -= 1;
    }
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Model {
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// At a port that was left free for it.
    pub fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port for the model");
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            gate: watch::Sender::new(usize::MAX),
            behaviour: Mutex::default(),
        });
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&inner));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
        Self { port, inner, runtime: Some(runtime) }
    }

    /// What `BATON_LLM_BASE_URL` is set to.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// How long each call takes from now on.
    pub fn takes(&self, latency: Duration) {
        self.inner.behaviour.lock().unwrap().latency = latency;
    }

    /// Every call is answered with this status from now on.
    pub fn fails(&self, status: u16) {
        self.inner.behaviour.lock().unwrap().failure = Some((status, false));
    }

    /// The calls of `llm_complete` are.
    pub fn fails_to_complete(&self, status: u16) {
        self.inner.behaviour.lock().unwrap().failure = Some((status, true));
    }

    /// The end of [`Model::fails`].
    pub fn recovers(&self) {
        self.inner.behaviour.lock().unwrap().failure = None;
    }

    /// Answers so many calls in all, and holds back those that come after them.
    pub fn holds_after(&self, calls: usize) {
        self.inner.gate.send_replace(calls);
    }

    /// The end of [`Model::holds_after`].
    pub fn lets_go(&self) {
        self.holds_after(usize::MAX);
    }

    pub fn seen(&self) -> Seen {
        self.inner.seen().clone()
    }

    /// Waits until what it has seen is enough; fails after a minute.
    pub fn wait(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !holds(&self.inner.seen()) {
            let seen = self.seen();
            let (calls, in_flight, peak) = (seen.calls, seen.in_flight, seen.peak);
            assert!(
                Instant::now() < deadline,
                "not within a minute: {what} ({calls} calls, {in_flight} in flight, {peak} at most, {:?})",
                seen.by_key
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where a model at that port is.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v1")
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let request: Value = serde_json::from_slice(&body).expect("a request in JSON");
    let system = request["messages"][0]["content"].as_str().expect("a system message").to_owned();
    let user = request["messages"][1]["content"].as_str().expect("a user message").to_owned();
    let key = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).replace("Bearer ", "");
    let number = {
        let mut seen = inner.seen();
        seen.calls += 1;
        seen.in_flight += 1;
        seen.peak = seen.peak.max(seen.in_flight);
        *seen.by_key.entry(key.clone()).or_default() += 1;
        if let Some((mark, _)) = user.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
            *seen.by_mark.entry(mark.to_owned()).or_default() += 1;
        }
        seen.calls
    };
    let _in_flight = InFlight(Arc::clone(&inner));
    let mut gate = inner.gate.subscribe();
    gate.wait_for(|open| number <= *open).await.expect("a gate");
    let Behaviour { latency, failure } = inner.behaviour.lock().unwrap().clone();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let is_classification = user.starts_with("<message>");
    if let Some((status, only_completions)) = failure
        && !(only_completions && is_classification)
    {
        // As some servers do, with the key in it.
        let error = json!({ "error": { "message": format!("Incorrect API key provided: {key}") } });
        return (StatusCode::from_u16(status).unwrap(), error.to_string());
    }
    let said = if is_classification { classification(&request, &user) } else { completion(&system, &request, &user) };
    let reply = json!({
        "model": "stub-1",
        "choices": [{ "message": { "role": "assistant", "content": said }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": body.len() / 4, "completion_tokens": said.len() / 4 },
    });
    (StatusCode::OK, reply.to_string())
}

/// An agent by the first words of the message; always one of the names that the request allows.
fn classification(request: &Value, user: &str) -> String {
    let message = user.trim_start_matches("<message>").trim_start();
    let name = ROUTES.iter().find(|(words, _)| message.starts_with(words)).map_or("NONE", |(_, agent)| *agent);
    let allowed = &request["response_format"]["json_schema"]["schema"]["properties"]["agent"]["enum"];
    assert!(allowed.as_array().expect("the names").contains(&name.into()), "{name} is not among {allowed}");
    json!({ "agent": name }).to_string()
}

/// What an agent asks for: told by the schema that the answer has to keep, wherever the request has it.
fn completion(system: &str, request: &Value, user: &str) -> String {
    let schema = format!("{} {}", request["response_format"], system.split("JSON Schema:").nth(1).unwrap_or_default());
    let letter =
        |n: u32| json!({ "subject": format!("Subject {n}"), "body": format!("Hello,\n\nletter {n} of \"three\".") });
    if schema.contains("\"next_step\"") {
        let (score, next_step) = if user.contains("applying for a job") {
            (0, "Close")
        } else if user.contains("budget is approved") {
            (90, "Actively Engage")
        } else {
            (30, "Nurture")
        };
        let points = ["Says what it wants.", "Names \"volumes\"."];
        json!({ "score": score, "next_step": next_step, "talking_points": points, "summary": "A lead." }).to_string()
    } else if schema.contains("\"emails\"") {
        json!({ "emails": [letter(1), letter(2), letter(3)] }).to_string()
    } else if schema.contains("\"subject\"") {
        letter(1).to_string()
    } else {
        "A person who works with data at a company. What it uses today is not known.".to_owned()
    }
}
