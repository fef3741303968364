//! Runs without a UDF: each message to one of five topics by Baton, and all to one by a plain copy.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::child::Child;
use crate::kafka::Kafka;
use crate::load::{KINDS, event, fill};
use crate::options::Side;

pub const FROM: &str = "bench_events";
/// Where `split.sql` puts each kind.
pub const PLACES: [&str; 5] = ["bench_orders", "bench_refunds", "bench_shipments", "bench_reviews", "bench_visits"];
/// Where the copy goes.
pub const COPY: &str = "bench_copy";

const GROUP: &str = "bench_split";

/// How long nothing may happen.
const SILENCE: Duration = Duration::from_mins(1);

/// The share of the messages between which the rate is taken.
const STEADY: std::ops::Range<f64> = 0.2..0.9;

/// One side's run.
#[derive(Debug, Clone)]
pub struct Split {
    pub a_second: f64,
    pub cpu_a_message: Duration,
    pub peak: u64,
    /// The memory that it held when each tenth was done.
    pub resident: Vec<u64>,
}

/// Puts as many events into the topic as all runs read.
pub fn prepare(kafka: &Kafka, count: u64) -> Outcome<()> {
    fill(kafka.servers(), FROM, (0..count).map(|number| (None, event(number))))
}

/// Reads all of them once. What is done is what stands in the topics that are written, read as their ends.
pub fn run(kafka: &Kafka, side: Side, baton: &Path, count: u64) -> Outcome<Split> {
    kafka.place_group(GROUP, FROM, false)?;
    let places: Vec<&str> = if side == Side::Baton { PLACES.to_vec() } else { vec![COPY] };
    let before = kafka.count(&places)?;
    let kinds: Vec<u64> = places.iter().map(|place| kafka.count(&[place])).collect::<Outcome<_>>()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let child = match side {
        Side::Baton => {
            let arguments = ["run".to_owned(), "benches/route/split.sql".to_owned()];
            let settings = [("KAFKA_BOOTSTRAP_SERVERS", kafka.servers().to_owned())];
            Child::start("baton", baton, root, &arguments, &settings)?
        }
        Side::Bare => {
            let arguments = [
                "copy".to_owned(),
                format!("--servers={}", kafka.servers()),
                format!("--from={FROM}"),
                format!("--to={COPY}"),
                format!("--group={GROUP}"),
            ];
            Child::start("the copy", &std::env::current_exe()?, root, &arguments, &[])?
        }
    };
    let mut samples = vec![(Instant::now(), 0, child.usage()?)];
    let mut moved = Instant::now();
    loop {
        let done = kafka.count(&places)? - before;
        let now = Instant::now();
        if samples.last().is_some_and(|(_, last, _)| *last < done) {
            moved = now;
            samples.push((now, done, child.usage()?));
        }
        if done >= count {
            break;
        }
        if !child.is_alive() || moved.elapsed() > SILENCE {
            return Err(child.trouble(&format!("has done {done} of {count}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let peak = child.usage()?.peak;
    let deadline = Instant::now() + SILENCE;
    while kafka.committed(GROUP, FROM)? < count {
        if Instant::now() > deadline {
            return Err(child.trouble("does not commit what it has done"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    child.end()?;
    if side == Side::Baton {
        for ((place, kind), before) in PLACES.iter().zip(0_u64..).zip(kinds) {
            let wanted = (0..count).filter(|number| number % KINDS.len() as u64 == kind).count() as u64;
            let there = kafka.count(&[place])? - before;
            if there != wanted {
                return Err(format!("{there} messages came to {place}, not {wanted}").into());
            }
        }
    }
    let at = |share: f64| samples.iter().find(|(_, done, _)| *done as f64 >= share * count as f64);
    let (Some((began, first, used)), Some((ended, last, used_then))) = (at(STEADY.start), at(STEADY.end)) else {
        return Err("the load is too small".into());
    };
    let measured = (last - first).max(1) as f64;
    Ok(Split {
        a_second: measured / (*ended - *began).as_secs_f64().max(f64::EPSILON),
        cpu_a_message: used_then.cpu.saturating_sub(used.cpu).div_f64(measured),
        peak,
        resident: (1..=10).filter_map(|tenth| Some(at(f64::from(tenth) / 10.0)?.2.resident)).collect(),
    })
}
