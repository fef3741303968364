//! The limit in simulation: servers of all kinds, with a fixed seed, and always enough to do.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A random number generator (xorshift), so that a run can be repeated.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A simulated server.
#[derive(Debug, Clone, Copy)]
struct Server {
    /// The calls that it works on at a time; others wait in its queue.
    parallel: usize,
    /// The mean time of its work on a call, in seconds.
    takes: f64,
    /// The spread of that time: 0 for none, 1 for an exponential part as large as the mean.
    jitter: f64,
    /// Calls that it accepts in a second, and at once.
    rate: Option<(f64, f64)>,
    /// Whether it says in `Retry-After` when the next call is accepted, in whole seconds.
    says_when: bool,
    /// The calls that may be in flight; it refuses more.
    most_in_flight: usize,
    /// The share of calls that it refuses by chance.
    faults: f64,
}

const SERVER: Server = Server {
    parallel: usize::MAX,
    takes: 1.0,
    jitter: 0.0,
    rate: None,
    says_when: false,
    most_in_flight: usize::MAX,
    faults: 0.0,
};

/// What came of a simulation.
#[derive(Debug, Default)]
struct Report {
    done: usize,
    refused: usize,
    timed_out: usize,
}

/// Seconds as a key of a heap.
#[derive(PartialEq)]
struct At(f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

const TIMEOUT: f64 = 30.0;

/// Runs for so many seconds with `most` rows that always have a next call.
fn simulate(server: Server, most: usize, seconds: f64, seed: u64) -> Report {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut control = Control::new(most, Some(TIMEOUT));
    let mut report = Report::default();
    // When each of the server's workers is free; made as they are needed.
    let mut workers: BinaryHeap<Reverse<At>> = BinaryHeap::new();
    let mut flights: BinaryHeap<(Reverse<At>, u64)> = BinaryHeap::new();
    let mut ends: std::collections::HashMap<u64, (Flight, Outcome, Option<f64>)> = std::collections::HashMap::new();
    let mut bucket = server.rate.map_or(0.0, |(_, burst)| burst);
    let (mut filled, mut now, mut number, mut at_server) = (0.0, 0.0, 0_u64, 0_usize);
    while now < seconds {
        let wait = match control.start(now) {
            Ok(flight) => {
                number += 1;
                let mut refusal = None;
                if let Some((rate, burst)) = server.rate {
                    bucket = f64::min(burst, bucket + (now - filled) * rate);
                    filled = now;
                    if bucket < 1.0 {
                        refusal = Some(server.says_when.then(|| ((1.0 - bucket) / rate).ceil().max(1.0)));
                    } else {
                        bucket -= 1.0;
                    }
                }
                if at_server >= server.most_in_flight || random.uniform() < server.faults {
                    refusal = refusal.or(Some(None));
                }
                let (end, outcome, retry_after) = match refusal {
                    Some(retry_after) => (now + 0.02, Outcome::Refused, retry_after),
                    None => {
                        let exponential = (-random.uniform().max(1e-12).ln()).min(4.0);
                        let work = server.takes * (1.0 - server.jitter + server.jitter * exponential);
                        let begin = if workers.len() < server.parallel {
                            now
                        } else {
                            workers.pop().map_or(now, |Reverse(At(free))| free.max(now))
                        };
                        workers.push(Reverse(At(begin + work)));
                        while workers.peek().is_some_and(|Reverse(At(free))| *free <= now) {
                            workers.pop();
                        }
                        if begin + work - now > TIMEOUT {
                            (now + TIMEOUT, Outcome::TimedOut, None)
                        } else {
                            (begin + work, Outcome::Done, None)
                        }
                    }
                };
                at_server += 1;
                ends.insert(number, (flight, outcome, retry_after));
                flights.push((Reverse(At(end)), number));
                continue;
            }
            Err(wait) => wait,
        };
        let next_end = flights.peek().map(|(Reverse(At(end)), _)| *end);
        let next = match (wait.map(|wait| now + wait.max(1e-6)), next_end) {
            (Some(turn), Some(end)) if turn < end => {
                now = turn;
                continue;
            }
            (Some(turn), None) => {
                now = turn;
                continue;
            }
            (_, Some(end)) => end,
            (None, None) => panic!("nobody is in flight, and no call may start"),
        };
        now = next;
        let (_, number) = flights.pop().unwrap();
        let (flight, outcome, retry_after) = ends.remove(&number).unwrap();
        at_server -= 1;
        match outcome {
            Outcome::Done => report.done += 1,
            Outcome::Refused => report.refused += 1,
            _ => report.timed_out += 1,
        }
        control.end(flight, outcome, retry_after, now);
    }
    report
}

/// The share of the best possible throughput that was reached in the worst of some runs. No call timed out.
#[track_caller]
fn share(server: Server, most: usize, seconds: f64) -> f64 {
    let slots = server.parallel.min(most).min(server.most_in_flight) as f64;
    let best = server.rate.map_or(f64::MAX, |(rate, burst)| rate + burst / seconds).min(slots / server.takes);
    let mut worst = f64::MAX;
    for seed in 1..=3 {
        let report = simulate(server, most, seconds, seed);
        assert_eq!(report.timed_out, 0, "{server:?}, at most {most}, seed {seed}: {report:?}");
        worst = worst.min(report.done as f64 / (best * seconds));
    }
    println!("{:5.1} % of the best: {server:?}, at most {most}", worst * 100.0);
    worst
}

#[test]
fn fixed_parallelism_is_found() {
    for (parallel, takes, most) in [
        (1_usize, 2.0_f64, 64_usize),
        (1, 1.0, 64),
        (1, 3.0, 64),
        (1, 0.05, 64),
        (16, 3.0, 64),
        (4, 1.0, 64),
        (4, 0.3, 64),
        (64, 1.0, 64),
        (64, 0.2, 300),
        (usize::MAX, 1.0, 64),
        (usize::MAX, 0.5, 300),
        (usize::MAX, 0.05, 64),
    ] {
        for jitter in [0.0, 0.3, 0.8] {
            // Enough calls for the first steps to weigh little, and not more than a debug build can simulate.
            let calls = 150_000.0 / parallel.min(most) as f64;
            let seconds = takes * calls.clamp(500.0, 600.0);
            let share = share(Server { parallel, takes, jitter, ..SERVER }, most, seconds);
            assert!(share >= 0.9, "{share}");
        }
    }
}

#[test]
fn a_rate_is_found() {
    for says_when in [false, true] {
        for (rate, burst) in
            [(1.0, 1.0), (1.0, 60.0), (10.0, 1.0), (10.0, 10.0), (10.0, 600.0), (100.0, 10.0), (0.2, 1.0)]
        {
            for jitter in [0.0, 0.5] {
                let server = Server { rate: Some((rate, burst)), says_when, takes: 0.4, jitter, ..SERVER };
                let share = share(server, 64, if burst > 1.0 { 600.0 } else { 1500.0 / f64::min(rate, 1.0) });
                assert!(share >= 0.9, "{share}");
            }
        }
    }
}

#[test]
fn a_most_in_flight_is_found() {
    // A rate is looked for first.
    for most_in_flight in [1, 2, 5, 20] {
        let share = share(Server { most_in_flight, takes: 0.5, jitter: 0.3, ..SERVER }, 64, 600.0);
        assert!(share >= 0.7, "{share}");
    }
}

#[test]
fn faults_by_chance_do_not_slow_calls_down() {
    for faults in [0.01, 0.03, 0.15] {
        for (parallel, most) in [(4, 64), (64, 64), (usize::MAX, 200)] {
            let share = share(Server { parallel, faults, takes: 0.5, jitter: 0.3, ..SERVER }, most, 600.0);
            assert!(share >= if faults < 0.1 { 0.9 } else { 0.7 }, "{share}");
        }
    }
}
