//! The order of the runs: the sides take turns, so that noise of the machine meets both, and every figure is a median.

use std::time::{Duration, Instant};

use crate::figures::{Figure, Report, machine};
use crate::kafka::Kafka;
use crate::options::{Arguments, Part, Side};
use crate::receipts::PLACES;
use crate::routing::{self, Bench, Latency, PACE, Throughput};
use crate::splitting::{self, Split};
use crate::stub::Stub;
use crate::{Outcome, note};

/// What was measured, each run with its side.
#[derive(Default)]
struct Runs {
    throughput: Vec<(Side, Throughput)>,
    throughput_1000: Vec<(Side, Throughput)>,
    latency: Vec<(Side, Latency)>,
    split: Vec<(Side, Split)>,
}

/// Measures, and says what came out.
pub fn run(arguments: &Arguments) -> Outcome<Report> {
    let mut report = Report { machine: machine(), ..Report::default() };
    note("starting the broker");
    let mut kafka = Kafka::open(arguments.broker.as_deref())?;
    let mut topics = vec![routing::FROM];
    topics.extend(PLACES);
    if arguments.has(Part::Split) {
        topics.extend([splitting::FROM, splitting::COPY]);
        topics.extend(splitting::PLACES);
    }
    kafka.create(&topics)?;
    let stub = Stub::start(arguments.latency())?;
    let baton = arguments.baton.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_baton").into());
    if arguments.sides().contains(&Side::Baton) {
        note("compiling the UDFs, where they are not");
        routing::build(&baton)?;
    }
    let mut bench = Bench {
        kafka: &kafka,
        stub: &stub,
        latency: arguments.latency(),
        baton: baton.clone(),
        loop_threads: arguments.loop_threads,
        next_number: 0,
        epoch: Instant::now(),
    };
    let mut runs = Runs::default();
    if arguments.has(Part::Split) {
        note(&format!("{} messages to split", arguments.split()));
        splitting::prepare(&kafka, arguments.split())?;
    }
    if !arguments.quick {
        // The broker's virtual machine compiles what is used; that is not to be part of the first run.
        for side in arguments.sides() {
            note(&format!("warming up: {side:?}"));
            bench.throughput(side, 200, 8000)?;
        }
    }
    for turn in 0..arguments.repeat() {
        let mut sides = arguments.sides();
        if turn % 2 == 1 {
            sides.reverse();
        }
        for side in sides {
            one_turn(arguments, &mut bench, side, turn + 1, &mut runs)?;
        }
    }
    runs.report(arguments, &mut report);
    Ok(report)
}

fn one_turn(arguments: &Arguments, bench: &mut Bench<'_>, side: Side, turn: usize, runs: &mut Runs) -> Outcome<()> {
    let prefix = format!("{turn}/{} {side:?}", arguments.repeat());
    for (part, in_flight, into) in
        [(Part::Throughput, 200, &mut runs.throughput), (Part::Throughput1000, 1000, &mut runs.throughput_1000)]
    {
        if !arguments.has(part) {
            continue;
        }
        let run = bench.throughput(side, in_flight, arguments.load(in_flight))?;
        note(&format!(
            "{prefix}, {in_flight} in flight: {:.0}/s, {:.3} ms CPU a message, {:.0} MB; the model: {} calls, at most {} in \
             flight, {} connections, {} bytes a request, late by {:?} and {:?}, {:.3} ms CPU a call",
            run.a_second,
            millis(run.cpu_a_message),
            megabytes(run.peak),
            run.told.calls,
            run.told.peak_in_flight,
            run.told.connections,
            run.told.request_bytes / run.told.calls.max(1),
            run.told.late_p50,
            run.told.late_p99,
            millis(run.stub_cpu_a_call),
        ));
        into.push((side, run));
    }
    if arguments.has(Part::Latency) {
        let run = bench.latency(side, 200, arguments.paced())?;
        note(&format!(
            "{prefix}, {PACE}/s: {:.2} and {:.2} ms added, {:.3} ms CPU a message, ready after {:.0} ms (running after {:.0}); \
             the model was late by {:?} and {:?}",
            quantile(&run.added, 0.5),
            quantile(&run.added, 0.99),
            millis(run.cpu_a_message),
            millis(run.ready),
            run.running.map_or(f64::NAN, millis),
            run.told.late_p50,
            run.told.late_p99,
        ));
        runs.latency.push((side, run));
    }
    if arguments.has(Part::Split) {
        let run = splitting::run(bench.kafka, side, &bench.baton, arguments.split())?;
        note(&format!(
            "{prefix}, split: {:.0}/s, {:.4} ms CPU a message, peak {:.0} MB, at each tenth {} MB",
            run.a_second,
            millis(run.cpu_a_message),
            megabytes(run.peak),
            run.resident.iter().map(|bytes| format!("{:.0}", megabytes(*bytes))).collect::<Vec<_>>().join(" "),
        ));
        runs.split.push((side, run));
    }
    Ok(())
}

