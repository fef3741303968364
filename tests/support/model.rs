//! A model that is played: a server that answers by a rule, has every fault that a server can have, can go away and come
//! back, and counts what it is asked.
//!
//! What is answered to what belongs to the tests: they give the rule.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

/// A call as the model gets it.
pub struct Call {
    /// All of its body.
    pub request: Value,
    /// What its body has for the system; empty where it has nothing of its own.
    pub system: String,
    /// What its body has for the user, with what it asks about.
    pub user: String,
    /// What it asks about: what stands between the tags. Without messages, the whole body.
    pub text: String,
    /// The lines of its head.
    pub head: String,
    /// Its key, in whichever header it comes.
    pub key: String,
    /// How often the same text has been asked about, this time included.
    pub nth: usize,
    bytes: usize,
}

/// What a call leads to.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The model says this.
    Says(String),
    /// A status with headers and a body.
    Answers(u16, Vec<(&'static str, &'static str)>, String),
    /// The same, out of a file.
    Sends(u16, Vec<(String, String)>, String),
    /// Nothing, for as long as the client waits, which is at least so long.
    Hangs(Duration),
    /// The connection is reset in the middle of the body.
    Resets,
    /// What is sent is no HTTP.
    Gibberish,
}

/// The answer of `llm_classify` that names an agent.
pub fn names(agent: &str) -> Reply {
    Reply::Says(json!({ "agent": agent }).to_string())
}

type Rule = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// A running server.
pub struct Model {
    address: SocketAddr,
    inner: Arc<Inner>,
    runtime: Mutex<Option<Runtime>>,
}

struct Inner {
    seen: Mutex<Seen>,
    /// How many calls may be answered from now on.
    gate: watch::Sender<usize>,
    behaviour: Mutex<Behaviour>,
    /// Whether the model is loaded; held by the call that loads it.
    loaded: AsyncMutex<bool>,
}

struct Behaviour {
    rule: Rule,
    /// What comes before the rule, for as long as it is there.
    fault: Option<Rule>,
    latency: Duration,
    /// How many calls are worked on at a time, if that is limited; the others queue.
    at_once: Option<Arc<Semaphore>>,
    /// How long it takes to load the model, once. The load goes on only as long as the call that began it.
    load: Duration,
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
    /// What was billed, in tokens: all calls but those that were refused.
    pub tokens: u64,
    /// Calls by what they ask about.
    pub by_text: BTreeMap<String, usize>,
    /// Calls by what stands in brackets in what they ask about, where something does.
    pub by_mark: BTreeMap<String, usize>,
    /// Calls by key.
    pub by_key: BTreeMap<String, usize>,
    /// When each call came.
    pub times: Vec<Instant>,
    /// Callers that hung up before they were answered.
    pub hung_up: usize,
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
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model {
    /// Answers by this rule.
    pub fn start(rule: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(0, rule)
    }

    /// The same at a port that was left free for it.
    pub fn start_at(port: u16, rule: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let behaviour = Behaviour {
            rule: Arc::new(rule),
            fault: None,
            latency: Duration::ZERO,
            at_once: None,
            load: Duration::ZERO,
        };
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            gate: watch::Sender::new(usize::MAX),
            behaviour: Mutex::new(behaviour),
            loaded: AsyncMutex::new(false),
        });
        let (address, runtime) = serve(SocketAddr::from(([127, 0, 0, 1], port)), &inner);
        Self { address, inner, runtime: Mutex::new(Some(runtime)) }
    }

    /// What `BATON_LLM_BASE_URL` is set to.
    pub fn url(&self) -> String {
        url(self.address.port())
    }

    /// How long each call takes from now on.
    pub fn takes(&self, latency: Duration) {
        self.inner.behaviour().latency = latency;
    }

    /// How many calls are worked on at a time, each for as long as [`Model::takes`] says. The others queue, and one whose
    /// caller hangs up is given up.
    pub fn works_on(&self, at_once: usize) {
        self.inner.behaviour().at_once = Some(Arc::new(Semaphore::new(at_once)));
    }

    /// The first call loads the model, which takes so long, and the load is dropped when that caller hangs up.
    pub fn is_cold(&self, load: Duration) {
        self.inner.behaviour().load = load;
    }

    /// Every call is answered with this status from now on, and with the key, as some servers do.
    pub fn fails(&self, status: u16) {
        self.fails_where(status, |_| true);
    }

    /// The same for some calls.
    pub fn fails_where(&self, status: u16, which: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        let rule = Arc::clone(&self.inner.behaviour().rule);
        self.replies(move |call| {
            if which(call) {
                let error = json!({ "error": { "message": format!("Incorrect API key provided: {}", call.key) } });
                Reply::Answers(status, Vec::new(), error.to_string())
            } else {
                rule(call)
            }
        });
    }

    /// Every call leads to what this says instead of its rule.
    pub fn replies(&self, fault: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        self.inner.behaviour().fault = Some(Arc::new(fault));
    }

    /// The end of [`Model::fails`] and [`Model::replies`].
    pub fn recovers(&self) {
        self.inner.behaviour().fault = None;
    }

    /// Answers so many calls in all, and holds back those that come after them.
    pub fn holds_after(&self, calls: usize) {
        self.inner.gate.send_replace(calls);
    }

    /// The end of [`Model::holds_after`].
    pub fn lets_go(&self) {
        self.holds_after(usize::MAX);
    }

    /// Breaks all connections and takes no new ones.
    pub fn goes_away(&self) {
        if let Some(runtime) = self.runtime.lock().expect("the runtime").take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// The end of [`Model::goes_away`].
    pub fn comes_back(&self) {
        *self.runtime.lock().expect("the runtime") = Some(serve(self.address, &self.inner).1);
    }

    pub fn seen(&self) -> Seen {
        self.inner.seen().clone()
    }

    /// Something of what it has seen, without a copy of the rest.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.inner.seen())
    }

    /// Waits until what it has seen is enough; fails after a minute.
    pub fn wait(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.look(&holds) {
            let (calls, in_flight, peak) = self.look(|seen| (seen.calls, seen.in_flight, seen.peak));
            let shown = format!("{calls} calls, {in_flight} in flight, {peak} at most");
            assert!(Instant::now() < deadline, "not within a minute: {what} ({shown})");
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
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

fn serve(address: SocketAddr, inner: &Arc<Inner>) -> (SocketAddr, Runtime) {
    let listener = TcpListener::bind(address).expect("a port for the model");
    listener.set_nonblocking(true).expect("a socket that does not block");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let inner = Arc::clone(inner);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(connection(stream, Arc::clone(&inner)));
        }
    });
    (address, runtime)
}

