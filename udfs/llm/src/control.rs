//! How many calls a server gets at a time, and how many in a second: decided from what comes back, without I/O.
//!
//! **Calls at a time.** The latency of a server that works on all calls at once does not depend on their number. If it
//! works on some and queues the rest, twice as many calls take twice as long. So the limit grows while latency stays as
//! it is with half as many calls, and shrinks where it does not: the gradient of Netflix's `concurrency-limits`, with
//! the reference measured again and again at half of the limit, as BBR does (RFC draft `ietf-ccwg-bbr`, ProbeRTT),
//! because a long-term average would take a queue for the usual latency. It never grows to where a call would take a
//! large part of its time-out.
//!
//! **Calls in a second.** A server that refuses a part of the calls (429, 503) has a rate. Calls are then spaced out at
//! the rate that it accepted, which rises slowly until it refuses again (AIMD).

use std::collections::VecDeque;

/// The part of its time-out that calls may take, on average and at most, before the limit stops growing, and shrinks.
const MEAN_OF_TIMEOUT: f64 = 0.3;
const MOST_OF_TIMEOUT: f64 = 0.6;
const ONE_MORE_OF_TIMEOUT: f64 = 0.95;

/// The time-out of a call, unless one is set or the server is slower, in seconds.
const USUAL_TIMEOUT: f64 = 30.0;

/// That of the first call to a server, which may have to load its model. Many stop loading if the caller hangs up.
const FIRST_TIMEOUT: f64 = 540.0;

/// A healthy server takes at most so many times its usual latency.
const MOST_OF_USUAL: f64 = 10.0;

/// Latency, in multiples of that with half as many calls, up to which the limit grows, and from which it shrinks.
const GROWS: f64 = 1.4;
const SHRINKS: f64 = 1.8;

/// Differences of so many seconds are the network's and this machine's.
const NOISE: f64 = 0.01;

/// Calls that are measured in a round, at least. Latencies of models differ widely, so a mean needs some.
const CALLS: f64 = 16.0;

/// And at most: the slowest of many takes long.
const MOST_CALLS: f64 = 64.0;

/// The least while nothing is known, where a limit that is too low costs more than a wrong step.
const FIRST_CALLS: f64 = 4.0;

/// Rounds between two measurements at half of the limit.
const ROUNDS: u32 = 16;

/// The share of refused calls from which a server has a rate. Fewer are single faults, which their rows repeat.
const MANY: f64 = 0.2;

/// Outcomes by which the share and the rate are measured: at least so many, and those of the last seconds.
const LEAST_OUTCOMES: usize = 10;
const SECONDS: f64 = 2.0;
const MOST_OUTCOMES: usize = 500;
const LEAST_JUDGED: usize = 8;

/// Older outcomes, in seconds, say nothing about the rate of now.
const OLDEST: f64 = 60.0;

/// The lowest rate that is kept, in calls a second.
const LEAST_RATE: f64 = 0.1;

/// How late a timer may be, in seconds.
const GRAIN: f64 = 0.005;

/// The growth of a rate with each accepted call.
const GROWTH: f64 = 0.00035;

/// A rate is forgotten after so many seconds in which nobody had to wait for it.
const FORGOTTEN: f64 = 60.0;

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// The server did the work.
    Done,
    /// It wants fewer calls: 429, 503, 529.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Anything else, which says nothing about how much the server can take.
    Other,
}

/// A call in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    started: f64,
    /// The round of which it is one of the first calls that reached the limit.
    round: Option<u32>,
    /// The calls in flight, itself included.
    among: usize,
}

