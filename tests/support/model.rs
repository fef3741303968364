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
use tokio::sync::watch;

/// A call as the model gets it.
pub struct Call {
    /// All of its body.
    pub request: Value,
    /// What its body has for the system.
    pub system: String,
    /// What its body has for the user, first.
    pub user: String,
    /// What it asks about: what stands between the tags.
    pub text: String,
    /// The lines of its head.
    pub head: String,
    /// Its bearer's key.
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
}

struct Behaviour {
    rule: Rule,
    /// What comes before the rule, for as long as it is there.
    fault: Option<Rule>,
    latency: Duration,
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
        let behaviour = Behaviour { rule: Arc::new(rule), fault: None, latency: Duration::ZERO };
        let inner = Arc::new(Inner {
            seen: Mutex::default(),
            gate: watch::Sender::new(usize::MAX),
            behaviour: Mutex::new(behaviour),
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
        let (fault, rule, latency) = {
            let behaviour = inner.behaviour();
            (behaviour.fault.clone(), Arc::clone(&behaviour.rule), behaviour.latency)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
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
    fn arrived(&self, head: &str, body: &[u8]) -> (Call, usize) {
        let request: Value = serde_json::from_slice(body).expect("a request in JSON");
        let content = |at: usize| request["messages"][at]["content"].as_str().expect("a message").to_owned();
        let (system, user) = (content(0), content(1));
        let text = user.split_once(">\n").and_then(|(_, rest)| rest.rsplit_once("\n</")).map_or("", |(text, _)| text);
        let text = text.to_owned();
        let bearer = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim().trim_start_matches("Bearer ").to_owned())
        });
        let key = bearer.unwrap_or_default();
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