/// Requests and their answers, one after the other; ends when either side has enough.
async fn connection(mut stream: TcpStream, inner: Arc<Inner>) {
    let mut read = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut read).await {
        let (call, number) = inner.arrived(&head, &body);
        let in_flight = InFlight(Arc::clone(&inner));
        inner.gate.subscribe().wait_for(|open| number <= *open).await.expect("a gate");
        let (fault, rule, latency, at_once, load) = {
            let now = inner.behaviour();
            (now.fault.clone(), Arc::clone(&now.rule), now.latency, now.at_once.clone(), now.load)
        };
        if at_once.is_none() && load.is_zero() {
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
        } else {
            // Such a server gives a call up when nobody waits for it.
            tokio::select! {
                biased;
                () = inner.work(at_once.as_deref(), load, latency) => {}
                () = hangs_up(&mut stream, &mut read) => {
                    inner.seen().hung_up += 1;
                    return;
                }
            }
        }
        let reply = fault.unwrap_or(rule)(&call);
        let (status, headers, body) = match reply {
            Reply::Says(said) => {
                let (prompt, completion) = (call.bytes / 4, said.len() / 4);
                inner.seen().tokens += (prompt + completion) as u64;
                let body = json!({
                    "model": "stub-1",
                    "choices": [{ "message": { "role": "assistant", "content": said }, "finish_reason": "stop" }],
                    "usage": { "prompt_tokens": prompt, "completion_tokens": completion },
                });
                (200, Vec::new(), body.to_string())
            }
            Reply::Answers(status, headers, body) => {
                // A success counts no tokens that its client could read, and yet is billed.
                inner.seen().tokens += if status == 200 { call.bytes as u64 / 4 } else { 0 };
                (status, headers, body)
            }
            Reply::Sends(status, headers, body) => {
                inner.seen().tokens += if status == 200 { call.bytes as u64 / 4 } else { 0 };
                drop(in_flight);
                if stream.write_all(sent(status, &headers, &body).as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
            other => {
                inner.seen().tokens += call.bytes as u64 / 4;
                return fail(stream, &other, in_flight).await;
            }
        };
        // Who gets the answer may send the next call at once.
        drop(in_flight);
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An answer whose headers may have a type of its own.
fn sent(status: u16, headers: &[(String, String)], body: &str) -> String {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = if typed { "" } else { "content-type: application/json\r\n" };
    format!("HTTP/1.1 {status} -\r\n{kind}{}content-length: {}\r\n\r\n{body}", lines.concat(), body.len())
}

/// Ends when the client closes its side. What it sends meanwhile is kept.
async fn hangs_up(stream: &mut TcpStream, read: &mut Vec<u8>) {
    while matches!(stream.read_buf(read).await, Ok(1..)) {}
}

/// What no server does by intention.
async fn fail(mut stream: TcpStream, how: &Reply, in_flight: InFlight) {
    match how {
        Reply::Hangs(at_least) => {
            tokio::time::sleep(*at_least).await;
            drop(in_flight);
            // Until the client has gone.
            let _gone = stream.read(&mut [0]).await;
        }
        Reply::Resets => {
            drop(in_flight);
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\"").await;
            #[allow(deprecated, reason = "closing with a reset is the point, and nothing waits for it")]
            let _gone = stream.set_linger(Some(Duration::ZERO));
        }
        _ => {
            drop(in_flight);
            let _gone = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    }
}

impl Inner {
    /// Loads the model if no call has done so to the end, and takes its turn.
    async fn work(&self, at_once: Option<&Semaphore>, load: Duration, latency: Duration) {
        if !load.is_zero() {
            let mut loaded = self.loaded.lock().await;
            if !*loaded {
                tokio::time::sleep(load).await;
                *loaded = true;
            }
        }
        let _turn = match at_once {
            Some(at_once) => Some(at_once.acquire().await.expect("the queue is never closed")),
            None => None,
        };
        tokio::time::sleep(latency).await;
    }

    fn arrived(&self, head: &str, body: &[u8]) -> (Call, usize) {
        let request: Value = serde_json::from_slice(body).expect("a request in JSON");
        let (system, user) = said(&request);
        let text = match asked_about(&user) {
            Some(text) => text.to_owned(),
            None if request["messages"].is_array() => String::new(),
            None => String::from_utf8_lossy(body).into_owned(),
        };
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let keys = ["authorization", "x-api-key", "api-key"];
            let is_key = keys.iter().any(|key| name.eq_ignore_ascii_case(key));
            is_key.then(|| value.trim().trim_start_matches("Bearer ").to_owned())
        });
        let key = key.unwrap_or_default();
        let mut seen = self.seen();
        seen.calls += 1;
        seen.in_flight += 1;
        seen.peak = seen.peak.max(seen.in_flight);
        seen.times.push(Instant::now());
        *seen.by_key.entry(key.clone()).or_default() += 1;
        if let Some((mark, _)) = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
            *seen.by_mark.entry(mark.to_owned()).or_default() += 1;
        }
        let nth = seen.by_text.entry(text.clone()).or_default();
        *nth += 1;
        let nth = *nth;
        (Call { request, system, user, text, head: head.to_owned(), key, nth, bytes: body.len() }, seen.calls)
    }
}

