//! `llm_classify`: selects the agent that takes a text next, or none.
//!
//! Only a defined name is an answer. If a model keeps naming something else, the row becomes `invalid` and is never
//! routed.

use crate::agent::NONE;
use crate::answer::{bare, json_pieces, starts_with_json, without_thoughts};
use crate::catalogue::Catalogue;
use crate::decisions::Answer;
use crate::llm::{Call, Known, Llm};
use crate::prompt;
use crate::provider::{AskError, End, Next, Question, ask};
use crate::result::{Classification, Failure, Status};
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::{Effort, Function, Options};
use baton_llm_settings::text::excerpt;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

impl Llm {
    /// Selects the agent that takes `text` next.
    pub async fn classify(&self, text: Option<&str>, agents: Option<&str>, options: Option<&str>) -> Classification {
        let mut call = Call::start();
        let outcome = self.classify_row(text, agents, options, &mut call).await;
        let facts = call.finish();
        match outcome {
            Ok((Answer { text, confidence, .. }, topic)) => {
                Classification { agent: Some(text), topic, status: Status::Ok, confidence, error: None, facts }
            }
            Err(Failure { status, message }) => {
                Classification { agent: None, topic: None, status, confidence: None, error: Some(message), facts }
            }
        }
    }

    /// The answer, and the topic of its agent.
    async fn classify_row(
        &self,
        text: Option<&str>,
        agents: Option<&str>,
        options: Option<&str>,
        call: &mut Call,
    ) -> Result<(Answer, Option<String>), Failure> {
        self.settings()?;
        let asking = self.options(options, Function::Classify)?;
        let Ok(asking) = &*asking else { return Err(Failure::config("the options are wrong")) };
        let endpoint = self.endpoint(&asking.options, call)?;
        let catalogue = self.catalogues.get_or_make(agents.unwrap_or_default(), |text| Catalogue::parse(Some(text)));
        let catalogue = catalogue.as_ref().as_ref().map_err(|error| Failure::config(error.clone()))?;
        let text = match text {
            None => return Err(Failure::bad_input("the text is NULL")),
            Some(text) if text.trim().is_empty() => return Err(Failure::bad_input("the text is blank")),
            Some(text) => text,
        };
        let answer = match endpoint {
            None => offline_answer(text, catalogue, &asking.options),
            Some(endpoint) => {
                let key = self.key(Function::Classify, &endpoint, asking, catalogue.digest(), text)?;
                match self.known(key, Function::Classify, call).await {
                    Known::Outcome(outcome) => outcome?,
                    Known::NotYet(pilot) => {
                        let outcome = self.ask_for_agent(text, catalogue, &asking.options, &endpoint, call).await;
                        self.decided(pilot, Function::Classify, outcome).await?
                    }
                }
            }
        };
        // The topic is always taken from this call's agents, because the decision log keeps only names.
        let topic = catalogue.topic(&answer.text).map(str::to_owned);
        Ok((answer, topic))
    }

