//! A server with scripted answers that counts its requests; the model and the agent of all tests.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a stub that cannot work must fail its test")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use baton_llm::settings::{Backoff, Provider};
use baton_llm::{Llm, Settings};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A key that must never appear in any output.
pub const KEY: &str = "sk-canary-5f1c";

pub const AGENTS: &str = r#"[{"name":"Lead Scoring Agent","description":"Scores leads","input":"a research report"},
                             {"name":"Send Email Agent","description":"Sends e-mails","input":"finished e-mails"}]"#;

/// One answer.
#[derive(Debug, Clone)]
pub struct Say {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub after: Duration,
}

pub fn say(status: u16, body: impl Into<Vec<u8>>) -> Say {
    Say { status, headers: Vec::new(), body: body.into(), after: Duration::ZERO }
}

impl Say {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

/// A chat completion whose message is `content`.
pub fn completion(content: &str) -> Say {
    say(
        200,
        json!({
            "model": "stub-1",
            "choices": [{ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 10, "completion_tokens": 3 },
        })
        .to_string(),
    )
}

/// A message of Anthropic's whose text is `content`.
pub fn message(content: &str) -> Say {
    say(
        200,
        json!({
            "type": "message",
            "role": "assistant",
            "model": "stub-1",
            "content": [{ "type": "thinking", "thinking": "Hm.", "signature": "s" }, { "type": "text", "text": content }],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 4, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 5, "output_tokens": 3,
            },
        })
        .to_string(),
    )
}

/// The providers that are servers.
pub const PROVIDERS: [Provider; 2] = [Provider::OpenAi, Provider::Anthropic];

/// An answer of `provider` whose text is `content`.
pub fn answer_of(provider: Provider, content: &str) -> Say {
    match provider {
        Provider::Anthropic => message(content),
        _ => completion(content),
    }
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Say>,
    asked: Vec<Asked>,
    judge: Option<fn(&Asked) -> Say>,
    now: usize,
    most_at_once: usize,
}

/// Any free port.
fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The server; it stops with its test.
#[derive(Clone)]
pub struct Stub {
    pub url: String,
    script: Arc<Mutex<Script>>,
}

impl Stub {
    /// Answers with these in turn, and then repeats the last.
    pub async fn start(answers: impl IntoIterator<Item = Say>) -> Self {
        Self::serve(any(), Script { answers: answers.into_iter().collect(), ..Script::default() }).await
    }

    /// The same at an address that was free before.
    pub async fn start_at(address: SocketAddr, answers: impl IntoIterator<Item = Say>) -> Self {
        Self::serve(address, Script { answers: answers.into_iter().collect(), ..Script::default() }).await
    }

    /// Answers each request with the result of `judge`.
    pub async fn judging(judge: fn(&Asked) -> Say) -> Self {
        Self::serve(any(), Script { judge: Some(judge), ..Script::default() }).await
    }

    async fn serve(address: SocketAddr, script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let router = Router::new().fallback(respond).with_state(Arc::clone(&script));
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, script }
    }

    pub fn calls(&self) -> usize {
        self.script.lock().unwrap().asked.len()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    pub fn most_at_once(&self) -> usize {
        self.script.lock().unwrap().most_at_once
    }
}

async fn respond(State(script): State<Arc<Mutex<Script>>>, request: axum::extract::Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body: body.to_vec(),
    };
    let say = {
        let mut script = script.lock().unwrap();
        let judged = script.judge.map(|judge| judge(&asked));
        script.asked.push(asked);
        script.now += 1;
        script.most_at_once = script.most_at_once.max(script.now);
        let scripted =
            if script.answers.len() > 1 { script.answers.pop_front() } else { script.answers.front().cloned() };
        judged.or(scripted).unwrap()
    };
    tokio::time::sleep(say.after).await;
    script.lock().unwrap().now -= 1;
    let mut response = Response::builder().status(say.status);
    for (name, value) in &say.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(say.body)).unwrap()
}

/// Faults of a connection that no HTTP server causes on purpose.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// Sends nothing.
    Hang,
    /// Resets in the middle of its body.
    Reset,
    /// Closes in the middle of its body.
    Close,
    /// Sends a body without end, slowly.
    Trickle,
    /// Sends a body without end, as fast as it is taken.
    Flood,
    /// Answers with something that is not HTTP.
    Gibberish,
}

/// A raw server that does `wire` on every connection. Returns its URL and a counter of connections.
pub async fn raw(wire: Wire) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counter.lock().unwrap() += 1;
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                let _ = stream.read(&mut buffer).await;
                let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                match wire {
                    Wire::Hang => tokio::time::sleep(Duration::from_secs(30)).await,
                    Wire::Reset | Wire::Close => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\"").await;
                        let _ = stream.flush().await;
                        if matches!(wire, Wire::Reset) {
                            #[allow(deprecated, reason = "closing with a reset is the point, and nothing waits for it")]
                            let _ = stream.set_linger(Some(Duration::ZERO));
                        }
                    }
                    Wire::Trickle | Wire::Flood => {
                        let _ = stream.write_all(chunked).await;
                        let piece = if matches!(wire, Wire::Flood) { 60_000 } else { 1 };
                        let chunk = format!("{piece:x}\r\n{}\r\n", " ".repeat(piece));
                        while stream.write_all(chunk.as_bytes()).await.is_ok() {
                            if matches!(wire, Wire::Trickle) {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        }
                    }
                    Wire::Gibberish => {
                        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
                    }
                }
            });
        }
    });
    (url, connections)
}

/// Settings for a server at `url`, with short waits.
pub fn settings(url: &str) -> Settings {
    Settings {
        provider: Provider::OpenAi,
        base_url: Some(format!("{url}/v1").parse().unwrap()),
        model: Some("m".to_owned()),
        api_key: Some(baton_llm::Secret::new(KEY)),
        timeout: Duration::from_millis(400),
        timeout_is_set: true,
        deadline: Duration::from_secs(3),
        deadline_is_set: true,
        backoff: Backoff { base: Duration::from_millis(2), cap: Duration::from_millis(10) },
        ..Settings::default()
    }
}

/// The same for a server that speaks the protocol of `provider`.
pub fn settings_of(provider: Provider, url: &str) -> Settings {
    Settings { provider, ..settings(url) }
}

pub fn llm(url: &str) -> Llm {
    Llm::new(settings(url))
}
