//! Sees decisions arrive, as a consumer of all topics that `route_messages` writes, and that each arrives once, in its
//! place.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::Outcome;
use crate::kafka::{Kafka, client};
use crate::load::{NUMBER, STAMP, marked};
use crate::stub::ROUTES;

/// The topics where a decision leads, and the one where all decisions are. The first five are those of [`ROUTES`].
pub const PLACES: [&str; 9] = [
    ROUTES[0].2,
    ROUTES[1].2,
    ROUTES[2].2,
    ROUTES[3].2,
    ROUTES[4].2,
    "unrouted",
    "halted",
    "dead_letters",
    "agent_predictions",
];

/// Where all decisions are.
const PREDICTIONS: &str = PLACES[8];

/// How long nothing may come.
const SILENCE: Duration = Duration::from_mins(1);

/// A consumer of what is written from now on.
pub struct Receipts {
    consumer: BaseConsumer,
}

/// A message in an agent's topic.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    pub number: u64,
    pub at: Instant,
    /// What its sender has stamped it with: nanoseconds since an epoch.
    pub stamp: Duration,
}

/// How soon what is written is seen: at once, or in batches that cost the machine less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eagerness {
    AtOnce,
    InBatches,
}

impl Receipts {
    pub fn from_now(kafka: &Kafka, eagerness: Eagerness) -> Outcome<Self> {
        let (bytes, wait) = if eagerness == Eagerness::AtOnce { ("1", "500") } else { ("1000000", "20") };
        let consumer: BaseConsumer = client(kafka.servers())
            .set("group.id", "bench-receipts")
            .set("enable.auto.commit", "false")
            .set("fetch.min.bytes", bytes)
            .set("fetch.wait.max.ms", wait)
            .create()?;
        consumer.assign(&kafka.ends(&PLACES)?)?;
        // The first look connects and finds the leaders; it is not to be part of what is measured.
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            if consumer.poll(Duration::from_millis(50)).is_some() {
                return Err("something else writes to the topics".into());
            }
        }
        Ok(Self { consumer })
    }

    /// Waits until each of these messages stands in its agent's topic and among the decisions, once. `progress` is told
    /// of each that arrives with its agent, and of how many did so far.
    pub fn await_all(
        &self,
        numbers: std::ops::Range<u64>,
        mut progress: impl FnMut(Receipt, u64) -> Outcome<()>,
    ) -> Outcome<()> {
        let count = usize::try_from(numbers.end - numbers.start)?;
        let (mut placed, mut decided) = (vec![false; count], 0);
        let mut arrived = 0;
        let mut last = Instant::now();
        while arrived < count || decided < count {
            let Some(message) = self.consumer.poll(Duration::from_millis(100)) else {
                if last.elapsed() > SILENCE {
                    return Err(format!("of {count} messages {arrived} arrived and {decided} were decided on").into());
                }
                continue;
            };
            let message = message?;
            let at = Instant::now();
            last = at;
            if message.topic() == PREDICTIONS {
                decided += 1;
                continue;
            }
            let payload = message.payload().unwrap_or_default();
            let number = marked(payload, NUMBER).filter(|number| numbers.contains(number));
            let place = number.map(|number| PLACES[usize::try_from(number).unwrap_or(0) % ROUTES.len()]);
            let (Some(number), Some(stamp)) = (number, marked(payload, STAMP)) else {
                return Err(strange(&message, "nobody sent it"));
            };
            if place != Some(message.topic()) {
                return Err(strange(&message, "it belongs elsewhere"));
            }
            let index = usize::try_from(number - numbers.start)?;
            if std::mem::replace(&mut placed[index], true) {
                return Err(strange(&message, "it is there twice"));
            }
            arrived += 1;
            progress(Receipt { number, at, stamp: Duration::from_nanos(stamp) }, arrived as u64)?;
        }
        Ok(())
    }
}

fn strange(message: &impl Message, why: &str) -> Box<dyn std::error::Error + Send + Sync> {
    let payload = String::from_utf8_lossy(message.payload().unwrap_or_default());
    let shown: String = payload.chars().take(600).collect();
    format!("a message in {}: {why}: {shown}", message.topic()).into()
}
