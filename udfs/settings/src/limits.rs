//! Limits across rows: rates, budgets with their prices, the circuit breaker, the decision log.
//!
//! | Setting | Default | Range |
//! | --- | --- | --- |
//! | `BATON_LLM_REQUESTS_PER_MINUTE` | no limit | 1 to 1000000 |
//! | `BATON_LLM_TOKENS_PER_MINUTE` | no limit | 1 to 10^12, prompt and answer together |
//! | `BATON_LLM_BUDGET_TOKENS`, `BATON_LLM_BUDGET_TOKENS_PER_DAY` | no limit | 1 to 10^15 |
//! | `BATON_LLM_BUDGET_COST`, `BATON_LLM_BUDGET_COST_PER_DAY` | no limit | above 0, in the money of the prices |
//! | `BATON_LLM_PRICES` | none: cost is unknown | `model=input/output`, for a million tokens; `*` for every other model |
//! | `BATON_LLM_STATE_DIR` | `baton` in `$XDG_STATE_HOME`, else in `~/.local/state` | the folder for the counters |
//! | `BATON_LLM_BREAKER` | `20` failures in a row | 0 (off) to 10000 |
//! | `BATON_LLM_DECISION_LOG` | none: no log | a file |
//! | `BATON_LLM_DECISION_LOG_SIZE` | `64MB` | `64kB` to `1TB` |
//! | `BATON_LLM_DECISION_LOG_AGE` | `30d` | `1s` to `3650d` |
//!
//! A day is a day of UTC.

use crate::text::{excerpt, keep, parse_number};
use std::path::PathBuf;
use std::time::Duration;

/// The largest budget of tokens.
pub(crate) const MOST_TOKENS: u64 = 1_000_000_000_000_000;

/// The largest budget of money that can be counted in [`NANO`]s.
pub(crate) const MOST_COST: f64 = 1e9;

/// Money is counted in billionths of the prices' unit.
pub const NANO: f64 = 1e9;

/// There is nothing to count in.
pub const NO_PLACE: &str =
    "a rate or a budget is set, but there is no place to count: set BATON_LLM_STATE_DIR to a folder that stays";

/// Limits of tokens and money that are never exceeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Total tokens.
    pub tokens: Option<u64>,
    /// Tokens in a day of UTC.
    pub tokens_per_day: Option<u64>,
    /// Total money, in [`NANO`]s.
    pub cost: Option<u64>,
    /// Money in a day of UTC, in [`NANO`]s.
    pub cost_per_day: Option<u64>,
}

impl Budgets {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether money is limited. Then every model in use needs a price.
    #[must_use]
    pub fn has_cost(&self) -> bool {
        self.cost.is_some() || self.cost_per_day.is_some()
    }
}

/// Limits of all calls of all rows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// HTTP calls in any minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Total tokens.
    pub budget_tokens: Option<u64>,
    /// Tokens in a day of UTC.
    pub budget_tokens_per_day: Option<u64>,
    /// Total money, in [`NANO`]s.
    pub budget_cost: Option<u64>,
    /// Money in a day of UTC, in [`NANO`]s.
    pub budget_cost_per_day: Option<u64>,
    /// The prices of tokens.
    pub prices: Prices,
    /// The folder for rates and budgets; set if there are any, and for those in the options of a call if it is known.
    pub state_dir: Option<PathBuf>,
    /// Failures in a row after which the circuit breaker opens; 0 turns it off.
    pub breaker: u32,
    /// The file for good answers.
    pub decision_log: Option<PathBuf>,
    /// Its maximum size, in bytes.
    pub decision_log_size: u64,
    /// The maximum age of an answer.
    pub decision_log_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            budget_tokens: None,
            budget_tokens_per_day: None,
            budget_cost: None,
            budget_cost_per_day: None,
            prices: Prices::default(),
            state_dir: None,
            breaker: 20,
            decision_log: None,
            decision_log_size: 64_000_000,
            decision_log_age: Duration::from_secs(30 * 86_400),
        }
    }
}

