//! The model: an HTTP server that answers every chat completion after a fixed time, by the first words of the message.
//!
//! A thread a connection, blocking: it reads a request, sleeps until its answer is due, writes it. That costs two system
//! calls and a timer of nanoseconds a call, so that neither a timer wheel's millisecond nor an HTTP library is measured.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::child::Child;
use crate::options::StubOptions;

/// What the first words of a message lead to. The places are those of `pipelines/route_messages.sql`.
pub const ROUTES: [(&str, &str, &str); 5] = [
    ("New, raw lead", "Lead Ingestion Agent", "lead_ingestion"),
    ("Research report on a lead", "Lead Scoring Agent", "lead_scoring"),
    ("Scored lead whose next step is Actively Engage", "Active Outreach Agent", "active_outreach"),
    ("Scored lead whose next step is Nurture", "Nurture Campaign Agent", "nurture_campaign"),
    ("One finished e-mail", "Send Email Agent", "send_email"),
];

/// What has been asked of it since the last time that this was read.
#[derive(Debug, Default)]
struct Seen {
    calls: AtomicU64,
    request_bytes: AtomicU64,
    connections: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    /// By how many microseconds answers were late, in powers of two.
    late: [AtomicU64; 24],
}

/// What the runner is told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub calls: u64,
    pub request_bytes: u64,
    /// Connections that were opened.
    pub connections: u64,
    pub peak_in_flight: u64,
    /// Half of the answers, and all but a hundredth, were written at most this much after they were due.
    pub late_p50: Duration,
    pub late_p99: Duration,
}

/// The stub as a child.
pub struct Stub {
    pub child: Child,
    address: SocketAddr,
}

impl Stub {
    pub fn start(latency: Duration) -> Outcome<Self> {
        let dir = tempfile::TempDir::new()?;
        let port_file = dir.path().join("port");
        let arguments = [
            "stub".to_owned(),
            format!("--latency-ms={}", latency.as_millis()),
            format!("--port-file={}", port_file.display()),
        ];
        let child = Child::start("the stub model", &std::env::current_exe()?, dir.path(), &arguments, &[])?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(port) = fs::read_to_string(&port_file).unwrap_or_default().trim().parse::<u16>() {
                return Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) });
            }
            if Instant::now() > deadline {
                return Err(child.trouble("did not start"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `BATON_LLM_BASE_URL` is set to.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What it has seen since this was last asked.
    pub fn told(&self) -> Outcome<Told> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET /stats HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let told: Value = serde_json::from_str(body)?;
        let number = |key: &str| told[key].as_u64().ok_or_else(|| format!("the stub says no `{key}`"));
        let late: Vec<u64> = told["late"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        Ok(Told {
            calls: number("calls")?,
            request_bytes: number("request_bytes")?,
            connections: number("connections")?,
            peak_in_flight: number("peak_in_flight")?,
            late_p50: quantile(&late, 0.5),
            late_p99: quantile(&late, 0.99),
        })
    }
}

/// The upper end of the power of two that so much of all lies below.
fn quantile(powers: &[u64], share: f64) -> Duration {
    let total: u64 = powers.iter().sum();
    let mut sum = 0;
    for (power, count) in powers.iter().enumerate() {
        sum += count;
        if sum as f64 >= share * total as f64 {
            return Duration::from_micros(1 << power);
        }
    }
    Duration::ZERO
}

/// Serves until it is ended.
pub fn run(options: &StubOptions) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let written = options.port_file.with_extension("new");
    fs::write(&written, listener.local_addr()?.port().to_string())?;
    fs::rename(written, &options.port_file)?;
    let latency = Duration::from_millis(options.latency_ms);
    let seen = Arc::new(Seen::default());
    for stream in listener.incoming() {
        let (stream, seen) = (stream?, Arc::clone(&seen));
        thread::Builder::new().stack_size(64 << 10).spawn(move || {
            // A client that goes away ends its connection.
            let _ = serve(&stream, latency, &seen);
        })?;
    }
    Ok(())
}

fn serve(stream: &TcpStream, latency: Duration, seen: &Seen) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(16 << 10, stream);
    let (mut head, mut body, mut answer) = (String::new(), Vec::new(), Vec::new());
    let mut is_new = true;
    loop {
        let Some((path, length)) = read_head(&mut reader, &mut head)? else { return Ok(()) };
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        if path == "/stats" {
            let told = seen.tell().to_string();
            write!(&*stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{told}", told.len())?;
            return Ok(());
        }
        let due = Instant::now() + latency;
        let in_flight = seen.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        seen.peak_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        seen.calls.fetch_add(1, Ordering::Relaxed);
        seen.connections.fetch_add(std::mem::take(&mut is_new).into(), Ordering::Relaxed);
        seen.request_bytes.fetch_add(length as u64, Ordering::Relaxed);
        let agent = agent_for(&body);
        let content = format!("{{\\\"agent\\\":\\\"{agent}\\\"}}");
        let json = format!(
            r#"{{"model":"stub-1","choices":[{{"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{},"completion_tokens":8}}}}"#,
            length / 4
        );
        answer.clear();
        write!(
            answer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        )?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        seen.in_flight.fetch_sub(1, Ordering::Relaxed);
        (&*stream).write_all(&answer)?;
        let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let power = usize::try_from(late.next_power_of_two().trailing_zeros()).unwrap_or(usize::MAX);
        seen.late[power.min(seen.late.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// The path and the body's length; `None` when the client has closed the connection.
fn read_head(reader: &mut impl BufRead, line: &mut String) -> Outcome<Option<(String, usize)>> {
    line.clear();
    if reader.read_line(line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).ok_or("no path")?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(line)?;
        let header = line.trim_end();
        if header.is_empty() {
            return Ok(Some((path, length)));
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
}

/// An agent by the first words of the message, which stands behind `<message>`.
fn agent_for(body: &[u8]) -> &'static str {
    const BEFORE: &[u8] = b"<message>\\n";
    let mut found = "NONE";
    // The instruction before it names the tag too, so the last one counts.
    let mut at = body.len().saturating_sub(BEFORE.len());
    while at > 0 {
        if body[at..].starts_with(BEFORE) {
            let message = &body[at + BEFORE.len()..];
            if let Some((_, agent, _)) = ROUTES.iter().find(|(words, ..)| message.starts_with(words.as_bytes())) {
                found = agent;
            }
            break;
        }
        at -= 1;
    }
    found
}

impl Seen {
    fn tell(&self) -> Value {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        json!({
            "calls": take(&self.calls),
            "request_bytes": take(&self.request_bytes),
            "connections": take(&self.connections),
            "peak_in_flight": take(&self.peak_in_flight),
            "late": self.late.iter().map(take).collect::<Vec<_>>(),
        })
    }
}
