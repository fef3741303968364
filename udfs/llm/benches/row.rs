//! Measures the CPU time per row of the library alone, on this thread: `cargo bench --bench row` in udfs/.
//!
//! There is no network: a function or the offline method answers instead of a server. There are 10 agents, and the
//! messages have 1 kB and are all different, as in route_messages. `--rows N` sets the number of measured rows (20000),
//! `--format json` prints one object.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark ends where something is wrong")]

use baton_llm::settings::Provider;
use baton_llm::{Llm, Settings, Status};
use serde_json::json;
use std::time::{Duration, Instant};

/// The parts of the work that are switched on.
struct Case {
    name: &'static str,
    goal_us: Option<f64>,
    logprobs: bool,
    limits: bool,
    log: bool,
    offline: bool,
}

const CASES: &[Case] = &[
    Case { name: "classify", goal_us: Some(20.0), logprobs: false, limits: false, log: false, offline: false },
    Case {
        name: "classify, log-probabilities",
        goal_us: None,
        logprobs: true,
        limits: false,
        log: false,
        offline: false,
    },
    Case {
        name: "classify, budget and rates",
        goal_us: None,
        logprobs: false,
        limits: true,
        log: false,
        offline: false,
    },
    Case {
        name: "classify, found in the decision log",
        goal_us: None,
        logprobs: false,
        limits: false,
        log: true,
        offline: false,
    },
    Case { name: "classify, offline", goal_us: Some(50.0), logprobs: false, limits: false, log: false, offline: true },
];

fn agents() -> String {
    let agent = |number: usize| {
        json!({
            "name": format!("Agent {number} of the team"),
            "description": "Takes what comes, looks at it from all sides, and writes down what it has found out about it",
            "input": "A text in which somebody says what they want, who they are and when they want to have it",
        })
    };
    serde_json::to_string(&(0..10).map(agent).collect::<Vec<_>>()).unwrap()
}

fn message(number: usize) -> String {
    let mut text = format!("Message {number}. ");
    while text.len() < 1000 {
        text.push_str("We move our warehouse & would like to hear what it costs <per month>. ");
    }
    text.truncate(1000);
    text
}

/// A completion that names the third agent, with log-probabilities if requested.
fn completion(logprobs: bool) -> Vec<u8> {
    let tokens = ["{\"", "agent", "\":\"", "Agent", " ", "3", " of", " the", " team", "\"}"];
    let content: Vec<_> = tokens
        .iter()
        .map(|token| {
            let alternatives: Vec<_> = ["0", "1", "3", "7", "9"]
                .iter()
                .map(|digit| if *token == "3" { *digit } else { *token })
                .enumerate()
                .map(|(index, token)| {
                    json!({"token": token, "logprob": -0.25 * (index + 1) as f64, "bytes": token.as_bytes()})
                })
                .collect();
            json!({"token": token, "logprob": -0.5, "bytes": token.as_bytes(), "top_logprobs": alternatives})
        })
        .collect();
    let message = json!({"role": "assistant", "content": tokens.concat(), "refusal": null});
    let mut choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    if logprobs {
        choice["logprobs"] = json!({"content": content, "refusal": null});
    }
    serde_json::to_vec(&json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_800_000_000, "model": "m-2026-01-01",
        "choices": [choice],
        "usage": {"prompt_tokens": 900, "completion_tokens": 10, "total_tokens": 910},
    }))
    .unwrap()
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

async fn measure(case: &Case, rows: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings {
        provider: Provider::OpenAi,
        base_url: Some("http://model.invalid/v1".parse().unwrap()),
        model: Some("m".to_owned()),
        ..Settings::default()
    };
    if case.offline {
        settings.provider = Provider::Offline;
    }
    if case.limits {
        settings.limits.state_dir = Some(folder.path().to_owned());
        settings.limits.budget_tokens = Some(1_000_000_000_000);
        settings.limits.tokens_per_minute = Some(1_000_000_000_000);
    }
    if case.log {
        settings.limits.decision_log = Some(folder.path().join("decisions.jsonl"));
    }
    let body = completion(case.logprobs);
    let llm = Llm::rehearsed(settings, move |_| body.clone());
    let agents = agents();
    let texts: Vec<String> = (0..rows).map(message).collect();
    if case.log {
        // Many at once, as the log is written: answers that arrive together go to the disk together.
        for some in texts.chunks(1000) {
            let asked = some.iter().map(|text| llm.classify(Some(text), Some(&agents), Some("{}")));
            futures::future::join_all(asked).await;
        }
    } else {
        for text in texts.iter().take(rows / 10) {
            llm.classify(Some(text), Some(&agents), Some("{}")).await;
        }
    }
    let (started, before) = (Instant::now(), cpu());
    for text in &texts {
        let result = llm.classify(Some(text), Some(&agents), Some("{}")).await;
        let json = serde_json::to_string(&result).unwrap();
        assert!(result.status == Status::Ok && json.len() > 100, "{json}");
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
    (each(cpu() - before), each(started.elapsed()))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let rows = after("--rows").map_or(20_000, |rows| rows.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut results = Vec::new();
    for case in CASES {
        let (cpu, wall) = runtime.block_on(measure(case, rows));
        results.push(json!({"case": case.name, "cpu_us": cpu, "wall_us": wall, "goal_us": case.goal_us}));
    }
    if after("--format").is_some_and(|format| format == "json") {
        println!("{}", json!({"rows": rows, "message_bytes": 1000, "agents": 10, "cases": results}));
        return;
    }
    println!("{rows} rows, messages of 1000 bytes, 10 agents; microseconds a row");
    for result in &results {
        let goal = result["goal_us"].as_f64().map_or(String::new(), |goal| format!("   goal: {goal:.0}"));
        let number = |key: &str| result[key].as_f64().unwrap();
        let name = result["case"].as_str().unwrap();
        println!("{name:<40} CPU {:>6.1}   by the clock {:>6.1}{goal}", number("cpu_us"), number("wall_us"));
    }
}