impl Limits {
    /// Whether anything is counted across rows.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.requests_per_minute.is_some() || self.tokens_per_minute.is_some() || self.has_budget()
    }

    /// The budgets of all calls.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        Budgets {
            tokens: self.budget_tokens,
            tokens_per_day: self.budget_tokens_per_day,
            cost: self.budget_cost,
            cost_per_day: self.budget_cost_per_day,
        }
    }

    /// Whether money or tokens are limited.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        !self.budgets().is_empty()
    }

    /// Whether money is limited. Then every model in use needs a price.
    #[must_use]
    pub fn has_cost_budget(&self) -> bool {
        self.budgets().has_cost()
    }

    /// Whether a call must state its maximum number of tokens in advance.
    #[must_use]
    pub fn needs_token_bound(&self) -> bool {
        self.has_budget() || self.tokens_per_minute.is_some()
    }

    pub(crate) fn read(get: &impl Fn(&str) -> Option<String>, errors: &mut Vec<String>) -> Self {
        let mut number = |name: &str, most: u64| {
            get(name).and_then(|value| {
                let number = value.parse().ok().filter(|number| (1..=most).contains(number));
                keep(number.ok_or_else(|| format!("{name} is `{value}`: set a whole number from 1 to {most}")), errors)
            })
        };
        let requests_per_minute = number("BATON_LLM_REQUESTS_PER_MINUTE", 1_000_000);
        let tokens_per_minute = number("BATON_LLM_TOKENS_PER_MINUTE", 1_000_000_000_000);
        let budget_tokens = number("BATON_LLM_BUDGET_TOKENS", MOST_TOKENS);
        let budget_tokens_per_day = number("BATON_LLM_BUDGET_TOKENS_PER_DAY", MOST_TOKENS);
        let mut money = |name: &str| {
            get(name).and_then(|value| {
                let cost = value.parse::<f64>().ok().filter(|cost| *cost > 0.0 && *cost <= MOST_COST);
                let cost = cost.ok_or_else(|| format!("{name} is `{value}`: set a number above 0, such as 5 or 0.50"));
                keep(cost, errors).map(|cost| (cost * NANO) as u64)
            })
        };
        let budget_cost = money("BATON_LLM_BUDGET_COST");
        let budget_cost_per_day = money("BATON_LLM_BUDGET_COST_PER_DAY");
        let prices = get("BATON_LLM_PRICES").and_then(|value| keep(Prices::parse(&value), errors)).unwrap_or_default();
        let defaults = Self::default();
        let breaker = get("BATON_LLM_BREAKER").and_then(|value| match value.as_str() {
            "off" => Some(0),
            value => keep(parse_number("BATON_LLM_BREAKER", value, 0..=10_000), errors),
        });
        let size = get("BATON_LLM_DECISION_LOG_SIZE").and_then(|value| {
            let size = parse_size(&value).filter(|size| (64_000..=1_000_000_000_000).contains(size));
            let wrong =
                || format!("BATON_LLM_DECISION_LOG_SIZE is `{value}`: set a size from 64kB to 1TB, such as 64MB");
            keep(size.ok_or_else(wrong), errors)
        });
        let age = get("BATON_LLM_DECISION_LOG_AGE").and_then(|value| {
            let age = parse_age(&value);
            let wrong =
                || format!("BATON_LLM_DECISION_LOG_AGE is `{value}`: set a time from 1s to 3650d, such as 12h or 30d");
            keep(age.ok_or_else(wrong), errors)
        });
        let mut limits = Self {
            requests_per_minute,
            tokens_per_minute,
            budget_tokens,
            budget_tokens_per_day,
            budget_cost,
            budget_cost_per_day,
            prices,
            state_dir: None,
            breaker: breaker.unwrap_or(defaults.breaker),
            decision_log: get("BATON_LLM_DECISION_LOG").map(PathBuf::from),
            decision_log_size: size.unwrap_or(defaults.decision_log_size),
            decision_log_age: age.unwrap_or(defaults.decision_log_age),
        };
        if limits.has_cost_budget() && limits.prices.is_empty() && get("BATON_LLM_PRICES").is_none() {
            errors.push(
                "a budget of money is set, but no prices: set BATON_LLM_PRICES to what a million tokens cost, like \
                 gpt-6-luna=0.10/0.50 (input/output)"
                    .to_owned(),
            );
        }
        limits.state_dir = get("BATON_LLM_STATE_DIR").map(PathBuf::from).or_else(|| {
            let state = get("XDG_STATE_HOME").map(PathBuf::from);
            let state = state.or_else(|| get("HOME").map(|home| PathBuf::from(home).join(".local/state")));
            Some(state?.join("baton"))
        });
        if limits.counts() && limits.state_dir.is_none() {
            errors.push(NO_PLACE.to_owned());
        }
        limits
    }
}