/// The state for one server. Times are in seconds since any fixed moment.
#[derive(Debug)]
pub(crate) struct Control {
    most: f64,
    set_timeout: Option<f64>,
    limit: f64,
    in_flight: usize,
    /// Counts changes of the limit.
    round: u32,
    /// The first calls of this round, as many as are measured. Not the first answers: they are the quick ones.
    sent: u32,
    /// How many of them ended, how many of these were answered, and the sum of their latencies.
    ended: u32,
    answers: u32,
    latencies: f64,
    /// The longest latency of late.
    longest: f64,
    /// The latency with half as many calls.
    reference: Option<f64>,
    phase: Phase,
    /// The usual latency of late.
    usual: Option<f64>,
    pace: Option<Pace>,
    outcomes: VecDeque<Past>,
    /// Calls that were answered.
    done: u64,
    /// Time-outs since the last answer.
    late: i32,
    paused_until: f64,
}

/// An outcome of late.
#[derive(Debug, Clone, Copy)]
struct Past {
    at: f64,
    ended: Ended,
    among: usize,
}

/// How a call ended that says something about the server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Done,
    Refused,
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The limit is multiplied after each round until the server has a queue.
    Start,
    /// Rounds at the limit since the reference was measured.
    Steady(u32),
    /// Measures the reference; then the limit goes back to this.
    Half(f64),
}

/// Calls are spaced out.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: f64,
    /// When the next call may be sent.
    next: f64,
    /// The growth with each call.
    growth: f64,
    /// When a call had to wait last.
    wanted: f64,
    /// Calls since it was lowered.
    calls: u32,
}

impl Control {
    /// At most `most` calls at a time, each with a time-out of `set_timeout` seconds, if one is set.
    pub(crate) fn new(most: usize, set_timeout: Option<f64>) -> Self {
        Self {
            most: most.max(1) as f64,
            set_timeout,
            limit: 1.0,
            in_flight: 0,
            round: 0,
            sent: 0,
            ended: 0,
            answers: 0,
            latencies: 0.0,
            longest: 0.0,
            reference: None,
            phase: Phase::Start,
            usual: None,
            pace: None,
            outcomes: VecDeque::new(),
            done: 0,
            late: 0,
            paused_until: 0.0,
        }
    }

    /// The time-out of a call that starts now, in seconds. If none is set, it is longer than a slow, healthy server
    /// takes; the first call may load a model.
    pub(crate) fn timeout(&self) -> f64 {
        // A server that lost its model, or became slow, answers nobody within the usual time.
        let longer = 2_f64.powi(self.late);
        let unset = || {
            self.usual
                .map_or(FIRST_TIMEOUT, |usual| (USUAL_TIMEOUT.max(usual * MOST_OF_USUAL) * longer).min(FIRST_TIMEOUT))
        };
        self.set_timeout.unwrap_or_else(unset)
    }

    /// The usual latency in seconds, once there was an answer.
    pub(crate) fn usual(&self) -> Option<f64> {
        self.usual
    }

    /// Calls that were answered so far.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts a call now, or says how long to wait: for a number of seconds, or (`None`) until another call ends.
    pub(crate) fn start(&mut self, now: f64) -> Result<Flight, Option<f64>> {
        if self.in_flight as f64 + 1.0 > self.limit.max(1.0) {
            return Err(None);
        }
        if now < self.paused_until {
            return Err(Some(self.paused_until - now));
        }
        if let Some(pace) = &mut self.pace {
            if now < pace.next {
                pace.wanted = now;
                return Err(Some(pace.next - now));
            }
            if now - pace.wanted > FORGOTTEN {
                self.pace = None;
            } else {
                // A turn that came late by less than a timer's grain is made up for.
                let each = 1.0 / pace.per_second;
                pace.next = pace.next.max(if each < GRAIN { now - GRAIN } else { now }) + each;
            }
        }
        self.in_flight += 1;
        let measured = self.in_flight as f64 + 1.0 > self.limit && self.sent < self.wanted();
        self.sent += u32::from(measured);
        Ok(Flight { started: now, round: measured.then_some(self.round), among: self.in_flight })
    }

