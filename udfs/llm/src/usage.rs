//! The usage of a model by all processes of a machine: rates and budgets, counted in one small file.
//!
//! The UDFs are libraries with their own statics, and there may be several processes, so they share a file:
//! `usage.json` in `BATON_LLM_STATE_DIR`, one JSON object of a fixed size. It is read and written under a system lock
//! (`flock`), which is released if the process dies. The usage is never guessed: a file that cannot be read stops all
//! calls. A budget in the options of a call has a file of its own beside it, `usage-….json`, named after a hash of the
//! budget's name.
//!
//! A budget counts a call's maximum before it is sent, and its actual usage once it is known. Until then the upper
//! bound counts, and for ever if the outcome never becomes known (a timeout, a killed process).
//!
//! A rate works like a queue: a call is sent once the time that has passed covers all previous calls. No turns are
//! reserved, so a killed process leaves none behind.

use baton_llm_settings::limits::{Budgets, Limits, NANO};
use baton_llm_settings::options::Budget;
use baton_llm_settings::text::excerpt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file's size: the object, padded with blanks.
const SIZE: usize = 512;

const MINUTE: u64 = 60_000_000_000;

/// The usage as the file stores it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Usage {
    version: u32,
    /// The current day of UTC, in days since 1970.
    day: u64,
    tokens_of_day: u64,
    /// In billionths of the prices' currency unit.
    cost_of_day: u64,
    tokens: u64,
    cost: u64,
    /// The time at which the requests so far are covered, in nanoseconds since 1970.
    requests_paid: u64,
    /// The time at which the tokens so far are covered.
    tokens_paid: u64,
    /// The time of the last write.
    #[serde(default)]
    at: u64,
}

/// If time goes back by more than this, the clock was set. A smaller step is a process that read the clock before it
/// waited for the lock.
const SET_BACK: u64 = MINUTE / 30;

/// The maximum usage of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Never exceeded while an answer stays within its length limit.
    pub(crate) tokens: u64,
    /// The maximum cost, in billionths.
    pub(crate) cost: u64,
    /// The expected tokens, estimated from previous calls. Rates use this number.
    pub(crate) likely_tokens: u64,
}

/// The actual usage of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) tokens: u64,
    pub(crate) cost: u64,
}

/// The share of a budget at which a warning is due, in per cent.
const WARN_AT: u64 = 80;

/// A call that was counted by its bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved {
    bound: Bound,
    day: u64,
}

/// The reason why a call may not be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It must wait.
    NotYet(Duration),
    /// A budget is used up; the text names it.
    Budget(String),
    /// The file cannot be used.
    File(String),
}

/// The shared file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    /// Opened at the first call.
    file: Mutex<Option<File>>,
    budgets: Budgets,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    /// The name of the budgets; `None` for those of all calls.
    name: Option<String>,
    /// The day of the last warning of each budget; for those in total 0.
    warned: Mutex<[Option<u64>; 4]>,
}

/// One budget and its use before a call.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Option<u64>,
    used: u64,
    more: u64,
    setting: &'static str,
    option: &'static str,
    unit: f64,
    /// The day that it is for; 0 in total.
    day: u64,
}

/// The budgets of a ledger.
pub(crate) type Shares = [Share; 4];