/// What a request has for the system and for the user. The system's part is a message of its own, a field beside the
/// messages, or there is none. Examples may come before the message that is asked about.
fn said(request: &Value) -> (String, String) {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |roles: &[&str]| -> Vec<String> {
        let those =
            messages.iter().filter(|message| message["role"].as_str().is_some_and(|role| roles.contains(&role)));
        those.map(|message| words(&message["content"])).collect()
    };
    let mut system = of(&["system", "developer"]).join("\n");
    if system.is_empty() {
        system = words(&request["system"]);
    }
    let users = of(&["user"]);
    let user = users.iter().rev().find(|user| asked_about(user).is_some()).or(users.first());
    (system, user.cloned().unwrap_or_default())
}

/// A text, or all texts of a list of parts.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// What stands between the tags of a message or an input. No text can hold them.
fn asked_about(user: &str) -> Option<&str> {
    ["message", "input"].iter().find_map(|tag| {
        let (_, rest) = user.rsplit_once(&format!("<{tag}>\n"))?;
        Some(rest.rsplit_once(&format!("\n</{tag}>"))?.0)
    })
}

/// The next request's head and body; `None` when there is none.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut needed = None;
    loop {
        if needed.is_none()
            && let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            needed = Some((head, end + 4, end + 4 + length.unwrap_or(0)));
        }
        if let Some((head, start, end)) = &needed
            && read.len() >= *end
        {
            let (head, body) = (head.clone(), read[*start..*end].to_vec());
            read.drain(..*end);
            return Some((head, body));
        }
        match stream.read_buf(read).await {
            Ok(1..) => {}
            _ => return None,
        }
    }
}
