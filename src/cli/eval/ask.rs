//! Asks a pipeline's own `llm_classify`, with its own agents and options, about other texts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_llm_settings::{Function, Options};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::Value;

use super::input::NONE;
use crate::cli::output::{Failed, ProgressLine};
use crate::diag::{Code, Diagnostic};
use crate::engine::Pipeline;
use crate::engine::constants::{PlannedCall, calls_of};
use crate::engine::llm::wrong_options;
use crate::udf::{AsyncCalls, AsyncLibrary, AsyncUdf, CallArgs, LoadedUdf, UdfSource};

/// The function that chooses an agent.
pub const CLASSIFY: &str = "llm_classify";

/// For how many rows arguments are computed at once.
const CHUNK: usize = 256;

/// How often progress is updated.
const PACE: Duration = Duration::from_millis(200);

/// What a pipeline asks about each message.
#[derive(Debug)]
pub struct Question {
    agents: ScalarValue,
    options: ScalarValue,
    /// The agents' names, in their order.
    pub names: Vec<String>,
    /// The options of the call.
    pub settings: Options,
}

/// The result of `llm_classify` for one message.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// A name or [`NONE`]; `None` when `status` is not `ok`.
    pub agent: Option<String>,
    /// `ok`, or why there is no answer.
    pub status: String,
    /// The model's confidence; `None` when it gives none.
    pub confidence: Option<f64>,
    /// Why `status` is not `ok`.
    pub error: Option<String>,
    /// HTTP calls.
    pub attempts: Option<u64>,
    /// Prompt tokens.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens.
    pub completion_tokens: Option<u64>,
    /// The cost, when prices are known.
    pub cost: Option<f64>,
    /// How long it took.
    pub latency_ms: Option<u64>,
    /// The model that answered.
    pub model: Option<String>,
    /// Where the answer comes from.
    pub source: Option<String>,
}

impl Question {
    /// Finds the only call of [`CLASSIFY`] in a pipeline. `name` is the user's name for the pipeline.
    ///
    /// # Errors
    /// When there is none or more than one, or when the agents or options differ from row to row.
    pub fn of(name: &str, pipeline: &Pipeline) -> Result<Self, Vec<Diagnostic>> {
        let calls = calls_of(&pipeline.graph, CLASSIFY);
        let [call] = calls.as_slice() else { return Err(not_one_call(name, pipeline, &calls)) };
        let place = call.node.span.clone();
        let wrong = |message: String, help: &str| Diagnostic::new(Code::EVAL, message).at(place.clone()).help(help);
        if let Some((source, _)) = pipeline.udfs.iter().find(|(u, _)| u.name == CLASSIFY)
            && !is_classify(source)
        {
            let message = format!("`{CLASSIFY}` of this project is not Baton's function");
            return Err(vec![wrong(message, "let it be async, take text, agents and options, and return text")]);
        }
        let mut errors = Vec::new();
        let mut constant = |index: usize, what: &str| {
            let value = call.args.get(index).cloned().flatten();
            if value.is_none() {
                let message =
                    format!("the {what} of `{CLASSIFY}` depend on the row, so they are not known for a message alone");
                errors.push(wrong(message, &format!("give the same {what} for every row, such as a literal")));
            }
            value
        };
        let (agents, options) = (constant(1, "agents"), constant(2, "options"));
        let (Some(agents), Some(options)) = (agents, options) else { return Err(errors) };
        let Some(names) = names(&agents) else {
            let message = format!("the agents of `{CLASSIFY}` are not a list of names");
            let help = "write them as JSON: [{\"name\": \"…\", \"description\": \"…\", \"input\": \"…\"}, …]";
            return Err(vec![wrong(message, help)]);
        };
        let text = options.try_as_str().flatten();
        let settings = Options::parse(text, Function::Classify)
            .map_err(|wrong| wrong_options(Function::Classify, &wrong, &place))?;
        Ok(Self { agents, options, names, settings })
    }

