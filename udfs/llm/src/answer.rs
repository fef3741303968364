//! Removes the wrapping that models put around an answer: thoughts, Markdown fences, quotes, and text around JSON.
//! `classify` and `complete` check the answer.

use serde::de::IgnoredAny;

/// How much of a text is read in search of JSON, in bytes.
const MOST_READ: usize = 4_000_000;

/// The tags around thoughts.
const TAGS: &[(&str, &str)] = &[
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
];

/// How gpt-oss starts its answer after its thoughts.
const FINAL: &[&str] = &["<|channel|>final<|message|>", "<|channel|>final json<|message|>"];

/// Ends of a message, which some servers leave in its text.
const ENDS: &[&str] = &["<|return|>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>"];

/// How many thoughts may stand before an answer.
const MOST_THOUGHTS: usize = 50;

/// How many pieces of JSON in a text are tried.
const MOST_TRIED: usize = 200;

/// The answer without the thoughts before it; `None` if they never end.
///
/// A server may leave out the opening tag. A tag in quotes is one that the text is about.
pub(crate) fn without_thoughts(answer: &str) -> Option<&str> {
    without_thoughts_before(answer, |_| false)
}

/// The same, but what `is_answer` accepts is not searched for thoughts.
fn without_thoughts_before(answer: &str, is_answer: fn(&str) -> bool) -> Option<&str> {
    let mut answer = answer;
    for end in ENDS {
        answer = answer.trim_end().strip_suffix(end).unwrap_or(answer);
    }
    if let Some(start) = FINAL.iter().filter_map(|start| Some(answer.rfind(start)? + start.len())).max() {
        answer = &answer[start..];
    } else if answer.trim_start().starts_with("<|channel|>analysis") {
        return None;
    } else if let Some((_, after)) = answer.rsplit_once("assistantfinal").filter(|_| answer.starts_with("analysis")) {
        // The same without its special tokens.
        answer = after;
    }
    for _ in 0..MOST_THOUGHTS {
        if is_answer(answer) {
            return Some(answer.trim());
        }
        match after_one_thought(answer) {
            None => return Some(answer.trim()),
            Some(after) => answer = after?,
        }
    }
    None
}

/// The text after the first thought, if there is one.
fn after_one_thought(answer: &str) -> Option<Option<&str>> {
    let answer = answer.trim_start();
    TAGS.iter().find_map(|(open, close)| {
        if let Some(inside) = answer.strip_prefix(open) {
            return Some(find(inside, close).map(|at| &inside[at + close.len()..]));
        }
        let at = find(answer, close)?;
        let opened = find(answer, open).is_some_and(|opened| opened < at);
        (!opened).then(|| Some(&answer[at + close.len()..]))
    })
}

/// The place of a tag that is not in quotes.
fn find(text: &str, tag: &str) -> Option<usize> {
    let quoted = |at: &usize| {
        // A thought may end with a quotation, so both sides count.
        text[..*at].ends_with(['`', '"', '\'', '“', '„', '«', '‘'])
            && text[at + tag.len()..].starts_with(['`', '"', '\'', '”', '“', '»', '’'])
    };
    text.match_indices(tag).map(|(at, _)| at).find(|at| !quoted(at))
}

/// The pieces of an answer that may be its JSON, the likeliest first: all of it, the inside of a Markdown fence, and each
/// object and array in the text. Thoughts are left out.
pub(crate) fn json_pieces(answer: &str) -> impl Iterator<Item = &str> {
    // Most answers are JSON and nothing else, so the others are looked for only if the first is none.
    std::iter::once(answer.trim()).chain(std::iter::once_with(move || pieces_inside(answer)).flatten())
}

/// The same without the whole answer.
fn pieces_inside(answer: &str) -> impl Iterator<Item = &str> {
    // A text in JSON may contain tags, so an answer that is JSON is not searched for thoughts.
    let said = without_thoughts_before(answer, is_json);
    // Thoughts in the middle may contain JSON too.
    let said = said.map(|said| {
        let last = TAGS.iter().filter_map(|(_, close)| Some(said.rfind(close)? + close.len())).max();
        match last {
            Some(last) if !is_json(said) => said[last..].trim(),
            _ => said,
        }
    });
    let fenced = said.and_then(|said| in_fence(said));
    let open = said.and_then(|said| TAGS.iter().filter_map(|(open, _)| find(said, open)).min());
    let pieces = said.into_iter().flat_map(move |said| Pieces {
        text: said,
        end: open.unwrap_or(said.len()),
        left: (MOST_READ / said.len().max(1)).clamp(4, MOST_TRIED),
    });
    said.into_iter().chain(fenced).chain(pieces.take(MOST_TRIED))
}

/// Whether an answer begins with its JSON. Then the JSON is the answer, whatever follows, and its end shows by itself.
pub(crate) fn starts_with_json(answer: &str) -> bool {
    let begins = |said: &str| said.starts_with(['{', '[']);
    // Without any tag, there are no thoughts to look for.
    let is_plain = begins(answer.trim_start()) && !answer.contains(['<', '[', '◁', '|']);
    is_plain || without_thoughts(answer).is_some_and(begins)
}