    /// A call ended. `retry_after` is the wait that its server asks for, in seconds.
    pub(crate) fn end(&mut self, flight: Flight, outcome: Outcome, retry_after: Option<f64>, now: f64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let latency = now - flight.started;
        let measured = flight.round == Some(self.round);
        self.ended += u32::from(measured);
        match outcome {
            Outcome::Done => {
                self.late = 0;
                self.done += 1;
                let usual = self.usual.get_or_insert(latency);
                *usual += (latency - *usual) * 0.1;
                self.outcome(now, Ended::Done, flight.among);
                if let Some(pace) = &mut self.pace {
                    pace.per_second *= 1.0 + pace.growth;
                }
                if measured {
                    self.answers += 1;
                    self.latencies += latency;
                    self.longest = self.longest.max(latency);
                }
            }
            Outcome::Refused => {
                self.outcome(now, Ended::Refused, flight.among);
                self.slow_down(now, retry_after);
            }
            Outcome::TimedOut => {
                self.late = (self.late + 1).min(16);
                self.outcome(now, Ended::Late, flight.among);
                // A single call may hang by chance.
                if self.is_more_than_chance(Ended::Late) {
                    self.phase = Phase::Steady(0);
                    self.reference = None;
                    self.change(self.limit / 2.0);
                    self.outcomes.clear();
                }
            }
            Outcome::Other => {}
        }
        if self.ended >= self.wanted() {
            self.judge();
        }
    }

    /// The calls that are measured in a round.
    fn wanted(&self) -> u32 {
        let least = if self.phase == Phase::Start { FIRST_CALLS } else { CALLS };
        self.limit.floor().clamp(least, MOST_CALLS) as u32
    }

    /// At the end of a round, compares its latency with that of half as many calls.
    fn judge(&mut self) {
        if self.answers * 2 < self.ended {
            // The answers say little about the others.
            return self.change(self.limit);
        }
        let latency = self.latencies / f64::from(self.answers);
        let times = |reference: Option<f64>| reference.map_or(1.0, |reference| (latency + NOISE) / (reference + NOISE));
        let last = self.limit;
        // As if the server queued all calls.
        let timeout = self.timeout();
        let mut room =
            last.floor() * timeout * (MEAN_OF_TIMEOUT / latency).min(MOST_OF_TIMEOUT / self.longest).min(1e9);
        // One more is worth more of it: few calls at a time to a slow server that could take many cost the most.
        let with_one_more = (last.floor() + 1.0) / last.floor();
        if latency * with_one_more < MOST_OF_TIMEOUT * timeout
            && self.longest * with_one_more < ONE_MORE_OF_TIMEOUT * timeout
        {
            room = room.max(last.floor() + 1.0);
        }
        match self.phase {
            Phase::Half(limit) => {
                self.reference = Some(latency);
                self.phase = Phase::Steady(0);
                self.change(limit.min(room));
            }
            Phase::Start => {
                let ratio = times(self.reference);
                if ratio > GROWS {
                    self.halve(last.min(room));
                } else {
                    self.phase = if last < self.most.min(room) { Phase::Start } else { Phase::Steady(0) };
                    self.reference = Some(latency);
                    self.change((last * 4.0).min(room));
                }
            }
            Phase::Steady(rounds) => {
                let ratio = if last < 2.0 { 1.0 } else { times(self.reference) };
                self.phase = Phase::Steady(rounds + 1);
                let next = if ratio > SHRINKS {
                    last * (0.5 * (GROWS + SHRINKS) / ratio).max(0.25)
                } else if ratio < GROWS {
                    last + (last / 2.0).max(1.0)
                } else {
                    last
                };
                let next = next.min(room);
                // It shrinks only by a fresh reference.
                if last >= 2.0 && (rounds >= ROUNDS || (rounds > 0 && ratio > SHRINKS)) {
                    self.halve(next.max(last.min(room)));
                } else {
                    self.change(next);
                }
            }
        }
    }

    /// Measures the latency with half as many calls; then the limit is `limit`.
    fn halve(&mut self, limit: f64) {
        self.phase = Phase::Half(limit.max(1.0));
        self.change(self.limit / 2.0);
    }

