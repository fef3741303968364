//! `llm_complete`: a model's answer to a prompt about an input, checked against a JSON Schema if the options have one.
//!
//! Offline there is no model: the caller's fallback is returned and marked as such. If a model fails, the fallback is
//! not used.

use crate::answer::{json_pieces, starts_with_json, without_thoughts};
use crate::contract::Contract;
use crate::decisions::Answer;
use crate::llm::{Asking, Call, Known, Llm};
use crate::prompt;
use crate::provider::{AskError, End, Next, Question, ask, is_strict};
use crate::result::{Completion, Failure, Status};
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::Function;
use baton_llm_settings::text::excerpt;
use serde::de::IgnoredAny;

impl Llm {
    /// The model's answer to `prompt` about `input`; offline, `fallback`.
    pub async fn complete(
        &self,
        prompt: Option<&str>,
        input: Option<&str>,
        fallback: Option<&str>,
        options: Option<&str>,
    ) -> Completion {
        let mut call = Call::start();
        let outcome = self.complete_row(prompt, input, fallback, options, &mut call).await;
        let facts = call.finish();
        match outcome {
            Ok(text) => Completion { text: Some(text), status: Status::Ok, confidence: None, error: None, facts },
            Err(Failure { status, message }) => {
                Completion { text: None, status, confidence: None, error: Some(message), facts }
            }
        }
    }

    async fn complete_row(
        &self,
        prompt: Option<&str>,
        input: Option<&str>,
        fallback: Option<&str>,
        options: Option<&str>,
        call: &mut Call,
    ) -> Result<String, Failure> {
        self.settings()?;
        let asking = self.options(options, Function::Complete)?;
        let Ok(asking) = &*asking else { return Err(Failure::config("the options are wrong")) };
        let endpoint = self.endpoint(&asking.options, call)?;
        let Some(prompt) = prompt.filter(|prompt| !prompt.trim().is_empty()) else {
            return Err(Failure::config("the prompt is NULL or blank: say in it what the model is to do"));
        };
        let Some(input) = input else { return Err(Failure::bad_input("the input is NULL")) };
        let Some(endpoint) = endpoint else { return offline_answer(fallback, asking.contract.as_ref()) };
        let key = self.key(Function::Complete, &endpoint, asking, prompt.as_bytes(), input)?;
        match self.known(key, Function::Complete, call).await {
            Known::Outcome(outcome) => outcome.map(|answer| answer.text),
            Known::NotYet(pilot) => {
                let outcome = self.ask_for_text(prompt, input, asking, &endpoint, call).await;
                self.decided(pilot, Function::Complete, outcome).await.map(|answer| answer.text)
            }
        }
    }

    async fn ask_for_text(
        &self,
        prompt: &str,
        input: &str,
        asking: &Asking,
        endpoint: &Endpoint,
        call: &mut Call,
    ) -> Result<Answer, Failure> {
        let settings = self.settings()?;
        let (options, contract) = (&asking.options, asking.contract.as_ref());
        let schema = contract.map(Contract::schema);
        let mut question = Question {
            system: prompt::complete_system(prompt).into(),
            user: prompt::enclosed("input", input, options.max_input_chars),
            again: None,
            schema,
            strict: schema.is_some_and(|schema| is_strict(schema, endpoint.provider)),
            temperature: options.temperature.or(settings.temperature),
            max_tokens: self.most_answered(settings, options),
            has_more_room: false,
            effort: options.effort.or(settings.effort),
            choices: None,
        };
        let mut row = self.row(Function::Complete, endpoint, options, call)?;
        let mut asked_again = false;
        loop {
            let asked = ask(&self.transport, &self.dialects, endpoint, &question, &mut row).await;
            call.facts.attempts = row.attempts;
            let why = match asked {
                Ok(reply) => {
                    call.spent(&reply.spent, &row);
                    let checked = check(&reply.text, contract);
                    // An answer that was cut off proves nothing. One with other text around its JSON shows that the
                    // schema is not enforced.
                    let kept = checked.as_ref().is_ok_and(|text| text == reply.text.trim());
                    if reply.enforced && reply.end == End::Complete && !kept {
                        self.dialects.ignores_schema(endpoint);
                    }
                    let next = match &checked {
                        // Some servers write blanks after the JSON until the limit is reached.
                        Ok(_) if reply.end == End::Cut && contract.is_some() && starts_with_json(&reply.text) => None,
                        _ => question.after(&reply, &self.dialects, endpoint, &mut row),
                    };
                    match (checked, next) {
                        (Ok(text), None) => {
                            return Ok(Answer { text, confidence: None, model: call.facts.model.clone() });
                        }
                        (Err(why), None) => {
                            let said = excerpt(without_thoughts(&reply.text).unwrap_or_default(), 2000);
                            if let (Some(schema), false) = (schema, said.is_empty()) {
                                question.again = Some((said, prompt::complete_again(&why, schema)));
                            }
                            why
                        }
                        (_, Some(Next::WithMoreRoom)) => continue,
                        (_, Some(Next::Again(why))) => why,
                        (_, Some(Next::Stop(failure))) => return Err(failure),
                    }
                }
                Err(AskError::Unreadable(why)) => why,
                Err(AskError::Final(failure)) => return Err(question.failed(failure)),
            };
            if asked_again {
                return Err(Failure::new(Status::Invalid, format!("{why} (asked twice)")));
            }
            asked_again = true;
        }
    }
}

