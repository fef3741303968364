//! Tests of `dialect`.

use super::*;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| json!({}));

/// A question that uses everything.
fn full() -> Question<'static> {
    Question {
        schema: Some(&SCHEMA),
        strict: true,
        temperature: Some(0.0),
        max_tokens: Some(9000),
        effort: Some(Effort::None),
        choices: Some(&[]),
        ..Question::default()
    }
}

fn fault(status: u16, error: &Value) -> Fault {
    let body = json!({ "error": error }).to_string();
    Fault::read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap()
}

fn refusal(message: &str) -> Fault {
    fault(400, &json!({ "message": message, "type": "invalid_request_error", "param": null, "code": null }))
}

fn give_up(provider: Provider, faults: &[Fault]) -> Dialect {
    let mut dialect = Dialect::default();
    assert_eq!(dialect.after(&refusal("no such thing"), provider, &full()), None);
    for fault in faults {
        dialect = dialect.after(fault, provider, &full()).unwrap_or_else(|| panic!("{fault:?}"));
    }
    for fault in faults {
        assert_eq!(dialect.after(fault, provider, &full()), None, "{fault:?}");
    }
    dialect
}

const GIVEN_UP: Dialect = Dialect {
    schema_by: SchemaBy::Prompt,
    holds: true,
    temperature: false,
    completion_tokens: true,
    most_tokens: None,
    logprobs: false,
    effort_by: EffortBy::Omitted,
    system: Role::Folded,
    proven: 0,
    on_trial: false,
};