/// The objects and arrays in a text that are complete.
struct Pieces<'a> {
    text: &'a str,
    /// None starts after this.
    end: usize,
    /// How many more attempts may fail.
    left: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // Each attempt may read all of the text.
        while let Some(at) = self.text.find(['{', '[']).filter(|at| *at < self.end && self.left > 0) {
            let rest = &self.text[at..];
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
            let length = values.next().and_then(Result::ok).map(|_| values.byte_offset());
            let next = at + length.unwrap_or(1);
            self.text = &self.text[next..];
            self.end = self.end.saturating_sub(next);
            if let Some(length) = length {
                return Some(&rest[..length]);
            }
            if is_meant_as_json(rest) {
                return None; // What is inside of broken JSON is not the answer.
            }
            self.left -= 1;
        }
        None
    }
}

/// Whether text that starts with a bracket is JSON or was to be, rather than a reference or a placeholder.
fn is_meant_as_json(text: &str) -> bool {
    let next = text[1..].trim_start().chars().next();
    match next {
        None | Some('"' | '\'') => true,
        Some(letter) if text.starts_with('{') => letter.is_alphabetic() || letter == '_',
        Some(letter) => letter == '{',
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The text inside of the first Markdown fence.
fn in_fence(text: &str) -> Option<&str> {
    let (_, inside) = text.split_once("```")?;
    // The rest of the line of the opening fence is the language.
    let body = inside.split_once('\n').map_or(inside, |(_, body)| body);
    Some(body.split_once("```").map_or(body, |(body, _)| body).trim())
}

/// An answer that is one word or name, without thoughts, a Markdown fence around it, and quotes.
pub(crate) fn bare(answer: &str) -> &str {
    let answer = without_thoughts(answer).unwrap_or_default();
    let fenced = if answer.starts_with("```") && answer.ends_with("```") { in_fence(answer) } else { None };
    let answer = fenced.unwrap_or(answer);
    for quote in ['"', '\'', '`'] {
        if let Some(inside) = answer.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inside.trim();
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_removed() {
        for (answer, text) in [
            (" Report. ", Some("Report.")),
            ("<think>hm</think>\n\nReport.", Some("Report.")),
            ("hm\n</think>\n\nReport.", Some("Report.")),
            ("<think>a</think><think>b</think>Report.", Some("Report.")),
            ("<think>a</think> b</think> Report.", Some("Report.")),
            ("<thinking>hm</thinking>Report.", Some("Report.")),
            ("<think>Say \"Report.\"</think>Report.", Some("Report.")),
            ("<thought>hm</thought>Report.", Some("Report.")),
            ("[THINK]hm[/THINK]Report.", Some("Report.")),
            ("◁think▷hm◁/think▷Report.", Some("Report.")),
            (
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Report.<|return|>",
                Some("Report."),
            ),
            ("analysisHm.assistantfinalReport.", Some("Report.")),
            ("<think>hm", None),
            ("<|channel|>analysis<|message|>hm", None),
            ("<think></think>", Some("")),
            ("", Some("")),
            // The text is about tags.
            ("Close `<think>` with `</think>`.", Some("Close `<think>` with `</think>`.")),
            ("Write <think>x</think> first.", Some("Write <think>x</think> first.")),
            ("<think>hm</think>The tag `</think>` ends it.", Some("The tag `</think>` ends it.")),
            ("An [THINK] that stays open", Some("An [THINK] that stays open")),
            ("The analysis", Some("The analysis")),
        ] {
            assert_eq!(without_thoughts(answer), text, "{answer}");
        }
    }

    fn first(answer: &str) -> Option<&str> {
        json_pieces(answer).find(|piece| is_json(piece))
    }

    #[test]
    fn json_is_found() {
        let object = r#"{"a":"}"}"#;
        for before in
            ["", " ", "Here:\n", "```json\n", "<think>[1] {\"a\":2}</think>", "hm {\"a\":2}</think>", "[x] {", "é"]
        {
            for after in ["", "\n", "\n```\nHope it helps {\"a\":2}", " <think>no", "}"] {
                let answer = format!("{before}{object}{after}");
                assert_eq!(first(&answer), Some(object), "{answer}");
            }
        }
        for (answer, json) in [
            (r#"{"a":"<think>"}"#, r#"{"a":"<think>"}"#),
            (r#"{"a":"x </think> y"}"#, r#"{"a":"x </think> y"}"#),
            (r#"<think>hm</think>{"a":"x </think> y"}"#, r#"{"a":"x </think> y"}"#),
            ("Well <think>{\"a\":2}</think> {\"a\":1}", "{\"a\":1}"),
            ("```\n[1, 2]\n```", "[1, 2]"),
            ("```json\n7\n```", "7"),
            ("\"text\"", "\"text\""),
        ] {
            assert_eq!(first(answer), Some(json), "{answer}");
        }
        for answer in [
            "",
            "text",
            "<think>{\"a\":1}",
            "Hm <think>{\"a\":1}",
            "{\"a\":",
            "{\"a\": 1",
            "{\"b\":[{\"a\":1}]",
            "{b: {\"a\":1}}",
        ] {
            assert_eq!(first(answer), None, "{answer}");
        }
    }

    #[test]
    fn hostile_answers_take_no_time() {
        for piece in ["{", "[", "[\"", "{\"a\":", "<think>", "</think>", "`</think>", "```", "[1,", "{}"] {
            let answer = piece.repeat(50_000);
            let started = std::time::Instant::now();
            assert!(json_pieces(&answer).count() <= MOST_TRIED + 4);
            let _ = bare(&answer);
            assert!(started.elapsed() < std::time::Duration::from_secs(20), "{piece}");
        }
    }
}