    /// Asks about each text, with `at_once` texts in flight. Returns the decisions in the order of the texts. A message
    /// that has no answer when `patience` runs out is `unavailable`, with the reason.
    ///
    /// # Errors
    /// When the function cannot be called at all.
    pub async fn ask(
        &self,
        name: &str,
        udf: &AsyncLibrary,
        texts: &[&str],
        at_once: usize,
        patience: impl Future<Output = String>,
    ) -> Result<Vec<Decision>, Failed> {
        let Some(options) = udf.source().async_options() else {
            return Err(Failed::Other(format!("`{CLASSIFY}` is not async")));
        };
        let AsyncUdf { calls, mut answers } = udf.start(options);
        let mut decisions = vec![None; texts.len()];
        let mut patience = std::pin::pin!(patience);
        let mut chunk: Option<CallArgs> = None;
        let (mut asked, mut answered, mut failed) = (0, 0, 0);
        let mut progress = Progress::new(name, texts.len());
        let mut ticks = tokio::time::interval(PACE);
        while answered < texts.len() {
            tokio::select! {
                some = answers.next() => {
                    let Some(some) = some else {
                        return Err(Failed::Other(format!("`{CLASSIFY}` ended before every message was answered")));
                    };
                    let values = some.values.as_string_opt::<i32>();
                    for (i, id) in some.ids.iter().enumerate() {
                        let value = values.filter(|v| v.is_valid(i)).map(|v| v.value(i));
                        let why = some.errors.iter().find(|(at, _)| *at == i).map(|(_, error)| error.to_string());
                        let decision = Decision::read(value, why);
                        failed += usize::from(decision.agent.is_none());
                        if let Some(place) = usize::try_from(*id).ok().and_then(|id| decisions.get_mut(id)) {
                            *place = Some(decision);
                        }
                        answered += 1;
                    }
                }
                slot = calls.reserve(), if asked < texts.len() && asked - answered < at_once => {
                    if asked % CHUNK == 0 {
                        chunk = Some(self.arguments(&calls, &texts[asked..texts.len().min(asked + CHUNK)])?);
                    }
                    if let Some(args) = &chunk {
                        slot.submit(asked as u64, args, asked % CHUNK);
                        asked += 1;
                    }
                }
                _tick = ticks.tick() => progress.show(answered, failed),
                why = &mut patience => {
                    let given_up = Decision { status: "unavailable".into(), error: Some(why), ..Decision::default() };
                    return Ok(decisions.into_iter().map(|decision| decision.unwrap_or_else(|| given_up.clone())).collect());
                }
            }
        }
        Ok(decisions.into_iter().flatten().collect())
    }

    fn arguments(&self, calls: &AsyncCalls, texts: &[&str]) -> Result<CallArgs, Failed> {
        let rows = texts.len();
        let columns = || -> datafusion::common::Result<Vec<ArrayRef>> {
            let asked: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            Ok(vec![asked, self.agents.to_array_of_size(rows)?, self.options.to_array_of_size(rows)?])
        };
        let args = columns().and_then(|columns| Ok(calls.prepare(&columns, rows)?));
        args.map_err(|error| Failed::Other(format!("`{CLASSIFY}` cannot be called: {error}")))
    }
}

/// The library of a pipeline's [`CLASSIFY`], once it is loaded.
pub fn library(pipeline: &Pipeline) -> Result<&AsyncLibrary, Failed> {
    let slot = pipeline.udfs.iter().find(|(source, _)| source.name == CLASSIFY).and_then(|(_, slot)| slot.get());
    match slot {
        Some(LoadedUdf::Async(library)) => Ok(library),
        _ => Err(Failed::Other(format!("`{CLASSIFY}` is not loaded"))),
    }
}

