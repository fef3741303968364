//! What follows an answer that is not complete, and prompts that a server has silently truncated.

use super::{Dialects, End, Question, Reply};
use crate::gate::MOST_ANSWERED;
use crate::result::{Failure, Status};
use crate::transport::Row;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::secret::redact;
use baton_llm_settings::settings::Provider;
use baton_llm_settings::text::excerpt;

/// The maximum length of an answer, in tokens, that is ever asked for without a setting.
const MOST_ROOM: u32 = 32_768;

/// Shorter prompts, in bytes, are not checked for being truncated.
const CHECKED: usize = 6000;

/// Fewer tokens say nothing, because counts are estimates.
const LEAST_ESTIMATE: usize = 1500;

/// What to do after an answer that is not complete.
pub(crate) enum Next {
    /// Ask again with more room, which the question now has.
    WithMoreRoom,
    /// Ask the same once more: the server broke off.
    Again(String),
    /// The row ends.
    Stop(Failure),
}

impl Question<'_> {
    /// What follows `reply`; `None` if it is complete.
    pub(crate) fn after(
        &mut self,
        reply: &Reply,
        dialects: &Dialects,
        endpoint: &Endpoint,
        row: &mut Row,
    ) -> Option<Next> {
        // The server's own reason may quote anything, so it is redacted before it is truncated.
        let why = || excerpt(&redact(&reply.end.sentence(), &endpoint.secrets()), 400);
        Some(match &reply.end {
            End::Complete => return None,
            End::Cut if self.give_more_room(reply.spent.completion_tokens, dialects, endpoint) => {
                row.guard.most_answered = self.max_tokens.unwrap_or(0).into();
                Next::WithMoreRoom
            }
            End::Cut | End::Full | End::Refused => Next::Stop(Failure::new(Status::Invalid, why())),
            End::Filtered => Next::Stop(Failure::new(Status::Rejected, why())),
            End::Broken(_) => Next::Again(why()),
        })
    }

    /// Raises `max_tokens` after an answer that `used` as many tokens and was cut off. The same question again would be
    /// cut off again. False if there is no more room.
    fn give_more_room(&mut self, used: Option<u64>, dialects: &Dialects, endpoint: &Endpoint) -> bool {
        let sent = match endpoint.provider {
            Provider::Anthropic => self.max_tokens.or(Some(MOST_ANSWERED)),
            _ => self.max_tokens,
        };
        let bound = dialects.of(endpoint).bounded(Some(MOST_ROOM)).unwrap_or(MOST_ROOM);
        let used = u32::try_from(used.unwrap_or(0)).unwrap_or(u32::MAX);
        let now = sent.unwrap_or(used);
        let next = now.saturating_mul(4).max(MOST_ANSWERED).min(bound);
        let is_more = next > now;
        if is_more {
            self.max_tokens = Some(next);
            self.has_more_room = true;
        }
        is_more
    }

    /// A failure of this question. If more room is refused, the answer is still the one that was cut off.
    pub(crate) fn failed(&self, failure: Failure) -> Failure {
        if !self.has_more_room || failure.status != Status::Rejected {
            return failure;
        }
        Failure::new(Status::Invalid, format!("{}. Asked with more room: {}", End::Cut.sentence(), failure.message))
    }

    /// Whether the server counts far fewer tokens than the prompt can have: it has truncated the prompt without saying so.
    pub(crate) fn was_cut(&self, prompt_tokens: Option<u64>) -> bool {
        let Some(tokens) = prompt_tokens.filter(|_| self.system.len() + self.user.len() >= CHECKED) else {
            return false;
        };
        let texts = [&*self.system, &*self.user];
        let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
        // Rows of dashes are a few tokens, so only letters and digits are counted.
        let letters: usize =
            texts.iter().map(|text| text.chars().filter(|letter| letter.is_alphanumeric()).count()).sum();
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
        words.max(letters / 6) >= LEAST_ESTIMATE && (tokens < words / 10 * 9 || letters / 6 > tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_prompts_are_noticed() {
        let of = |text: String| Question { user: text, ..Question::default() };
        let words = of("some word or other ".repeat(1000));
        assert!(words.was_cut(Some(2050)) && words.was_cut(Some(3599)));
        assert!(!words.was_cut(Some(3600)) && !words.was_cut(Some(9000)) && !words.was_cut(None));
        let without_blanks = of("ab".repeat(10_000));
        assert!(without_blanks.was_cut(Some(3000)) && !without_blanks.was_cut(Some(3400)));
        assert!(!of("-".repeat(100_000)).was_cut(Some(1000)));
        assert!(!of("word ".repeat(1000)).was_cut(Some(10)), "too short to say");
        assert!(of("漢字".repeat(10_000)).was_cut(Some(2048)));
    }
}
