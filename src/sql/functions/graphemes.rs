//! Characters as a reader counts them: extended grapheme clusters, by which DataFusion 48 cuts text in `translate`, `lpad`
//! and `rpad`. An `e` with a combining accent is one, and so is a flag or a family.
//!
//! The pattern is that of Unicode's annex 29 (rules GB3 to GB13). It was compared with `unicode-segmentation` 1.12, which
//! Arroyo has: each character beside each kind of neighbour, and three million random texts.

use std::sync::LazyLock;

use regex::Regex;

/// What follows a character without a break before it.
const EXTENDS: &str = r"[\p{gcb=Extend}\p{gcb=ZWJ}\p{gcb=SpacingMark}]*";

/// Consonants of the scripts in which a virama joins two of them to one cluster (GB9c).
const CONSONANT: &str = r"[
    \x{915}-\x{939}\x{958}-\x{95F}\x{978}-\x{97F}
    \x{995}-\x{9A8}\x{9AA}-\x{9B0}\x{9B2}\x{9B6}-\x{9B9}\x{9DC}\x{9DD}\x{9DF}\x{9F0}\x{9F1}
    \x{A95}-\x{AA8}\x{AAA}-\x{AB0}\x{AB2}\x{AB3}\x{AB5}-\x{AB9}\x{AF9}
    \x{B15}-\x{B28}\x{B2A}-\x{B30}\x{B32}\x{B33}\x{B35}-\x{B39}\x{B5C}\x{B5D}\x{B5F}\x{B71}
    \x{C15}-\x{C28}\x{C2A}-\x{C39}\x{C58}-\x{C5A}\x{D15}-\x{D3A}
]";

const VIRAMA: &str = r"[\x{94D}\x{9CD}\x{ACD}\x{B4D}\x{C4D}\x{D4D}]";

/// What may stand beside a virama that joins.
const BESIDE_VIRAMA: &str = r"[[\p{gcb=Extend}\p{gcb=ZWJ}]--\x{200C}]*";

/// `None` cannot be: the pattern is constant, and a test compiles it.
static CLUSTER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = format!(
        r"(?x)
          \p{{gcb=CR}}\p{{gcb=LF}} | [\p{{gcb=CR}}\p{{gcb=LF}}\p{{gcb=Control}}]
        | \p{{gcb=Prepend}}*
          (?:
              \p{{gcb=RI}}\p{{gcb=RI}}
            | \p{{gcb=L}}* (?: \p{{gcb=V}}+ | \p{{gcb=LV}}\p{{gcb=V}}* | \p{{gcb=LVT}} ) \p{{gcb=T}}*
            | \p{{gcb=L}}+ | \p{{gcb=T}}+
            | \p{{ExtPict}} (?: \p{{gcb=Extend}}* \p{{gcb=ZWJ}} \p{{ExtPict}} )*
            | {CONSONANT} (?: {BESIDE_VIRAMA} {VIRAMA} {BESIDE_VIRAMA} {CONSONANT} )*
            | [^\p{{gcb=CR}}\p{{gcb=LF}}\p{{gcb=Control}}\p{{gcb=Prepend}}\p{{gcb=Extend}}\p{{gcb=ZWJ}}\p{{gcb=SpacingMark}}]
          )
          {EXTENDS}
        | \p{{gcb=Prepend}}+ {EXTENDS}
        | [\p{{gcb=Extend}}\p{{gcb=ZWJ}}\p{{gcb=SpacingMark}}]+"
    );
    Regex::new(&pattern).ok()
});

/// The clusters of a text, in order; together they are the text.
pub(super) fn graphemes(text: &str) -> Vec<&str> {
    match &*CLUSTER {
        // In ASCII only `\r\n` is more than a character.
        Some(cluster) if !text.is_ascii() || text.contains('\r') => {
            cluster.find_iter(text).map(|found| found.as_str()).collect()
        }
        _ => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_not_split() {
        for (text, expected) in [
            ("", vec![]),
            ("ab\r\nc\n", vec!["a", "b", "\r\n", "c", "\n"]),
            ("e\u{301}x", vec!["e\u{301}", "x"]),
            ("🇩🇪🇫🇷🇩", vec!["🇩🇪", "🇫🇷", "🇩"]),
            ("👨‍👩‍👧👍🏽!", vec!["👨‍👩‍👧", "👍🏽", "!"]),
            ("각\u{1100}\u{1161}\u{11a8}\u{1100}", vec!["각", "\u{1100}\u{1161}\u{11a8}", "\u{1100}"]),
            ("क्षिक", vec!["क्षि", "क"]),
            ("क\u{200c}्क", vec!["क\u{200c}्", "क"]),
            ("\u{301}\u{600}a", vec!["\u{301}", "\u{600}a"]),
        ] {
            assert_eq!(graphemes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn no_character_is_lost() {
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        assert!(CLUSTER.is_some() && graphemes(&all).concat() == all);
    }
}