    async fn ask_for_agent(
        &self,
        text: &str,
        catalogue: &Catalogue,
        options: &Options,
        endpoint: &Endpoint,
        call: &mut Call,
    ) -> Result<Answer, Failure> {
        let settings = self.settings()?;
        let mut question = Question {
            system: match &options.prompt {
                Some(instruction) => prompt::classify_system(instruction, catalogue.listing()).into(),
                None => catalogue.usual_system().into(),
            },
            user: prompt::enclosed("message", text, options.max_input_chars),
            again: None,
            schema: Some(catalogue.answer_schema()),
            strict: true,
            temperature: Some(options.temperature.or(settings.temperature).unwrap_or(0.0)),
            max_tokens: self.most_answered(settings, options),
            has_more_room: false,
            // Naming an agent takes no thoughts, which cost more than the answer.
            effort: options.effort.or(settings.effort).or(Some(Effort::None)),
            choices: Some(catalogue.choices()),
        };
        let mut row = self.row(Function::Classify, endpoint, options, call)?;
        let mut asked_again = false;
        loop {
            let asked = ask(&self.transport, &self.dialects, endpoint, &question, &mut row).await;
            call.facts.attempts = row.attempts;
            let why = match asked {
                Ok(reply) => {
                    call.spent(&reply.spent, &row);
                    // An answer that was cut off proves nothing.
                    if reply.enforced && reply.end == End::Complete && !keeps_schema(&reply.text, catalogue) {
                        self.dialects.ignores_schema(endpoint);
                    }
                    let read = read_agent(&reply.text, catalogue);
                    let next = match &read {
                        // Some servers write blanks after the JSON until the limit is reached.
                        Ok(_) if reply.end == End::Cut && starts_with_json(&reply.text) => None,
                        _ => question.after(&reply, &self.dialects, endpoint, &mut row),
                    };
                    match (read, next) {
                        (Ok(agent), None) => {
                            let (confidence, model) = (reply.confidence, call.facts.model.clone());
                            return Ok(Answer { text: agent, confidence, model });
                        }
                        (Err(why), None) => {
                            let said = excerpt(without_thoughts(&reply.text).unwrap_or_default(), 500);
                            if !said.is_empty() {
                                question.again = Some((said, prompt::classify_again(catalogue.names())));
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
            // Confidence in a name given at the second attempt means nothing.
            question.choices = None;
        }
    }
}

fn offline_answer(text: &str, catalogue: &Catalogue, options: &Options) -> Answer {
    let choice = catalogue.text_method().choose(text, options.max_input_chars);
    let name = choice.agent.unwrap_or(NONE).to_owned();
    Answer { text: name, confidence: Some(choice.confidence), model: None }
}

/// Whether a server that enforces the schema could have produced an answer.
fn keeps_schema(answer: &str, catalogue: &Catalogue) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer<'a> {
        #[serde(borrow)]
        agent: Cow<'a, str>,
    }
    serde_json::from_str::<Answer<'_>>(answer)
        .is_ok_and(|answer| catalogue.names().chain([NONE]).any(|name| name == answer.agent))
}

/// The name in an answer: `{"agent": "…"}`, also with other text around it, or the bare name, with or without quotes or a
/// Markdown fence.
fn read_agent(answer: &str, catalogue: &Catalogue) -> Result<String, String> {
    let names = || catalogue.names().chain([NONE]);
    // Names are unique regardless of case, so the match is unique too.
    let defined = |given: &str| {
        let given = given.trim();
        names().find(|name| *name == given).or_else(|| {
            let given = given.to_lowercase();
            names().find(|name| name.to_lowercase() == given)
        })
    };
    let undefined = |given: &str| format!("the model named an agent that is not defined: {}", excerpt(given, 200));
    let is_clear = starts_with_json(answer);
    let (mut found, mut wrong) = (None, None);
    for json in json_pieces(answer) {
        let given = match serde_json::from_str(json) {
            Ok(Value::Array(mut items)) if items.len() == 1 => items.pop().filter(Value::is_object),
            Ok(value) => Some(value),
            Err(_) => continue,
        };
        let given = match &given {
            Some(Value::String(name)) => Some(name.as_str()),
            Some(value) => value.get("agent").and_then(Value::as_str),
            None => None,
        };
        match given.map(|given| defined(given).ok_or_else(|| undefined(given))) {
            Some(Ok(name)) if is_clear => return Ok(name.to_owned()),
            Some(Ok(name)) if found.is_some_and(|other| other != name) => {
                return Err(format!("the model named several agents: {}", excerpt(answer, 200)));
            }
            Some(Ok(name)) => found = Some(name),
            Some(Err(why)) => wrong = wrong.or(Some(why)),
            None => {
                wrong = wrong
                    .or_else(|| Some(format!("the model's answer has no text at \"agent\": {}", excerpt(json, 200))))
            }
        }
    }
    let bare = bare(answer);
    match found.or_else(|| defined(bare)) {
        Some(name) => Ok(name.to_owned()),
        None if bare.is_empty() => Err("the model's answer is empty".to_owned()),
        None => Err(wrong.unwrap_or_else(|| undefined(bare))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_llm_settings::settings::Provider;

    fn catalogue() -> Catalogue {
        Catalogue::parse(Some(r#"[{"name":"Send Email Agent"},{"name":"Lead Scoring Agent"}]"#)).unwrap()
    }

    #[test]
    fn names_are_read_in_every_accepted_form() {
        for answer in [
            r#"{"agent":"Send Email Agent"}"#,
            " { \"agent\" : \" Send Email Agent \" , \"why\": 1 }\n",
            "Send Email Agent",
            "\"Send Email Agent\"",
            "'Send Email Agent'",
            "`Send Email Agent`",
            "send email agent",
            "```json\n{\"agent\": \"Send Email Agent\"}\n```",
            "```\nSend Email Agent\n```",
            "<think>It is a mail.</think>\n{\"agent\": \"Send Email Agent\"}",
            "It is {\"agent\": \"Lead Scoring Agent\"}? No.\n</think>\n{\"agent\": \"Send Email Agent\"}",
            "It is a mail.\n</think>\nSend Email Agent",
            "Here it is:\n```json\n{\"agent\": \"Send Email Agent\"}\n```\nIt is a mail.",
            "{\"agent\": \"Send Email Agent\"}{\"agent\": \"Lead Scoring Agent\"}",
            r#"[{"agent":"Send Email Agent"}]"#,
        ] {
            assert_eq!(read_agent(answer, &catalogue()).as_deref(), Ok("Send Email Agent"), "{answer}");
        }
        assert_eq!(read_agent("none", &catalogue()).as_deref(), Ok("NONE"));
    }

    #[test]
    fn what_is_no_defined_name_is_no_answer() {
        for answer in [
            "",
            "Send Emails Agent",
            "The Send Email Agent",
            "Send Email Agent, Lead Scoring Agent",
            r#"{"agent":null}"#,
            r#"{"agent":["Send Email Agent"]}"#,
            r#"{"name":"Send Email Agent"}"#,
            "[\"Send Email Agent\"]",
            "{\"agent\": \"Send Email",
            "<think>Send Email Agent",
            "<think>{\"agent\": \"Send Email Agent\"}",
            "It is for the Send Email Agent.",
            "It is \"Send Email Agent\"",
            "Not {\"agent\": \"Lead Scoring Agent\"} but {\"agent\": \"Send Email Agent\"}",
            r#"[{"agent":"Send Email Agent"},{"agent":"Lead Scoring Agent"}]"#,
        ] {
            assert!(read_agent(answer, &catalogue()).is_err(), "{answer}");
        }
    }

    #[test]
    fn the_schema_is_strict_and_has_none() {
        let catalogue = catalogue();
        let schema = catalogue.answer_schema();
        for provider in [Provider::OpenAi, Provider::Anthropic] {
            assert!(crate::provider::is_strict(schema, provider));
        }
        assert_eq!(
            schema["properties"]["agent"]["enum"],
            serde_json::json!(["Send Email Agent", "Lead Scoring Agent", "NONE"])
        );
    }
}
