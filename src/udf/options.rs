//! The options of an async UDF, and the syntax of a duration in them. [`source`](super::source) and
//! [`comments`](super::comments) find them in the text.

use std::time::Duration;

/// The options of `#[udf(…)]`, with Arroyo's defaults. A comment for the embedded engine may set another timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncOptions {
    /// Whether answers are returned in the order of the calls.
    pub ordered: bool,
    /// How many calls may run at once.
    pub allowed_in_flight: u32,
    /// The timeout of a call on the embedded engine. A call that exceeds it kills the UDF's thread.
    pub timeout: Duration,
}

impl AsyncOptions {
    /// The timeout of a UDF whose calls have no limit: longer than any process runs.
    pub const NO_TIMEOUT: Duration = Duration::from_hours(10 * 365 * 24);
}

impl Default for AsyncOptions {
    fn default() -> Self {
        Self { ordered: false, allowed_in_flight: 1000, timeout: Duration::from_secs(5) }
    }
}

/// A duration above zero, as Arroyo writes it.
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
    // The UDF counts whole microseconds in 64 bits.
    .filter(|d| (1..=u128::from(u64::MAX)).contains(&d.as_micros()))
}