impl Runs {
    fn report(&self, arguments: &Arguments, report: &mut Report) {
        let figures = &mut report.figures;
        let seconds = arguments.latency().as_secs_f64();
        if !self.throughput.is_empty() {
            let limit = 200.0 / seconds;
            let rate = each(&self.throughput, |run| run.a_second);
            let share = each(&self.throughput, |run| run.a_second / limit * 100.0);
            figures.extend([
                Figure::new("throughput_200.rate", "throughput, 200 in flight", "/s", rate).times_bare_at_least(1.0),
                Figure::new("throughput_200.share", "  share of the limit", "%", share)
                    .at_least(97.0)
                    .bare_at_least(95.0),
                Figure::new(
                    "throughput_200.cpu",
                    "  CPU a message",
                    "ms",
                    each(&self.throughput, |run| millis(run.cpu_a_message)),
                )
                .times_bare_at_most(1.3),
                Figure::new(
                    "throughput_200.peak",
                    "  peak memory",
                    "MB",
                    each(&self.throughput, |run| megabytes(run.peak)),
                )
                .at_most(150.0),
            ]);
        }
        if !self.throughput_1000.is_empty() {
            let limit = 1000.0 / seconds;
            let rate = each(&self.throughput_1000, |run| run.a_second);
            let share = each(&self.throughput_1000, |run| run.a_second / limit * 100.0);
            figures.extend([
                Figure::new("throughput_1000.rate", "throughput, 1,000 in flight", "/s", rate).times_bare_at_least(0.9),
                Figure::new("throughput_1000.share", "  share of the limit", "%", share),
                Figure::new(
                    "throughput_1000.cpu",
                    "  CPU a message",
                    "ms",
                    each(&self.throughput_1000, |run| millis(run.cpu_a_message)),
                ),
                Figure::new(
                    "throughput_1000.peak",
                    "  peak memory",
                    "MB",
                    each(&self.throughput_1000, |run| megabytes(run.peak)),
                ),
            ]);
        }
        if !self.latency.is_empty() {
            let added = |share: f64| each(&self.latency, move |run| quantile(&run.added, share));
            let running = |run: &Latency| run.running.map(millis);
            figures.extend([
                Figure::new("latency.p50", "added at 100/s, p50", "ms", added(0.5)).over_bare_at_most(2.0),
                Figure::new("latency.p99", "added at 100/s, p99", "ms", added(0.99)).over_bare_at_most(5.0),
                Figure::new(
                    "latency.cpu",
                    "  CPU a message",
                    "ms",
                    each(&self.latency, |run| millis(run.cpu_a_message)),
                ),
                Figure::new(
                    "start.ready",
                    "start to first decision",
                    "ms",
                    each(&self.latency, |run| millis(run.ready)),
                ),
                Figure::new(
                    "start.running",
                    "  to \"running\" in the log",
                    "ms",
                    (self.latency.iter().filter_map(|(_, run)| running(run)).collect(), Vec::new()),
                ),
            ]);
        }
        if !self.split.is_empty() {
            figures.extend([
                Figure::new(
                    "split.rate",
                    "no UDF, one of five topics / copy",
                    "/s",
                    each(&self.split, |run| run.a_second),
                )
                .times_bare_at_least(0.5),
                Figure::new("split.cpu", "  CPU a message", "ms", each(&self.split, |run| millis(run.cpu_a_message))),
                Figure::new("split.peak", "  peak memory", "MB", each(&self.split, |run| megabytes(run.peak)))
                    .at_most(150.0),
                Figure::new("split.growth", "  memory at the end over 30 to 50 %", "% more", each(&self.split, growth))
                    .at_most(5.0),
            ]);
            report.remarks.extend(self.split.iter().map(|(side, run)| {
                let tenths: Vec<String> = run.resident.iter().map(|b| format!("{:.0}", megabytes(*b))).collect();
                format!(
                    "memory of {side:?} at each tenth of {} messages, in MB: {}",
                    arguments.split(),
                    tenths.join(" ")
                )
            }));
        }
        if arguments.quick {
            report
                .remarks
                .push("--quick: this shows that everything works; the counts are too small to be figures".into());
        }
    }
}

/// By how much more memory is held in the last three tenths than in the third to fifth: single samples go up and down with
/// what is under way.
fn growth(run: &Split) -> f64 {
    let mean = |tenths: std::ops::Range<usize>| {
        let held = run.resident.get(tenths).unwrap_or_default();
        held.iter().sum::<u64>() as f64 / held.len().max(1) as f64
    };
    (mean(7..10) / mean(2..5).max(1.0) - 1.0) * 100.0
}

fn each<R>(runs: &[(Side, R)], value: impl Fn(&R) -> f64) -> (Vec<f64>, Vec<f64>) {
    let of = |wanted: Side| runs.iter().filter(|(side, _)| *side == wanted).map(|(_, run)| value(run)).collect();
    (of(Side::Baton), of(Side::Bare))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The value in milliseconds that so much of all is at most; the values are in order.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().map_or(f64::NAN, millis)
}