/// The prices of a million tokens of a model, in [`NANO`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    input: u64,
    output: u64,
    cached: u64,
    cache_write: u64,
}

impl Price {
    /// The cost of a call, in [`NANO`]s, rounded up. `prompt` counts all tokens of the prompt, including those read
    /// from or written to the server's cache.
    #[must_use]
    pub fn cost(&self, prompt: u64, cached: u64, cache_write: u64, completion: u64) -> u64 {
        let plain = prompt.saturating_sub(cached).saturating_sub(cache_write);
        let sum =
            [(plain, self.input), (cached, self.cached), (cache_write, self.cache_write), (completion, self.output)]
                .iter()
                .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price))
                .sum::<u128>();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The maximum cost of a call, whatever the server caches.
    #[must_use]
    pub fn most(&self, prompt: u64, completion: u64) -> u64 {
        let dearest = Self { input: self.input.max(self.cached).max(self.cache_write), ..*self };
        dearest.cost(prompt, 0, 0, completion)
    }
}

/// The prices of models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(Vec<(String, Price)>);

impl Prices {
    /// The price of a requested model; `None` if none is set.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<Price> {
        let named = |name: &str| self.0.iter().find(|(of, _)| of == name).map(|(_, price)| *price);
        named(model).or_else(|| named("*"))
    }

    /// Whether no price is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `model=input/output[/cached[/cache_write]], …`, or `input/output` for every model. Unless given, cached
    /// tokens cost the same as input, and cache writes a quarter more.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| {
            format!(
                "BATON_LLM_PRICES has `{}`: write model=input/output for a million tokens, like gpt-6-luna=0.10/0.50, \
                 separated by commas",
                excerpt(part, 60)
            )
        };
        let mut prices: Vec<(String, Price)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            // A model's name may contain separators, so the numbers begin at the last `=`.
            let (model, numbers) = part.rsplit_once('=').unwrap_or(("*", part));
            let numbers: Option<Vec<u64>> = numbers
                .split('/')
                .map(|number| {
                    let number = number.trim().parse::<f64>().ok().filter(|price| (0.0..=1e6).contains(price))?;
                    Some((number * NANO).round() as u64)
                })
                .collect();
            let Some((&input, rest)) = numbers.as_deref().and_then(<[u64]>::split_first) else {
                return Err(wrong(part));
            };
            let price = match *rest {
                [output] => Price { input, output, cached: input, cache_write: input + input / 4 },
                [output, cached] => Price { input, output, cached, cache_write: input + input / 4 },
                [output, cached, cache_write] => Price { input, output, cached, cache_write },
                _ => return Err(wrong(part)),
            };
            let model = model.trim();
            if model.is_empty() || prices.iter().any(|(of, _)| of == model) {
                return Err(wrong(part));
            }
            prices.push((model.to_owned(), price));
        }
        Ok(Self(prices))
    }
}