fn not_one_call(name: &str, pipeline: &Pipeline, calls: &[PlannedCall<'_>]) -> Vec<Diagnostic> {
    if calls.is_empty() {
        // Sinks come from the pipeline's own INSERTs.
        let place = pipeline.graph.nodes.iter().find(|n| n.outputs.is_empty()).map(|n| n.span.clone());
        let message = format!("`{name}` does not call `{CLASSIFY}`, so there is no choice of an agent to evaluate");
        let help = format!("evaluate a pipeline that calls `{CLASSIFY}`, such as route_messages");
        return vec![Diagnostic::new(Code::EVAL, message).at(place).help(help)];
    }
    let message = format!("`{name}` calls `{CLASSIFY}` at {} places, and only one can be evaluated", calls.len());
    let help = "call it in one view, and let all others read that";
    calls.iter().map(|call| Diagnostic::new(Code::EVAL, &message).at(call.node.span.clone()).help(help)).collect()
}

/// Whether it takes three texts and answers with one.
fn is_classify(source: &UdfSource) -> bool {
    let signature = &source.signature;
    let texts = signature.args.iter().filter(|arg| arg.data_type == DataType::Utf8).count();
    source.async_options().is_some()
        && signature.args.len() == 3
        && texts == 3
        && signature.returns.data_type == DataType::Utf8
}

/// The names in the agents' JSON.
fn names(agents: &ScalarValue) -> Option<Vec<String>> {
    let agents: Vec<Value> = serde_json::from_str(agents.try_as_str()??).ok()?;
    let names = agents.iter().map(|agent| Some(agent.get("name")?.as_str()?.trim().to_string()));
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

impl Decision {
    /// Reads a result. `why` is set when the call itself failed.
    fn read(result: Option<&str>, why: Option<String>) -> Self {
        let failed = |error: String| Self { status: "failed".into(), error: Some(error), ..Self::default() };
        let Some(result) = result else {
            return failed(why.unwrap_or_else(|| format!("`{CLASSIFY}` ended without a result")));
        };
        match serde_json::from_str::<Self>(result) {
            Ok(decision) if decision.status.is_empty() => failed(format!("`{CLASSIFY}` gave no status")),
            Ok(decision) if decision.status == "ok" && decision.agent.is_none() => {
                Self { status: "invalid".into(), error: Some("the decision names no agent".into()), ..decision }
            }
            // As pipelines read it: an agent counts only with the status `ok`.
            Ok(decision) if decision.status != "ok" => Self { agent: None, ..decision },
            Ok(decision) => decision,
            Err(error) => failed(format!("`{CLASSIFY}` gave no JSON: {error}")),
        }
    }

    /// Whether it sends the message to an agent.
    pub fn routes(&self) -> bool {
        self.agent.as_deref().is_some_and(|agent| agent != NONE)
    }
}

/// Shows the progress on stderr.
struct Progress<'a> {
    name: &'a str,
    all: usize,
    line: ProgressLine,
    since: Instant,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str, all: usize) -> Self {
        Self { name, all, line: ProgressLine::new(), since: Instant::now() }
    }

    fn show(&mut self, answered: usize, failed: usize) {
        let Self { name, all, .. } = self;
        let failed = if failed == 0 { String::new() } else { format!(", {failed} without an answer") };
        let seconds = self.since.elapsed().as_secs();
        self.line.show(&format!("{name}: {answered} of {all} messages done{failed} ({seconds} s)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_counts_as_the_pipelines_count_it() {
        let ok = r#"{"agent":"A","status":"ok","confidence":0.75,"error":null,"attempts":2,"prompt_tokens":10,"completion_tokens":3,"cost":0.25,"latency_ms":12,"model":"m","source":"model","more":1}"#;
        let expected = Decision {
            agent: Some("A".into()),
            status: "ok".into(),
            confidence: Some(0.75),
            error: None,
            attempts: Some(2),
            prompt_tokens: Some(10),
            completion_tokens: Some(3),
            cost: Some(0.25),
            latency_ms: Some(12),
            model: Some("m".into()),
            source: Some("model".into()),
        };
        assert_eq!(Decision::read(Some(ok), None), expected);
        let status = |result: Option<&str>| {
            let decision = Decision::read(result, None);
            assert!(decision.agent.is_none() && decision.error.is_some(), "{decision:?}");
            decision.status
        };
        assert_eq!(status(None), "failed");
        assert_eq!(status(Some("nothing")), "failed");
        assert_eq!(status(Some(r#"{"agent":"A"}"#)), "failed");
        assert_eq!(status(Some(r#"{"agent":null,"status":"ok"}"#)), "invalid");
        assert_eq!(status(Some(r#"{"agent":"A","status":"timeout","error":"late"}"#)), "timeout");
        assert_eq!(Decision::read(None, Some("died".into())).error.as_deref(), Some("died"));
    }

    #[test]
    fn names_come_from_the_agents_text() {
        let of = |text: &str| names(&ScalarValue::Utf8(Some(text.into())));
        assert_eq!(of(r#"[{"name":" A ","input":"x"},{"name":"B"}]"#), Some(vec!["A".to_string(), "B".to_string()]));
        for text in ["", "[]", "{}", r#"[{"nam":"A"}]"#, r#"["A"]"#] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(names(&ScalarValue::Utf8(None)), None);
    }
}