#[test]
fn openai_gives_up_each_thing_once() {
    let sentences = [
        "Unsupported: 'temperature'",
        "'logprobs' is not supported with this model",
        "use max_completion_tokens",
        "unknown field reasoning_effort",
        "System role not supported",
        "unknown field response_format",
    ];
    assert_eq!(give_up(Provider::OpenAi, &sentences.map(refusal)), GIVEN_UP);
    let by_param = |param: &str, message: &str| {
        fault(400, &json!({ "message": message, "param": param, "code": "unsupported_parameter" }))
    };
    let params = [
        by_param("temperature", "response_format logprobs"),
        by_param("top_logprobs", "temperature"),
        by_param("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        by_param("reasoning_effort", "Unsupported parameter"),
        by_param("messages[0].role", "temperature"),
        by_param("response_format", "temperature"),
    ];
    assert_eq!(give_up(Provider::OpenAi, &params), GIVEN_UP);
}

#[test]
fn anthropic_goes_from_format_to_tool_to_prompt() {
    let left = give_up(
        Provider::Anthropic,
        &[
            "`temperature` is deprecated for this model.",
            "thinking: Extra inputs are not permitted",
            "output_config: Extra inputs are not permitted",
            "tool_choice: type \"tool\" and \"any\" are not supported for this model.",
        ]
        .map(refusal),
    );
    let expected = Dialect { completion_tokens: false, logprobs: true, system: Role::System, ..GIVEN_UP };
    assert_eq!(left, expected);
    let high = Question { effort: Some(Effort::High), ..full() };
    let next = Dialect::default().after(&refusal("output_config.effort: unknown"), Provider::Anthropic, &high).unwrap();
    assert_eq!((next.effort(&high), next.schema_by), (None, SchemaBy::Format));
}

#[test]
fn an_effort_of_none_is_low_where_a_model_always_thinks() {
    for (message, sent) in [
        ("Unsupported value: 'reasoning_effort' does not support 'none'. Supported values are: 'low'", Some("low")),
        ("`reasoning_effort` must be one of `low`, `medium`, or `high`", Some("low")),
        ("Budget 0 is invalid. This model only works in thinking mode.", Some("low")),
        ("Unsupported parameter: 'reasoning_effort' is not supported with this model.", None),
        ("Unrecognized request argument supplied: reasoning_effort", None),
    ] {
        let next = Dialect::default().after(&refusal(message), Provider::OpenAi, &full()).unwrap();
        assert_eq!(next.effort(&full()), sent, "{message}");
        let high = Question { effort: Some(Effort::High), ..full() };
        assert_eq!(next.effort(&high), sent.map(|_| "high"), "{message}");
        let last = next.after(&refusal(message), Provider::OpenAi, &full());
        assert_eq!(last.and_then(|last| last.effort(&full())), None, "{message}");
    }
    let mistral = json!({ "object": "error", "message": { "detail": [
        { "type": "extra_forbidden", "loc": ["body", "reasoning_effort"], "msg": "Extra inputs are not permitted" }] } });
    let fault = Fault::read(StatusCode::UNPROCESSABLE_ENTITY, mistral.to_string().as_bytes()).unwrap();
    let next = Dialect::default().after(&fault, Provider::OpenAi, &full()).unwrap();
    assert_eq!(next.effort(&full()), None);
}

#[test]
fn the_longest_answer_is_learned() {
    for (message, most) in [
        ("max_tokens is too large: 9000. This model supports at most 4096 completion tokens", 4096),
        ("max_tokens: 9000 > 8192, which is the maximum for claude-3-5-haiku-20241022", 8192),
        ("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`", 8192),
    ] {
        for provider in [Provider::OpenAi, Provider::Anthropic] {
            let next = Dialect::default().after(&refusal(message), provider, &full()).unwrap();
            assert_eq!((next.bounded(Some(9000)), next.bounded(Some(5))), (Some(most), Some(5)), "{message}");
            assert!(!next.completion_tokens);
        }
    }
}

#[test]
fn other_faults_teach_nothing() {
    for (status, error) in [
        (
            400,
            json!({ "message": "Generated JSON does not match the expected schema", "code": "json_validate_failed" }),
        ),
        (400, json!({ "message": "maximum context length; reduce max_tokens", "code": "context_length_exceeded" })),
        (400, json!({ "message": "prompt is too long for the system prompt" })),
        (400, json!({ "message": "the temperature's content filter", "code": "content_filter" })),
        (401, json!({ "message": "temperature" })),
        (429, json!({ "message": "temperature" })),
        (503, json!({ "message": "temperature" })),
        (400, json!({ "message": "temperature", "param": "messages" })),
        (400, json!({ "message": format!("{}temperature", "x".repeat(600)) })),
    ] {
        let fault = fault(status, &error);
        assert_eq!(Dialect::default().after(&fault, Provider::OpenAi, &full()), None, "{status} {error}");
        assert_eq!(Dialect::default().try_without(&fault, Provider::OpenAi, &full()), None, "{status} {error}");
    }
    let logprobs = fault(403, &json!({ "message": "You are not allowed to request logprobs" }));
    assert!(!Dialect::default().after(&logprobs, Provider::OpenAi, &full()).unwrap().logprobs);
}

#[test]
fn what_was_not_sent_is_not_given_up() {
    for complaint in ["temperature", "logprobs", "max_tokens", "schema", "tool", "reasoning_effort"] {
        let complaint = refusal(complaint);
        assert_eq!(Dialect::default().after(&complaint, Provider::OpenAi, &Question::default()), None);
    }
    assert_eq!(Dialect::default().after(&refusal("system role"), Provider::Anthropic, &full()), None);
}

fn endpoint() -> Endpoint {
    let settings = baton_llm_settings::settings::Settings {
        base_url: Some("http://localhost:1/v1".parse().unwrap()),
        model: Some("m".to_owned()),
        ..Default::default()
    };
    settings.endpoint(Provider::OpenAi, None).unwrap()
}

#[test]
fn features_are_left_out_on_trial_until_one_is_proven() {
    let (dialects, endpoint, question) = (Dialects::default(), endpoint(), full());
    let blind = refusal("Bad Request");
    let next = |dialect: Dialect| dialect.try_without(&blind, Provider::OpenAi, &question);
    let first = next(dialects.of(&endpoint)).unwrap();
    assert!(!first.logprobs && first.temperature);
    assert!(dialects.of(&endpoint).logprobs, "only tried");
    let named = first.after(&refusal("temperature"), Provider::OpenAi, &question).unwrap();
    dialects.suppose(&endpoint, named);
    assert!(dialects.of(&endpoint).is_as(named), "all rows try it");
    dialects.accepted(&endpoint, named, &question, false);
    dialects.drop_supposition(&endpoint);
    assert!(dialects.of(&endpoint).logprobs, "a row that was not refused before proves nothing");
    let second = next(first).unwrap();
    assert_eq!(second.effort(&question), None);
    dialects.suppose(&endpoint, second);
    dialects.accepted(&endpoint, second, &question, true);
    let known = dialects.of(&endpoint);
    assert!(!known.logprobs && known.effort(&question).is_none() && known.temperature);
    assert_eq!(next(known), None, "all that is still sent is proven");
    let last = std::iter::successors(Some(Dialect::default()), |dialect| next(*dialect)).last().unwrap();
    assert_eq!(last, Dialect { completion_tokens: false, on_trial: true, ..GIVEN_UP });
}

#[tokio::test(start_paused = true)]
async fn a_lesson_is_forgotten_after_an_hour() {
    let (dialects, endpoint) = (Dialects::default(), endpoint());
    dialects.remember(&endpoint, Dialect { temperature: false, ..Dialect::default() });
    tokio::time::advance(REMEMBERED / 2).await;
    dialects.ignores_schema(&endpoint);
    dialects.remember(&endpoint, Dialect { temperature: false, most_tokens: Some(100), ..Dialect::default() });
    let known = dialects.of(&endpoint);
    assert_eq!((known.temperature, known.holds, known.most_tokens), (false, false, Some(100)));
    tokio::time::advance(REMEMBERED / 2).await;
    let known = dialects.of(&endpoint);
    assert_eq!((known.temperature, known.holds, known.most_tokens), (true, false, Some(100)));
    tokio::time::advance(REMEMBERED / 2).await;
    assert_eq!(dialects.of(&endpoint), Dialect::default());
}
