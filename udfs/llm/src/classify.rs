//! `llm_classify`: selects the agent that takes a text next, or none.
//!
//! Only a defined name is an answer. If a model keeps naming something else, the row becomes `invalid` and is never
//! routed.

use crate::agent::NONE;
use crate::answer::{unquoted, unwrapped};
use crate::catalogue::Catalogue;
use crate::decisions::Answer;
use crate::llm::{Call, Known, Llm};
use crate::prompt;
use crate::provider::{AskError, Question, ask};
use crate::result::{Classification, Failure, Status};
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::{Function, Options};
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
                    if reply.enforced && reply.broken_off.is_none() && !keeps_schema(&reply.text, catalogue) {
                        self.dialects.ignores_schema(endpoint);
                    }
                    match read_agent(&reply.text, catalogue) {
                        // A complete name is an answer, even if the server reports that the answer was cut off.
                        Ok(agent) => {
                            let (confidence, model) = (reply.confidence, call.facts.model.clone());
                            return Ok(Answer { text: agent, confidence, model });
                        }
                        Err(why) => {
                            let why = reply.broken_off.map_or(why, str::to_owned);
                            let said = excerpt(&reply.text, 500);
                            if !said.is_empty() {
                                question.again = Some((said, prompt::classify_again(catalogue.names())));
                            }
                            why
                        }
                    }
                }
                Err(AskError::Unreadable(why)) => why,
                Err(AskError::Final(failure)) => return Err(failure),
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

/// The name in an answer: `{"agent": "…"}`, or the bare name, with or without quotes or a Markdown fence.
fn read_agent(answer: &str, catalogue: &Catalogue) -> Result<String, String> {
    let answer = unwrapped(answer);
    if answer.is_empty() {
        return Err("the model's answer is empty".to_owned());
    }
    let given = match serde_json::from_str::<Value>(answer) {
        Ok(Value::Object(fields)) => match fields.get("agent") {
            Some(Value::String(name)) => name.trim().to_owned(),
            _ => return Err(format!("the model's answer has no text at \"agent\": {}", excerpt(answer, 200))),
        },
        Ok(Value::String(name)) => name.trim().to_owned(),
        _ => unquoted(answer).to_owned(),
    };
    let names = || catalogue.names().chain([NONE]);
    // Names are unique regardless of case, so the match is unique too.
    names()
        .find(|name| *name == given)
        .or_else(|| names().find(|name| name.to_lowercase() == given.to_lowercase()))
        .map(str::to_owned)
        .ok_or_else(|| format!("the model named an agent that is not defined: {}", excerpt(&given, 200)))
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
