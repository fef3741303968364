//! The command line: what to measure, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what Baton costs over a hand-written loop, on a real Kafka and a model of fixed latency.
#[derive(Debug, Parser)]
#[command(name = "route", max_term_width = 100)]
pub struct Arguments {
    /// Small counts, one run a side: shows that everything works, in under a minute. Its figures mean little.
    #[arg(long)]
    pub quick: bool,
    /// What is printed to standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// A broker, `host:port`, which holds none of the topics that are used; they are deleted at the end. Without it, one
    /// is started (`tests/broker/install` brings it).
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    pub broker: Option<String>,
    /// How often each side runs; figures are medians.
    #[arg(long)]
    pub repeat: Option<usize>,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Only this side, without goals: to look into one.
    #[arg(long, value_enum)]
    pub side: Option<Side>,
    /// How long the model takes for an answer, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pub latency_ms: u64,
    /// How long a run under full load lasts, in seconds at the limit.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// A `baton` other than the one that cargo built.
    #[arg(long)]
    pub baton: Option<PathBuf>,
    /// How many threads the bare loop's tasks run on; without it as many as were found best.
    #[arg(long, default_value_t = 1)]
    pub loop_threads: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub role: Option<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Messages a second with 200 calls in flight.
    Throughput,
    /// The same with 1,000.
    Throughput1000,
    /// What is added to the model's time at 100 messages a second, and how long a start takes.
    Latency,
    /// Without a UDF: each message to one of five topics.
    Split,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Side {
    Baton,
    /// The yardstick: the bare loop, and the copy.
    Bare,
}

/// The programs that the runner starts.
#[derive(Debug, Subcommand)]
pub enum Role {
    #[command(hide = true)]
    Stub(StubOptions),
    #[command(hide = true)]
    Loop(LoopOptions),
    #[command(hide = true)]
    Copy(CopyOptions),
}

/// The model.
#[derive(Debug, Args)]
pub struct StubOptions {
    #[arg(long)]
    pub latency_ms: u64,
    /// Where its port is written.
    #[arg(long)]
    pub port_file: PathBuf,
}

/// The yardstick of routing.
#[derive(Debug, Args)]
pub struct LoopOptions {
    #[arg(long)]
    pub servers: String,
    #[arg(long)]
    pub model: String,
    #[arg(long)]
    pub in_flight: usize,
    #[arg(long)]
    pub threads: usize,
}

/// The yardstick of splitting.
#[derive(Debug, Args)]
pub struct CopyOptions {
    #[arg(long)]
    pub servers: String,
    #[arg(long)]
    pub from: String,
    #[arg(long)]
    pub to: String,
    #[arg(long)]
    pub group: String,
}

impl Arguments {
    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    pub fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub fn sides(&self) -> Vec<Side> {
        self.side.map_or_else(|| vec![Side::Baton, Side::Bare], |side| vec![side])
    }

    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    pub fn repeat(&self) -> usize {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    /// How many messages a run with so many calls in flight takes.
    pub fn load(&self, in_flight: u64) -> u64 {
        let seconds = self.seconds.unwrap_or(if self.quick { 2 } else { 15 });
        (in_flight * 1000 / self.latency_ms.max(1) * seconds).max(100)
    }

    /// How many messages are sent one by one to measure latency.
    pub fn paced(&self) -> u64 {
        if self.quick { 300 } else { self.seconds.unwrap_or(25) * 100 }
    }

    /// How many messages are split.
    pub fn split(&self) -> u64 {
        if self.quick { 50_000 } else { 1_000_000 }
    }
}