fn offline_answer(fallback: Option<&str>, contract: Option<&Contract>) -> Result<String, Failure> {
    let Some(fallback) = fallback else {
        return Err(Failure::config(
            "offline, llm_complete answers with its fallback argument, which is NULL: give it an expression over the \
             row's own fields, or set a model (BATON_LLM_BASE_URL or BATON_LLM_API_KEY)",
        ));
    };
    match contract.map(|contract| keeps(fallback, contract, "the fallback")) {
        Some(Err(why)) => Err(Failure::new(Status::Invalid, why)),
        _ => Ok(fallback.to_owned()),
    }
}

/// The text of a complete answer without the model's thoughts, if it matches the contract. Of an answer with a contract,
/// that is the first JSON that matches it.
fn check(answer: &str, contract: Option<&Contract>) -> Result<String, String> {
    let said = without_thoughts(answer).ok_or("the model's answer has only thoughts, which do not end")?;
    if said.is_empty() {
        return Err("the model's answer is empty".to_owned());
    }
    let Some(contract) = contract else { return Ok(said.to_owned()) };
    let mut wrong = None;
    for json in json_pieces(answer) {
        match keeps(json, contract, "the model's answer") {
            Ok(()) => return Ok(json.to_owned()),
            // What is JSON is what the model meant.
            Err(why) if wrong.is_none() || serde_json::from_str::<IgnoredAny>(json).is_ok() => wrong = Some(why),
            Err(_) => {}
        }
    }
    Err(wrong.unwrap_or_else(|| "the model's answer is empty".to_owned()))
}

fn keeps(text: &str, contract: &Contract, whose: &str) -> Result<(), String> {
    let value =
        serde_json::from_str(text).map_err(|error| format!("{whose} is not JSON ({error}): {}", excerpt(text, 100)))?;
    match contract.violations(&value) {
        None => Ok(()),
        Some(violations) => Err(format!("{whose} does not match the schema: {violations}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_json_that_keeps_the_contract_is_the_answer() {
        let contract = Contract::new(json!({ "type": "object", "required": ["score"] })).unwrap();
        for (answer, expected) in [
            ("{\"score\":1}", Ok("{\"score\":1}")),
            ("<think>{\"score\":2}</think>{\"score\":1}", Ok("{\"score\":1}")),
            ("Take {\"lead\":1}, so:\n```json\n{\"score\":1}\n```", Ok("{\"score\":1}")),
            ("{\"score\":1} I hope it helps.", Ok("{\"score\":1}")),
            ("", Err("is empty")),
            ("<think>hm</think>", Err("is empty")),
            ("<think>{\"score\":1}", Err("only thoughts")),
            ("Dear", Err("is not JSON")),
            ("{\"score\"", Err("is not JSON")),
            ("{\"lead\":1}", Err("does not match the schema")),
        ] {
            let checked = check(answer, Some(&contract));
            match expected {
                Ok(text) => assert_eq!(checked.as_deref(), Ok(text), "{answer}"),
                Err(part) => assert!(checked.is_err_and(|why| why.contains(part)), "{answer}"),
            }
        }
        assert_eq!(check("<think>hm</think>\n\nDear", None).as_deref(), Ok("Dear"));
    }
}