impl Ledger {
    /// Counts all calls in `usage.json` of the folder in the limits; `None` if nothing is limited.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        let folder = limits.state_dir.clone().filter(|_| limits.counts())?;
        Some(Self {
            path: folder.join("usage.json"),
            file: Mutex::default(),
            budgets: limits.budgets(),
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            name: None,
            warned: Mutex::default(),
        })
    }

    /// Counts the calls with a budget in their options, in a file of the budget's name.
    pub(crate) fn named(folder: &Path, budget: &Budget) -> Self {
        use std::fmt::Write as _;
        let mut file = "usage-".to_owned();
        for byte in &Sha256::digest(budget.name.as_bytes())[..8] {
            let _ = write!(file, "{byte:02x}");
        }
        Self {
            path: folder.join(file + ".json"),
            file: Mutex::default(),
            budgets: budget.limits,
            requests_per_minute: None,
            tokens_per_minute: None,
            name: Some(budget.name.clone()),
            warned: Mutex::default(),
        }
    }

    /// Whether money is limited.
    pub(crate) fn has_cost_budget(&self) -> bool {
        self.budgets.has_cost()
    }

    /// Whether rates or budgets need a call's maximum number of tokens in advance.
    pub(crate) fn needs_token_bound(&self) -> bool {
        !self.budgets.is_empty() || self.tokens_per_minute.is_some()
    }

    /// The budgets, with the bound of a call.
    fn shares(&self, usage: &Usage, bound: Bound) -> Shares {
        let count =
            |budget, used, more, setting, option, unit, day| Share { budget, used, more, setting, option, unit, day };
        let (budgets, day) = (&self.budgets, usage.day);
        [
            count(budgets.tokens, usage.tokens, bound.tokens, "BATON_LLM_BUDGET_TOKENS", "budget_tokens", 1.0, 0),
            count(
                budgets.tokens_per_day,
                usage.tokens_of_day,
                bound.tokens,
                "BATON_LLM_BUDGET_TOKENS_PER_DAY",
                "budget_tokens_per_day",
                1.0,
                day,
            ),
            count(budgets.cost, usage.cost, bound.cost, "BATON_LLM_BUDGET_COST", "budget_cost", NANO, 0),
            count(
                budgets.cost_per_day,
                usage.cost_of_day,
                bound.cost,
                "BATON_LLM_BUDGET_COST_PER_DAY",
                "budget_cost_per_day",
                NANO,
                day,
            ),
        ]
    }

    /// A budget as a message names it.
    fn named_in_messages(&self, count: &Share) -> String {
        match &self.name {
            Some(name) => format!("the option `{}` of `{}`", count.option, excerpt(name, 100)),
            None => count.setting.to_owned(),
        }
    }

    /// A sentence about the budgets that are nearly used up, once for each budget, and once a day for those of a day.
    pub(crate) fn warning(&self, shares: &Shares) -> Option<String> {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sentences = Vec::new();
        for (count, warned) in shares.iter().zip(warned.iter_mut()) {
            let Some(budget) = count.budget else { continue };
            let share = u128::from(count.used) * 100 / u128::from(budget.max(1));
            if share >= u128::from(WARN_AT) && *warned != Some(count.day) {
                *warned = Some(count.day);
                sentences.push(format!(
                    "{share} % of {} ({}) are used or held for calls",
                    self.named_in_messages(count),
                    budget as f64 / count.unit
                ));
            }
        }
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }

    /// Counts a call that is sent now. Returns the use of the budgets before it, too, for a [warning](Self::warning).
    pub(crate) fn reserve(&self, bound: Bound, now: SystemTime) -> Result<(Reserved, Shares), Refusal> {
        let nanos = nanos(now);
        self.update(now, |usage| {
            // A budget may not be exceeded by a single token.
            let shares = self.shares(usage, bound);
            for count in &shares {
                let Share { used, more, unit, .. } = *count;
                if let Some(budget) = count.budget.filter(|budget| used.saturating_add(more) > *budget) {
                    let shown = |count: u64| count as f64 / unit;
                    let longest = if self.name.is_some() { "the option max_tokens" } else { "BATON_LLM_MAX_TOKENS" };
                    return Err(Refusal::Budget(format!(
                        "{} is {}, of which {} are used or held for calls, and this call takes {} at most: \
                         raise it, or set {longest} so that a call takes less",
                        self.named_in_messages(count),
                        shown(budget),
                        shown(used),
                        shown(more)
                    )));
                }
            }
            let mut wait = 0;
            let mut requests_paid = None;
            if let Some(limit) = self.requests_per_minute {
                // The burst is one second's share. It is subtracted from the rest of the minute, so no minute exceeds
                // the limit.
                let burst = (limit / 60).max(1);
                let each = MINUTE.div_ceil(limit - burst + 1);
                let paid = usage.requests_paid.max(nanos);
                wait = (paid - nanos).saturating_sub((burst - 1) * each);
                requests_paid = Some(paid + each);
            }
            let mut tokens_paid = None;
            if let Some(limit) = self.tokens_per_minute {
                let paid = usage.tokens_paid.max(nanos);
                wait = wait.max(paid - nanos);
                tokens_paid = Some(paid.saturating_add(time_of(bound.likely_tokens, limit)));
            }
            if wait > 0 {
                return Err(Refusal::NotYet(Duration::from_nanos(wait)));
            }
            usage.requests_paid = requests_paid.unwrap_or(usage.requests_paid);
            usage.tokens_paid = tokens_paid.unwrap_or(usage.tokens_paid);
            for count in [&mut usage.tokens, &mut usage.tokens_of_day] {
                *count = count.saturating_add(bound.tokens);
            }
            for count in [&mut usage.cost, &mut usage.cost_of_day] {
                *count = count.saturating_add(bound.cost);
            }
            Ok((Reserved { bound, day: usage.day }, shares))
        })
    }

    /// Replaces a call's bound by its actual usage.
    pub(crate) fn settle(&self, reserved: Reserved, taken: Taken, now: SystemTime) -> Result<(), Refusal> {
        self.update(now, |usage| {
            let corrected = |count: u64, bound: u64, taken: u64| count.saturating_sub(bound).saturating_add(taken);
            let Reserved { bound, day } = reserved;
            usage.tokens = corrected(usage.tokens, bound.tokens, taken.tokens);
            usage.cost = corrected(usage.cost, bound.cost, taken.cost);
            // A call of yesterday is not counted today.
            if usage.day == day {
                usage.tokens_of_day = corrected(usage.tokens_of_day, bound.tokens, taken.tokens);
                usage.cost_of_day = corrected(usage.cost_of_day, bound.cost, taken.cost);
            }
            if let Some(limit) = self.tokens_per_minute {
                let (likely, took) = (time_of(bound.likely_tokens, limit), time_of(taken.tokens, limit));
                usage.tokens_paid = corrected(usage.tokens_paid, likely, took);
            }
            Ok(())
        })
    }

    /// Changes the file under its lock. An error leaves it unchanged.
    fn update<T>(&self, now: SystemTime, change: impl FnOnce(&mut Usage) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let unusable = |what: &str, error: &dyn std::fmt::Display| {
            Refusal::File(format!(
                "the file `{}`, in which rates and budgets are counted, cannot be {what} ({error}): make it writable, or set \
                 BATON_LLM_STATE_DIR to another folder",
                self.path.display()
            ))
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A removed file starts anew for all processes, not only for the next one that opens it.
        if file
            .as_ref()
            .is_none_or(|file| file.metadata().is_ok_and(|of| std::os::unix::fs::MetadataExt::nlink(&of) == 0))
        {
            *file = Some(self.open().map_err(|error| unusable("opened", &error))?);
        }
        let Some(file) = file.as_ref() else { return Err(unusable("opened", &"no file")) };
        file.lock().map_err(|error| unusable("locked", &error))?;
        let result = (|| {
            let mut usage = read(file).map_err(|error| unusable("read", &error))?;
            let nanos = nanos(now);
            if usage.at > nanos.saturating_add(SET_BACK) {
                // The clock was set back: the remaining waits are counted from the new time.
                let back = usage.at - nanos;
                usage.requests_paid = usage.requests_paid.saturating_sub(back);
                usage.tokens_paid = usage.tokens_paid.saturating_sub(back);
                usage.at = nanos;
                // Written even if no call is sent, or the waits would be moved again at each look.
                write(file, &usage).map_err(|error| unusable("written", &error))?;
            }
            let before = usage.clone();
            let day = nanos / (1440 * MINUTE);
            // A day that is not over keeps its budget, even if the clock goes back past midnight. A day in the future
            // was a wrong clock and does not.
            if day > usage.day || day + 1 < usage.day {
                (usage.day, usage.tokens_of_day, usage.cost_of_day) = (day, 0, 0);
            }
            let result = change(&mut usage)?;
            if usage != before {
                usage.at = usage.at.max(nanos);
                write(file, &usage).map_err(|error| unusable("written", &error))?;
            }
            Ok(result)
        })();
        let _unlocked_with_the_file_at_the_latest = file.unlock();
        result
    }

    fn open(&self) -> std::io::Result<File> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }
}