    fn change(&mut self, limit: f64) {
        self.longest *= (limit.floor().max(1.0) / self.limit.floor()).min(0.9);
        self.limit = limit.clamp(1.0, self.most);
        self.round = self.round.wrapping_add(1);
        (self.sent, self.ended, self.answers, self.latencies) = (0, 0, 0, 0.0);
    }

    fn outcome(&mut self, now: f64, ended: Ended, among: usize) {
        if ended == Ended::Done && self.count(Ended::Done) == 0.0 {
            // The server was not at work before, which says nothing about its rate.
            self.outcomes.clear();
        }
        self.outcomes.push_back(Past { at: now, ended, among });
        while let Some(first) = self.outcomes.front() {
            let (age, count) = (now - first.at, self.outcomes.len());
            if age < SECONDS && count < MOST_OUTCOMES || count <= LEAST_OUTCOMES && age < OLDEST {
                break;
            }
            self.outcomes.pop_front();
        }
        if let Some(pace) = &mut self.pace {
            // The growth speeds up while the rate is not too high.
            pace.calls += 1;
            if pace.calls > 100 {
                pace.growth = (pace.growth * 1.02).min(0.05);
            }
        }
    }

    /// Whether more of the last calls ended like this than chance explains: two standard deviations above few.
    fn is_more_than_chance(&self, ended: Ended) -> bool {
        let few = MANY * self.outcomes.len() as f64;
        self.outcomes.len() >= LEAST_JUDGED && self.count(ended) > few + 2.0 * few.sqrt()
    }

    fn count(&self, ended: Ended) -> f64 {
        self.outcomes.iter().filter(|past| past.ended == ended).count() as f64
    }

    /// The server refused a call.
    fn slow_down(&mut self, now: f64, retry_after: Option<f64>) {
        // A wait of some seconds is the rest of a quota's window: nobody is answered before. A short one is rounded up.
        if let Some(wait) = retry_after.filter(|wait| *wait > SECONDS) {
            let last = self.outcomes.iter().rev().take(4);
            if last.filter(|past| past.ended == Ended::Refused).count() >= 2.min(self.outcomes.len()) {
                self.paused_until = self.paused_until.max(now + wait);
            }
            return;
        }
        let (accepted, refused) = (self.count(Ended::Done), self.count(Ended::Refused));
        if !self.is_more_than_chance(Ended::Refused) || accepted == 0.0 {
            return;
        }
        // A server that accepts so many at a time, and refuses all others, has no rate.
        let among = |ended| self.outcomes.iter().filter(move |past| past.ended == ended).map(|past| past.among);
        let most = among(Ended::Done).max().unwrap_or(0);
        let separate = among(Ended::Refused).all(|among| among > most);
        let seconds = (now - self.outcomes.front().map_or(now, |past| past.at)).max(0.05);
        let measured = (0.97 * accepted / seconds).max(LEAST_RATE);
        match &mut self.pace {
            Some(pace) if separate && accepted >= 8.0 => {
                pace.per_second *= 1.1;
                self.phase = Phase::Steady(0);
                self.change(most as f64);
            }
            Some(pace) => {
                // Just above its rate, a server without any burst refuses every other call.
                let far_above = refused > 1.5 * accepted;
                let lower = if far_above { measured.max(pace.per_second / 2.0) } else { pace.per_second * 0.95 };
                pace.per_second = lower.max(LEAST_RATE);
                (pace.growth, pace.calls) = (GROWTH, 0);
            }
            None => {
                self.pace = Some(Pace {
                    per_second: measured.max(1.0 / self.usual.unwrap_or(1.0).max(0.001)),
                    next: now,
                    growth: 50.0 * GROWTH,
                    wanted: now,
                    calls: 0,
                });
            }
        }
        self.outcomes.clear();
    }
}

#[cfg(test)]
mod tests;
