//! Removes the wrapping that models put around an answer: thoughts, Markdown fences, quotes. `classify` and `complete`
//! check the answer.

/// An answer without leading thoughts, which some servers do not remove, and without a Markdown fence around it.
pub(crate) fn unwrapped(answer: &str) -> &str {
    let mut answer = answer.trim();
    if let Some((_, rest)) = answer.strip_prefix("<think>").and_then(|thoughts| thoughts.split_once("</think>")) {
        answer = rest.trim();
    }
    if let Some(inside) = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) {
        // The rest of the line of the opening fence is the language.
        answer = inside.split_once('\n').map_or(inside, |(_, body)| body).trim();
    }
    answer
}

/// A text without surrounding quotes.
pub(crate) fn unquoted(text: &str) -> &str {
    for quote in ['"', '\'', '`'] {
        if let Some(inside) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inside.trim();
        }
    }
    text
}
