//! Asks one question: sends it, repeats it without the features that the server refuses, reads the answer, and finds
//! out whose fault a refusal is.

use super::{Dialect, Dialects, Question, Reply, anthropic, build, openai};
use crate::client::{Answer, Request, describe_answer};
use crate::decisions::digest;
use crate::fault::{Cause, Fault};
use crate::jury::SEVERAL;
use crate::prompt;
use crate::result::{Failure, Status};
use crate::transport::{Failed, Requests, Row, Transport};
use baton_llm_settings::address::shown;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::secret::{Secret, redact, redact_answer};
use baton_llm_settings::settings::Provider;
use baton_llm_settings::text::excerpt;
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Messages that every healthy server answers.
const HARMLESS: [&str; 2] = ["Hello.", "Thank you."];

/// The instructions for them, where the question's own may be at fault.
const PLAIN: &str = "Answer the message in a few words.";

/// How long a refused row waits for an answer to another one, at least and at most, before it asks a harmless question.
const PATIENCE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// The wait before the next harmless question, if the server failed to answer one.
const PAUSE: Duration = Duration::from_secs(2);

/// How often a row may be refused while others find out what the server takes.
const MOST_REFUSALS: u32 = 20;

/// How long, and how often, a key file is read again after its key was refused.
const ROTATION: (u32, Duration) = (20, Duration::from_millis(500));

/// The reason for a missing reply.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Asking again is useless: the row ends.
    Final(Failure),
    /// The answer does not follow the protocol. It may be requested once more.
    Unreadable(String),
}

/// Asks once, with the transport's retries, and again at once for each feature that the server refuses (only at the
/// first calls of a server and model).
pub(crate) async fn ask(
    transport: &Transport,
    dialects: &Dialects,
    endpoint: &Endpoint,
    question: &Question<'_>,
    row: &mut Row,
) -> Result<Reply, AskError> {
    let mut endpoint = Cow::Borrowed(endpoint);
    let mut refusals = 0;
    // A row without retries makes no calls only to find out why a server fails.
    let mut blames_features =
        row.retries_left > 0 && row.guard.jury.as_ref().is_some_and(|jury| jury.blames_features());
    let mut confirmed = false;
    loop {
        let secrets = endpoint.secrets();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        let asked = dialects.of(&endpoint);
        row.returns_errors = blames_features && asked.has_unproven(endpoint.provider, question);
        let wording = Wording { endpoint: &endpoint, question, dialects, sent: Mutex::new(asked) };
        let sent = transport.send(&wording, row, &secrets).await;
        let dialect = wording.sent();
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(Failed { answer: Some(answer), .. }) if row.returns_errors && matches!(answer.code(), 500 | 501) => {
                answer
            }
            Err(failed) => return Err(AskError::Final(failed.failure)),
        };
        let Some(fault) = answer.fault.take() else {
            let read = read(&endpoint, question, &answer.body, &secrets);
            let Ok(mut reply) = read else {
                let why = read.err().unwrap_or_default();
                let message = redact(&format!("{} answers {why}", answer.origin), secrets.iter().copied());
                // The call stays counted by its upper bound. A harmless question must not wait for it to settle.
                drop(answer.bill.take());
                let trial = Trial { transport, endpoint: &endpoint, question, dialect, row };
                if trial.is_servers_fault(Cause::Unknown, false).await {
                    row.guard.stop(&(message.clone() + &convicted(&endpoint, Cause::Unknown))).await;
                }
                return Err(AskError::Unreadable(message));
            };
            row.accepted();
            dialects.accepted(&endpoint, dialect, question, refusals > 0);
            if let Some((bill, tokens)) = answer.bill.take().zip(reply.spent.tokens()) {
                bill.settle(tokens);
            }
            warn_if_cut(&answer, question, &reply, row);
            // A server may quote the key anywhere; it must not get into a topic.
            reply.enforced = dialect.enforces(question);
            let keys = endpoint.keys();
            reply.text = redact_answer(&reply.text, &keys);
            let model = reply.spent.model.take();
            // Redacted before it is truncated, because half a key would not be found.
            let model = model.map(|model| excerpt(&redact_answer(&model, &keys), 200));
            reply.spent.model = model.filter(|model| !model.is_empty());
            return Ok(reply);
        };
        refusals += 1;
        if refusals < MOST_REFUSALS && !dialect.is_as(dialects.of(&endpoint)) {
            // Other rows have found out more since the call was sent.
            continue;
        }
        if let Some(next) = dialect.after(&fault, endpoint.provider, question) {
            dialects.remember(&endpoint, next);
            continue;
        }
        if let Some(next) = dialect.try_without(&fault, endpoint.provider, question)
            && (blames_features || fault.cause() != Cause::Busy)
        {
            dialects.suppose(&endpoint, next);
            continue;
        }
        if fault.cause() == Cause::Busy {
            // It was none of the features.
            blames_features = false;
            dialects.drop_supposition(&endpoint);
            if let Some(jury) = &row.guard.jury {
                jury.clears_features();
            }
            continue;
        }
        if fault.cause() == Cause::Key && renews_key(&mut endpoint, row).await {
            continue;
        }
        answer.fault = Some(fault.clone());
        let message = describe_answer(&answer, &secrets);
        if fault.cause() == Cause::Slip {
            return Err(AskError::Unreadable(message));
        }
        let hint = hint(&endpoint, &fault, &answer);
        let trial = Trial { transport, endpoint: &endpoint, question, dialect, row };
        let convicts = trial.convicts(&fault).await;
        if dialect.on_trial() {
            dialects.drop_supposition(&endpoint);
        }
        if convicts {
            let hint = if hint.is_empty() { convicted(&endpoint, fault.cause()) } else { hint.clone() };
            row.guard.stop(&format!("{message}{hint}")).await;
        } else if row.guard.is_patient() && !confirmed && !is_of_message(fault.cause()) && !question.has_more_room {
            // The server may have refused this row by chance.
            confirmed = true;
            continue;
        }
        return Err(AskError::Final(Failure::new(Status::Rejected, message + &hint)));
    }
}

