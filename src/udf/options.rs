//! The options of an async UDF, and how a time is written in them. Where they stand is for [`source`](super::source) and
//! [`comments`](super::comments).

use std::time::Duration;

/// The options of `#[udf(…)]`, with Arroyo's defaults; a comment for the embedded engine may give another time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncOptions {
    /// Whether answers come in the order of the calls.
    pub ordered: bool,
    /// How many calls may run at once.
    pub allowed_in_flight: u32,
    /// How long one call may take on the embedded engine; a call that takes longer kills the UDF's thread.
    pub timeout: Duration,
}

impl AsyncOptions {
    /// The time-out of a UDF whose calls take as long as they take: longer than any process runs.
    pub const NO_TIMEOUT: Duration = Duration::from_hours(10 * 365 * 24);
}

impl Default for AsyncOptions {
    fn default() -> Self {
        Self { ordered: false, allowed_in_flight: 1000, timeout: Duration::from_secs(5) }
    }
}

/// A time as Arroyo writes it, above zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let n: u64 = text[..digits].parse().ok()?;
    let seconds = |each: u64| n.checked_mul(each).map(Duration::from_secs);
    match text[digits..].trim_start() {
        "ns" | "nanos" => Some(Duration::from_nanos(n)),
        "µs" | "micros" => Some(Duration::from_micros(n)),
        "ms" | "millis" => Some(Duration::from_millis(n)),
        "s" | "secs" | "seconds" => seconds(1),
        "m" | "mins" | "minutes" => seconds(60),
        "h" | "hrs" | "hours" => seconds(3600),
        _ => None,
    }
    // The UDF counts in whole microseconds of 64 bits.
    .filter(|d| (1..=u128::from(u64::MAX)).contains(&d.as_micros()))
}