/// The time that covers so many tokens.
fn time_of(tokens: u64, per_minute: u64) -> u64 {
    let nanos = u128::from(tokens) * u128::from(MINUTE) / u128::from(per_minute);
    u64::try_from(nanos).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

fn nanos(now: SystemTime) -> u64 {
    u64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX / 2)
}

fn read(file: &File) -> std::io::Result<Usage> {
    let mut bytes = [0; SIZE];
    let mut length = 0;
    while length < SIZE {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    if length == 0 {
        return Ok(Usage { version: 1, ..Usage::default() });
    }
    let usage: Usage = serde_json::from_slice(&bytes[..length])?;
    if usage.version == 1 { Ok(usage) } else { Err(std::io::Error::other("it is of another version of Baton")) }
}

/// One write of a fixed size, which a killed process has done completely or not at all.
fn write(file: &File, usage: &Usage) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(usage)?;
    bytes.resize(SIZE - 1, b' ');
    bytes.push(b'\n');
    file.write_all_at(&bytes, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    fn limits(change: impl FnOnce(&mut Limits)) -> (tempfile::TempDir, Limits) {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits { state_dir: Some(folder.path().join("state")), ..Limits::default() };
        change(&mut limits);
        (folder, limits)
    }

    fn bound(tokens: u64) -> Bound {
        Bound { tokens, cost: tokens * 10, likely_tokens: tokens }
    }

    fn at(seconds: f64) -> SystemTime {
        UNIX_EPOCH + START + Duration::from_secs_f64(seconds)
    }

    /// The times in seconds at which calls are sent that are made as early as possible.
    fn leaving(ledger: &Ledger, calls: usize, tokens: u64) -> Vec<f64> {
        let mut now = 0.0;
        (0..calls)
            .map(|_| {
                loop {
                    match ledger.reserve(bound(tokens), at(now)) {
                        Ok(_) => return now,
                        Err(Refusal::NotYet(wait)) => now += wait.as_secs_f64() + 1e-6,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
            .collect()
    }

    #[test]
    fn no_minute_has_more_requests_than_the_limit() {
        for limit in [1, 2, 3, 59, 60, 61, 600, 6000] {
            let (_folder, limits) = limits(|limits| limits.requests_per_minute = Some(limit));
            let ledger = Ledger::new(&limits).unwrap();
            let left = leaving(&ledger, (limit * 2 + 1) as usize, 1);
            for (index, start) in left.iter().enumerate() {
                let in_minute = left[index..].iter().take_while(|at| **at < start + 60.0).count();
                assert!(in_minute as u64 <= limit, "{in_minute} of {limit}");
            }
            // The limit is also used fully: two minutes' worth takes two minutes.
            assert!(*left.last().unwrap() <= 121.0 + 60.0 / limit as f64, "{limit}: {:?}", left.last());
        }
    }

    #[test]
    fn tokens_are_paid_by_time() {
        let (_folder, limits) = limits(|limits| limits.tokens_per_minute = Some(6000));
        let ledger = Ledger::new(&limits).unwrap();
        let left = leaving(&ledger, 13, 500);
        assert!((left[12] - 60.0).abs() < 0.1, "{left:?}");
        // The unused part is released.
        let (reserved, _) = ledger.reserve(bound(6000), at(65.1)).unwrap();
        assert!(matches!(ledger.reserve(bound(1), at(65.2)), Err(Refusal::NotYet(wait)) if wait.as_secs() == 59));
        ledger.settle(reserved, Taken { tokens: 10, cost: 0 }, at(65.2)).unwrap();
        ledger.reserve(bound(1), at(65.3)).unwrap();
    }

    #[test]
    fn a_budget_is_never_passed_and_what_is_not_known_stays_reserved() {
        let (_folder, limits) = limits(|limits| {
            limits.budget_tokens = Some(1000);
            limits.budget_cost_per_day = Some(5_000);
        });
        let ledger = Ledger::new(&limits).unwrap();
        let (first, _) = ledger.reserve(bound(400), at(0.0)).unwrap();
        let refused = ledger.reserve(bound(400), at(0.0)).unwrap_err();
        assert_eq!(
            refused,
            Refusal::Budget(
                "BATON_LLM_BUDGET_COST_PER_DAY is 0.000005, of which 0.000004 are used or held for calls, and this call \
                 takes 0.000004 at most: raise it, or set BATON_LLM_MAX_TOKENS so that a call takes less"
                    .to_owned()
            )
        );
        ledger.settle(first, Taken { tokens: 100, cost: 1000 }, at(1.0)).unwrap();
        ledger.reserve(bound(400), at(1.0)).unwrap();
        // Its outcome never becomes known. Another process sees it, the next day has its own budget, and the sum stays.
        let other = Ledger::new(&limits).unwrap();
        assert!(matches!(other.reserve(bound(10), at(2.0)), Err(Refusal::Budget(_))));
        let tomorrow = at(86_400.0);
        let (held, _) = other.reserve(bound(500), tomorrow).unwrap();
        let refused = ledger.reserve(bound(1), tomorrow).unwrap_err();
        assert!(
            matches!(&refused, Refusal::Budget(why) if why.contains("BATON_LLM_BUDGET_TOKENS is 1000, of which 1000"))
        );
        // An answer that comes a day later counts for the day of its call.
        ledger.settle(held, Taken { tokens: 0, cost: 0 }, at(2.0 * 86_400.0)).unwrap();
        ledger.reserve(bound(500), at(2.0 * 86_400.0)).unwrap();
    }

    #[test]
    fn several_at_once_count_every_call() {
        let (_folder, limits) = limits(|limits| limits.budget_tokens = Some(1000));
        let left: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let ledger = Ledger::new(&limits).unwrap();
                    scope.spawn(move || (0..100).filter(|_| ledger.reserve(bound(7), at(0.0)).is_ok()).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(left, 1000 / 7);
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_calls() {
        let (_folder, limits) = limits(|limits| limits.budget_tokens = Some(1000));
        let ledger = Ledger::new(&limits).unwrap();
        ledger.reserve(bound(1), at(0.0)).unwrap();
        let path = limits.state_dir.clone().unwrap().join("usage.json");
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(ledger.reserve(bound(1), at(0.0)), Err(Refusal::File(why)) if why.contains("usage.json")));
        // A removed file starts anew.
        std::fs::remove_file(&path).unwrap();
        ledger.reserve(bound(1000), at(0.0)).unwrap();
        assert!(matches!(Ledger::new(&limits).unwrap().reserve(bound(1), at(0.0)), Err(Refusal::Budget(_))));
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let (_folder, limits) = limits(|limits| {
            limits.requests_per_minute = Some(60);
            limits.tokens_per_minute = Some(600);
            limits.budget_tokens_per_day = Some(25);
        });
        let ledger = Ledger::new(&limits).unwrap();
        let year = 365.0 * 86_400.0;
        ledger.reserve(bound(20), at(year)).unwrap();
        // One second for the call and two for the tokens: the same wait as before the clock was set.
        let refused = ledger.reserve(bound(5), at(0.0)).unwrap_err();
        assert!(matches!(refused, Refusal::NotYet(wait) if wait <= Duration::from_secs(2)), "{refused:?}");
        // That day has its own budget: the other day never was.
        ledger.reserve(bound(5), at(2.1)).unwrap();
        ledger.reserve(bound(15), at(10.0)).unwrap();
        assert!(matches!(ledger.reserve(bound(15), at(20.0)), Err(Refusal::Budget(_))));
    }

    fn budget(limits: Budgets) -> Budget {
        Budget { name: "Support Agent".to_owned(), limits }
    }

    #[test]
    fn a_budget_of_a_name_is_counted_in_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let of_agent = budget(Budgets { tokens: Some(100), ..Budgets::default() });
        let ledger = Ledger::named(folder.path(), &of_agent);
        ledger.reserve(bound(60), at(0.0)).unwrap();
        // A restart keeps the count.
        drop(ledger);
        let ledger = Ledger::named(folder.path(), &of_agent);
        assert_eq!(
            ledger.reserve(bound(41), at(1.0)).unwrap_err(),
            Refusal::Budget(
                "the option `budget_tokens` of `Support Agent` is 100, of which 60 are used or held for calls, and this \
                 call takes 41 at most: raise it, or set the option max_tokens so that a call takes less"
                    .to_owned()
            )
        );
        let files: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(files, ["usage-f4c304c294c46507.json"]);
        // Another name has a count of its own.
        let other = Budget { name: "Other Agent".to_owned(), ..of_agent };
        Ledger::named(folder.path(), &other).reserve(bound(100), at(1.0)).unwrap();
    }

    #[test]
    fn a_warning_comes_once_for_each_budget_and_day() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Budgets { tokens: Some(1000), tokens_per_day: Some(100), ..Budgets::default() };
        let ledger = Ledger::named(folder.path(), &budget(limits));
        let warned = |tokens, seconds| ledger.warning(&ledger.reserve(bound(tokens), at(seconds)).unwrap().1);
        assert_eq!(warned(79, 0.0), None);
        assert_eq!(warned(1, 1.0), None);
        assert_eq!(
            warned(1, 2.0).unwrap(),
            "80 % of the option `budget_tokens_per_day` of `Support Agent` (100) are used or held for calls"
        );
        assert_eq!(warned(1, 3.0), None);
        let day = 86_400.0;
        for of_day in 1..9 {
            let at = f64::from(of_day) * day;
            assert_eq!(warned(90, at), None);
            let second = warned(1, at + 1.0).unwrap();
            assert!(second.contains("90 % of the option `budget_tokens_per_day` of"), "{second}");
            // The budget in total is warned about on the eighth day.
            assert_eq!(second.contains("80 % of the option `budget_tokens` of"), of_day == 8, "{second}");
        }
    }
}
