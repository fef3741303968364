//! Runs of `route_messages`, by Baton and by the bare loop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::child::{Child, Usage};
use crate::kafka::Kafka;
use crate::load::{fill, message, pace};
use crate::options::Side;
use crate::receipts::{Eagerness, Receipt, Receipts};
use crate::stub::{Stub, Told};

/// Where messages are put, and the group that reads them.
pub const FROM: &str = "agent_messages";
const GROUP: &str = "route_messages";

/// How long a start may take.
const START: Duration = Duration::from_mins(1);

/// The share of a load that is the start of a run, and the share after which its end begins: neither is measured.
const STEADY: std::ops::Range<f64> = 0.2..0.9;

/// How many messages a second come when latency is measured, and how many of them come first and are not counted.
pub const PACE: u32 = 100;
const UNCOUNTED: u64 = 200;

/// What all runs share.
pub struct Bench<'a> {
    pub kafka: &'a Kafka,
    pub stub: &'a Stub,
    pub latency: Duration,
    pub baton: PathBuf,
    pub loop_threads: usize,
    /// The number of the next message: no two runs have one in common.
    pub next_number: u64,
    /// What stamps are counted from.
    pub epoch: Instant,
}

/// A run under full load.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    pub a_second: f64,
    pub cpu_a_message: Duration,
    pub peak: u64,
    pub told: Told,
    pub stub_cpu_a_call: Duration,
}

/// A run at a steady pace.
#[derive(Debug, Clone)]
pub struct Latency {
    /// From the start of the process to the moment at which its first decision could be made.
    pub ready: Duration,
    /// To the line in its log that says that everything is open.
    pub running: Option<Duration>,
    /// What is added to the model's time, for each message, in order of size.
    pub added: Vec<Duration>,
    pub cpu_a_message: Duration,
    pub told: Told,
}

impl Bench<'_> {
    fn start(&self, side: Side, in_flight: u64) -> Outcome<Child> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        match side {
            Side::Baton => {
                let arguments = ["run", "route_messages", "--create-topics"].map(str::to_owned);
                let settings = [
                    ("KAFKA_BOOTSTRAP_SERVERS", self.kafka.servers().to_owned()),
                    ("BATON_LLM_BASE_URL", self.stub.url()),
                    ("BATON_LLM_MODEL", "stub".to_owned()),
                    ("BATON_LLM_CONCURRENCY", in_flight.to_string()),
                ];
                Child::start("baton", &self.baton, root, &arguments, &settings)
            }
            Side::Bare => {
                let arguments = [
                    "loop".to_owned(),
                    format!("--servers={}", self.kafka.servers()),
                    format!("--model={}", self.stub.url()),
                    format!("--in-flight={in_flight}"),
                    format!("--threads={}", self.loop_threads),
                ];
                Child::start("the bare loop", &std::env::current_exe()?, root, &arguments, &[])
            }
        }
    }

    fn numbers(&mut self, count: u64) -> std::ops::Range<u64> {
        let first = self.next_number;
        self.next_number += count;
        first..self.next_number
    }

    /// All messages stand in the topic before the process starts; the rate is that of the middle of what arrives.
    pub fn throughput(&mut self, side: Side, in_flight: u64, count: u64) -> Outcome<Throughput> {
        let numbers = self.numbers(count);
        self.kafka.place_group(GROUP, FROM, true)?;
        let messages = numbers.clone().map(|number| message(number, Duration::ZERO));
        fill(self.kafka.servers(), FROM, messages.map(|(key, message)| (Some(key), message)))?;
        let receipts = Receipts::from_now(self.kafka, Eagerness::InBatches)?;
        self.stub.told()?;
        let stub_before = self.stub.child.usage()?;
        let child = self.start(side, in_flight)?;
        let steady = [STEADY.start, STEADY.end].map(|share| (count as f64 * share) as u64);
        let mut marks: Vec<(Instant, Usage)> = Vec::new();
        receipts
            .await_all(numbers, |receipt: Receipt, arrived| {
                if steady.contains(&arrived) {
                    marks.push((receipt.at, child.usage()?));
                }
                Ok(())
            })
            .map_err(|error| child.trouble(&format!("did not route everything ({error})")))?;
        let peak = child.usage()?.peak;
        child.end()?;
        let told = self.stub.told()?;
        let stub_cpu = self.stub.child.usage()?.cpu.saturating_sub(stub_before.cpu);
        let [(began, before), (ended, after)] = marks[..] else { return Err("the load is too small".into()) };
        let measured = steady[1] - steady[0];
        Ok(Throughput {
            a_second: measured as f64 / (ended - began).as_secs_f64(),
            cpu_a_message: after.cpu.saturating_sub(before.cpu).div_f64(measured as f64),
            peak,
            told,
            stub_cpu_a_call: stub_cpu.div_f64(told.calls.max(1) as f64),
        })
    }

    /// One message stands in the topic when the process starts, which shows how long that takes; then they come evenly.
    pub fn latency(&mut self, side: Side, in_flight: u64, count: u64) -> Outcome<Latency> {
        self.kafka.place_group(GROUP, FROM, true)?;
        let first = self.numbers(1);
        let (key, text) = message(first.start, Duration::ZERO);
        fill(self.kafka.servers(), FROM, std::iter::once((Some(key), text)))?;
        let receipts = Receipts::from_now(self.kafka, Eagerness::AtOnce)?;
        let child = self.start(side, in_flight)?;
        let running = match side {
            Side::Baton => Some(child.wait_for("running pipelines=", START)?),
            Side::Bare => None,
        };
        let mut seen = child.started();
        receipts
            .await_all(first, |receipt, _| {
                seen = receipt.at;
                Ok(())
            })
            .map_err(|error| child.trouble(&format!("did not route the first message ({error})")))?;
        let ready = (seen - child.started()).saturating_sub(self.latency);
        self.stub.told()?;
        let numbers = self.numbers(count + UNCOUNTED);
        let (before, epoch) = (child.usage()?, self.epoch);
        let (sent, sender) = mpsc::channel();
        let pacing = {
            let (servers, numbers) = (self.kafka.servers().to_owned(), numbers.clone());
            thread::spawn(move || {
                let _ = sent.send(pace(&servers, FROM, numbers, PACE, epoch).map_err(|error| error.to_string()));
            })
        };
        let mut added = Vec::new();
        let counted_from = numbers.start + UNCOUNTED;
        receipts
            .await_all(numbers, |receipt, _| {
                if receipt.number >= counted_from {
                    let since = receipt.at.saturating_duration_since(epoch);
                    added.push(since.saturating_sub(receipt.stamp).saturating_sub(self.latency));
                }
                Ok(())
            })
            .map_err(|error| child.trouble(&format!("did not route everything ({error})")))?;
        let _ = pacing.join();
        sender.recv()??;
        let used = child.usage()?.cpu.saturating_sub(before.cpu);
        child.end()?;
        added.sort_unstable();
        let told = self.stub.told()?;
        Ok(Latency { ready, running, added, cpu_a_message: used.div_f64((count + UNCOUNTED) as f64), told })
    }
}

/// Compiles what the pipeline calls, so that no run waits for a compiler.
pub fn build(baton: &Path) -> Outcome<()> {
    let built = Command::new(baton)
        .args(["build", "llm_classify", "contract_error"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    if built.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&built.stderr).into()) }
}