/// Splits `64MB` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes = match unit {
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn parse_age(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| (1..=3650 * 86_400).contains(seconds)).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;
    use crate::Settings;

    fn limits(pairs: &[(&str, &str)]) -> Result<Limits, Vec<String>> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_lookup(lookup).map(|settings| settings.limits)
    }

    #[test]
    fn prices_are_read_and_count() {
        let prices = Prices::parse("gpt-6-luna=0.10/0.50, a=b/c=1/2/0.1/1.5, 3/15").unwrap();
        let luna = prices.of("gpt-6-luna").unwrap();
        assert_eq!(luna.cost(1_000_000, 0, 0, 0), 100_000_000);
        assert_eq!(luna.cost(1, 0, 0, 1), 600);
        let cached = prices.of("a=b/c").unwrap();
        assert_eq!(cached.cost(1_000_000, 400_000, 100_000, 0), 500_000_000 + 40_000_000 + 150_000_000);
        assert_eq!(cached.most(1_000_000, 0), 1_500_000_000);
        assert_eq!(prices.of("another").unwrap().cost(0, 0, 0, 1_000_000), 15_000_000_000);
        assert_eq!(Prices::parse("m=1/2").unwrap().of("n"), None);
        for wrong in ["m", "m=1", "m=1/2/3/4/5", "m=x/1", "m=-1/1", "=1/2", "m=1/1,m=2/2", "m=nan/1"] {
            assert!(Prices::parse(wrong).unwrap_err().starts_with("BATON_LLM_PRICES has `"), "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let errors = limits(&[
            ("BATON_LLM_REQUESTS_PER_MINUTE", "0"),
            ("BATON_LLM_TOKENS_PER_MINUTE", "many"),
            ("BATON_LLM_BUDGET_COST", "-1"),
            ("BATON_LLM_BREAKER", "often"),
            ("BATON_LLM_DECISION_LOG_SIZE", "64"),
            ("BATON_LLM_DECISION_LOG_AGE", "1y"),
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "BATON_LLM_REQUESTS_PER_MINUTE is `0`: set a whole number from 1 to 1000000",
                "BATON_LLM_TOKENS_PER_MINUTE is `many`: set a whole number from 1 to 1000000000000",
                "BATON_LLM_BUDGET_COST is `-1`: set a number above 0, such as 5 or 0.50",
                "BATON_LLM_BREAKER is `often`: set a whole number from 0 to 10000",
                "BATON_LLM_DECISION_LOG_SIZE is `64`: set a size from 64kB to 1TB, such as 64MB",
                "BATON_LLM_DECISION_LOG_AGE is `1y`: set a time from 1s to 3650d, such as 12h or 30d",
            ]
        );
        let errors = limits(&[("BATON_LLM_BUDGET_COST_PER_DAY", "5"), ("HOME", "/h")]).unwrap_err();
        assert!(errors[0].contains("set BATON_LLM_PRICES"), "{errors:?}");
        let errors = limits(&[("BATON_LLM_BUDGET_TOKENS", "5")]).unwrap_err();
        assert!(errors[0].contains("set BATON_LLM_STATE_DIR"), "{errors:?}");
    }

    #[test]
    fn what_is_counted_has_a_place() {
        let dir = |pairs: &[(&str, &str)]| limits(pairs).unwrap().state_dir;
        let rate = ("BATON_LLM_REQUESTS_PER_MINUTE", "60");
        assert_eq!(dir(&[]), None);
        // The options of a call may have a budget.
        assert_eq!(dir(&[("HOME", "/h")]), Some("/h/.local/state/baton".into()));
        assert_eq!(dir(&[rate, ("HOME", "/h")]), Some("/h/.local/state/baton".into()));
        assert_eq!(dir(&[rate, ("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s/baton".into()));
        assert_eq!(dir(&[rate, ("BATON_LLM_STATE_DIR", "/d")]), Some("/d".into()));
    }

    #[test]
    fn sizes_and_ages() {
        let set = limits(&[("BATON_LLM_DECISION_LOG_SIZE", "2GB"), ("BATON_LLM_DECISION_LOG_AGE", "12h")]).unwrap();
        assert_eq!((set.decision_log_size, set.decision_log_age), (2_000_000_000, Duration::from_secs(43_200)));
        assert_eq!(limits(&[("BATON_LLM_BREAKER", "off")]).unwrap().breaker, 0);
    }
}