fn read(endpoint: &Endpoint, question: &Question<'_>, body: &[u8], secrets: &[&Secret]) -> Result<Reply, String> {
    match endpoint.provider {
        Provider::Anthropic => anthropic::read(body, secrets),
        _ => openai::read(body, question, secrets),
    }
}

/// A question as it is sent: in the dialect that is known when a call starts, or in one that is tried.
struct Wording<'a> {
    endpoint: &'a Endpoint,
    question: &'a Question<'a>,
    dialects: &'a Dialects,
    /// The dialect of the last call.
    sent: Mutex<Dialect>,
}

impl Wording<'_> {
    fn sent(&self) -> Dialect {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests for Wording<'_> {
    fn next(&self) -> Result<Cow<'_, Request>, Failure> {
        let dialect = self.dialects.of(self.endpoint);
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = dialect;
        build(self.endpoint, self.question, dialect).map(Cow::Owned).map_err(Failure::config)
    }

    fn harmless(&self) -> Option<Request> {
        build(self.endpoint, &self.question.harmless(HARMLESS[0], false), self.sent()).ok()
    }
}

/// Whether a cause is usually the message's: it is too long, or a filter refuses it.
fn is_of_message(cause: Cause) -> bool {
    matches!(cause, Cause::TooLong | Cause::Filtered)
}

/// Whether the file of a refused key gets another one within some seconds, which `endpoint` then has.
async fn renews_key(endpoint: &mut Cow<'_, Endpoint>, row: &Row) -> bool {
    if endpoint.key_file.is_none() {
        return false;
    }
    for _ in 0..if row.guard.is_patient() { ROTATION.0 } else { 1 } {
        if endpoint.to_mut().renew_key() {
            return true;
        }
        tokio::time::sleep(ROTATION.1).await;
    }
    false
}

/// A refusal, and all that is needed to find out whose fault it is.
struct Trial<'a> {
    transport: &'a Transport,
    endpoint: &'a Endpoint,
    question: &'a Question<'a>,
    dialect: Dialect,
    row: &'a Row,
}

