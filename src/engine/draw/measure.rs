//! How wide a text is, without a font: as wide as in the widest font that a reader may have (DejaVu), so that no text
//! leaves its box.

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Font {
    /// Its size in pixels.
    pub size: f64,
    /// The class that gives it its colour, weight and family.
    pub class: &'static str,
    /// How it is measured.
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Bold,
    Mono,
}

/// The name of a thing.
pub const NAME: Font = Font { size: 13.0, class: "name", kind: Kind::Bold };
/// Text beside a name.
pub const NOTE: Font = Font { size: 11.0, class: "note", kind: Kind::Plain };
/// SQL.
pub const CODE: Font = Font { size: 11.0, class: "code", kind: Kind::Mono };

impl Font {
    /// The height of a line.
    #[must_use]
    pub fn line_height(self) -> f64 {
        (self.size * 1.4).round()
    }

    /// How wide a text is, at most.
    #[must_use]
    pub fn width(self, text: &str) -> f64 {
        let em: f64 = match self.kind {
            Kind::Plain => text.chars().map(proportional).sum(),
            Kind::Bold => text.chars().map(proportional).sum::<f64>() * 1.1,
            Kind::Mono => text.chars().map(|c| if is_wide(c) { 1.1 } else { 0.62 }).sum(),
        };
        em * self.size
    }

    /// Breaks a text into lines of at most that width, at good places. What does not fit is cut.
    #[must_use]
    pub fn wrap(self, text: &str, widest: f64, most_lines: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        let fits = |line: &str, piece: &str| self.width(&format!("{line}{}", piece.trim_end())) <= widest;
        for word in text.split_inclusive(' ') {
            // A word that is too long is broken where the parts of a name are joined, or else anywhere.
            let pieces = if fits("", word) { vec![word] } else { pieces(word) };
            for piece in pieces {
                if !line.is_empty() && !fits(&line, piece) {
                    lines.push(std::mem::take(&mut line));
                }
                for c in piece.chars() {
                    if !line.is_empty() && c != ' ' && self.width(&format!("{line}{c}")) > widest {
                        lines.push(std::mem::take(&mut line));
                    }
                    line.push(c);
                }
            }
        }
        for line in &mut lines {
            line.truncate(line.trim_end().len());
        }
        lines.push(line.trim_end().to_string());
        lines.retain(|line| !line.is_empty());
        if lines.len() > most_lines {
            lines.truncate(most_lines);
            if let Some(last) = lines.last_mut() {
                while !last.is_empty() && self.width(&format!("{last}…")) > widest {
                    last.pop();
                }
                *last = format!("{}…", last.trim_end());
            }
        }
        lines
    }
}

/// Splits a text after the characters that join the parts of a name.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, '_' | '-' | '.' | '/' | ',' | '(' | '=') {
            found.push(&text[start..at + c.len_utf8()]);
            start = at + c.len_utf8();
        }
    }
    found.push(&text[start..]);
    found
}

/// The width of a letter in em, rounded up.
fn proportional(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' => 0.34,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '/' | '-' | '!' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 1.0,
        'a'..='z' | '0'..='9' | '_' => 0.64,
        'A'..='Z' => 0.78,
        c if is_wide(c) => 1.1,
        _ => 0.85,
    }
}

/// Whether a letter is as wide as it is high: CJK, symbols.
fn is_wide(c: char) -> bool {
    c >= '\u{1100}' && !('\u{1E00}'..='\u{22FF}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_allowed() {
        let texts = [
            "incoming-leads.stratusdb.leads",
            "destination NOT IN ('unrouted', 'dead_letters')",
            "a_very_long_name_without_any_end_that_goes_on_and_on",
            "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
            "",
            " ",
            "短い文字列が続くだけです",
        ];
        for text in texts {
            for (font, widest) in [(NAME, 90.0), (CODE, 120.0), (NOTE, 60.0)] {
                let lines = font.wrap(text, widest, 99);
                assert!(lines.iter().all(|line| font.width(line) <= widest), "{lines:?}");
                let whole: String = lines.concat().split_whitespace().collect();
                assert_eq!(whole, text.split_whitespace().collect::<String>());
                assert!(font.wrap(text, widest, 2).len() <= 2);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(CODE.wrap("a = 1 AND b = 2 AND c = 3", 70.0, 2), ["a = 1 AND", "b = 2 AND…"]);
    }
}
