//! `framing`: a message that holds several rows, one per line.

/// How a message is split into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    lines: bool,
    longest: usize,
}

impl Framing {
    /// A message is one row.
    pub const NONE: Self = Self { lines: false, longest: usize::MAX };

    /// Each line is a row, of which at most `longest` bytes are read.
    #[must_use]
    pub fn lines(longest: Option<usize>) -> Self {
        Self { lines: true, longest: longest.unwrap_or(usize::MAX) }
    }

    /// The rows of a message, each as the part that is read and as a whole. An empty message has none, and an empty
    /// rest after the last line break is not a row.
    pub fn frames(self, message: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = message;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = if self.lines { rest.iter().position(|byte| *byte == b'\n') } else { None };
            let (frame, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = after;
            Some((&frame[..frame.len().min(self.longest)], frame))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_frames_as_arroyo_has_them() {
        let frames = |framing: Framing, message: &str| -> Vec<String> {
            framing.frames(message.as_bytes()).map(|(f, _)| String::from_utf8_lossy(f).into_owned()).collect()
        };
        assert_eq!(frames(Framing::NONE, "a\nb\n"), ["a\nb\n"]);
        assert_eq!(frames(Framing::NONE, ""), [""; 0]);
        let lines = Framing::lines(None);
        assert_eq!(frames(lines, "one"), ["one"]);
        assert_eq!(frames(lines, "one\n\nthree\n"), ["one", "", "three"]);
        assert_eq!(frames(lines, "\n"), [""]);
        assert_eq!(frames(Framing::lines(Some(2)), "one\ntw\n3"), ["on", "tw", "3"]);
    }
}