impl Trial<'_> {
    /// Whether a refusal is the fault of the server or its settings, whoever asks.
    async fn convicts(&self, fault: &Fault) -> bool {
        // More room than the server has is the fault of neither.
        if self.question.has_more_room || !self.row.guard.is_patient() {
            return false;
        }
        let certain = fault.is_certain() && matches!(fault.cause(), Cause::Key | Cause::Credit | Cause::Model);
        self.is_servers_fault(fault.cause(), certain).await
    }

    /// Decides by other messages: one that is accepted clears the server. If there is none, harmless ones are asked, at
    /// once if the cause is almost `certain`.
    async fn is_servers_fault(&self, cause: Cause, certain: bool) -> bool {
        let guard = &self.row.guard;
        let (Some(jury), true) = (&guard.jury, guard.is_patient()) else { return false };
        let refusal = jury.stamp();
        let instructions = hash(&self.question.system);
        let (_, with_these) = jury.refused(hash(&self.question.user), instructions);
        if is_of_message(cause) && with_these < SEVERAL {
            return false;
        }
        loop {
            if guard.limit.in_flight() > 0 && !certain {
                let usual = guard.limit.usual().unwrap_or_default() * 2;
                jury.wait(refusal, usual.clamp(PATIENCE[0], PATIENCE[1])).await;
            }
            guard.pause_if_stopped().await;
            if jury.cleared_since(refusal) {
                return false;
            }
            let _turn = jury.harmless.lock().await;
            guard.pause_if_stopped().await;
            if jury.cleared_since(refusal) {
                return false;
            }
            // A row's own instructions must not convict the server: only those that several rows share.
            let own = jury.refused(hash(&self.question.user), instructions).1 >= SEVERAL;
            match self.harmless_are_refused(own).await {
                Some(refused) => return refused,
                // The server is busy or down.
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Whether all harmless messages are refused; `None` if that cannot be told now.
    async fn harmless_are_refused(&self, own: bool) -> Option<bool> {
        for text in HARMLESS {
            let question = self.question.harmless(text, own);
            let Ok(request) = build(self.endpoint, &question, self.dialect) else { return Some(false) };
            match self.transport.test(&request, self.row).await {
                Ok((answer, _)) if answer.is_retryable() => return None,
                Ok((answer, test))
                    if answer.is_success() && read(self.endpoint, &question, &answer.body, &[]).is_ok() =>
                {
                    test.accepted();
                    return Some(false);
                }
                Ok(_) => {}
                Err(failure) if matches!(failure.status, Status::Budget | Status::Config) => return Some(false),
                Err(failure) if failure.status == Status::Invalid => {}
                Err(_) => return None,
            }
        }
        Some(true)
    }
}

impl<'a> Question<'a> {
    /// The same question about a harmless message, with its own instructions or plain ones.
    fn harmless(&'a self, text: &str, own: bool) -> Question<'a> {
        Question {
            system: Cow::Borrowed(if own { &*self.system } else { PLAIN }),
            user: prompt::enclosed("message", text, usize::MAX),
            again: None,
            choices: None,
            ..*self
        }
    }
}

fn hash(text: &str) -> u64 {
    let digest = digest(&[text.as_bytes()]);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Warns once if the server counted far fewer tokens than it was sent.
fn warn_if_cut(answer: &Answer, question: &Question<'_>, reply: &Reply, row: &Row) {
    let Some(tokens) = reply.spent.prompt_tokens else { return };
    if !question.was_cut(Some(tokens)) {
        return;
    }
    if row.guard.jury.as_ref().is_some_and(|jury| jury.warns_of_cut_prompts()) {
        row.guard.warning(&format!(
            "{} counts {tokens} tokens for a prompt of {} characters, so it has cut the prompt: raise its context length \
             (num_ctx or OLLAMA_CONTEXT_LENGTH at Ollama, --ctx-size at llama.cpp, --max-model-len at vLLM), or set the \
             option max_input_chars lower",
            answer.origin,
            question.system.chars().count() + question.user.chars().count(),
        ));
    }
}

/// The edit to make after a refusal, as the rest of a sentence; empty if its cause is unknown.
fn hint(endpoint: &Endpoint, fault: &Fault, answer: &Answer) -> String {
    let model = excerpt(&endpoint.model, 100);
    match (fault.cause(), answer.status.as_u16()) {
        (_, 300..=399) => ". That is a redirect: set BATON_LLM_BASE_URL to the address it leads to".to_owned(),
        (Cause::Key, _) if endpoint.key.is_some() => ". Check BATON_LLM_API_KEY".to_owned(),
        (Cause::Key, _) if endpoint.has_key() => ". Check BATON_LLM_HEADERS".to_owned(),
        (Cause::Key, _) => match endpoint.unused_key_and_host() {
            Some((name, host)) => format!(
                ". No key was sent, because {name} is sent to {host} alone: set BATON_LLM_API_KEY for {}",
                endpoint.base.host_str().unwrap_or("this server")
            ),
            None => ". No key was sent: set BATON_LLM_API_KEY".to_owned(),
        },
        (Cause::Credit, _) => {
            ". Add credit to the account or raise its limit, or set BATON_LLM_API_KEY to the key of another one"
                .to_owned()
        }
        (Cause::Model, 404) | (Cause::Unknown, 404 | 405) => {
            format!(". Check BATON_LLM_BASE_URL ({}) and BATON_LLM_MODEL ({model})", shown(&endpoint.base))
        }
        (Cause::Model, _) => format!(". Set BATON_LLM_MODEL ({model}) to a model that the server has"),
        (Cause::TooLong, _) => {
            ". Set the option max_input_chars lower, or raise the context length of the server (num_ctx at Ollama, \
             --ctx-size at llama.cpp, --max-model-len at vLLM)"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// The edit to make if every message is refused for an unknown reason.
fn convicted(endpoint: &Endpoint, cause: Cause) -> String {
    let what = if cause == Cause::Filtered { "the prompt in SQL, " } else { "" };
    format!(
        ". Every message is refused, \"{}\" too: check {what}BATON_LLM_MODEL ({}) and BATON_LLM_BASE_URL ({})",
        HARMLESS[0],
        excerpt(&endpoint.model, 100),
        shown(&endpoint.base)
    )
}
