//! Parses values as people write them, and formats values for messages.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest working time of a row that can be set. Arroyo's own timeout of 10 minutes would end the job.
pub const LONGEST: Duration = Duration::from_secs(9 * 60);

/// A whole number in `range`.
///
/// # Errors
/// A sentence with the setting's `name` and the edit to make.
pub fn parse_number(name: &str, value: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    value
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{name} is `{value}`: set a whole number from {} to {}", range.start(), range.end()))
}

/// A time such as `500ms`, `10s` or `2m`, from 10 ms to 9 minutes.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("set a whole number with its unit, such as 500ms, 10s or 2m".to_owned()),
    };
    text[..digits]
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .map(Duration::from_millis)
        .filter(|duration| (Duration::from_millis(10)..=LONGEST).contains(duration))
        .ok_or_else(|| "set a time from 10ms to 9m".to_owned())
}

/// The value of a result. Its error is added to `errors`, so that one run reports all mistakes.
pub(crate) fn keep<T>(result: Result<T, String>, errors: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| errors.push(message)).ok()
}

/// The name in `known` that is most similar to `name`.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let (distance, near) = known.iter().map(|near| (edit_distance(&name, near), *near)).min()?;
    (distance <= near.len().max(name.len()) / 3 + 1 && distance < near.len()).then_some(near)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The first `limit` characters of `text` on one line, for an error message.
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        for character in (if line.is_empty() { "" } else { " " }).chars().chain(word.chars()) {
            if length == limit {
                line.push('…');
                return line;
            }
            line.push(if character.is_control() { '\u{fffd}' } else { character });
            length += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt("a\n  b\tc", 10), "a b c");
        assert_eq!(excerpt("äöüäöü", 3), "äöü…");
        assert_eq!(excerpt(&"x".repeat(1000), 5), "xxxxx…");
        assert_eq!(excerpt("a\u{1b}[31m", 20), "a\u{fffd}[31m");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "-1s", "1.5s", "1h", "99999999999999999999s", "1ms", "10m", "ä"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
