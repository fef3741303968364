//! `baton eval`: measures on labelled messages how well a pipeline chooses agents.
//!
//! `input` reads the messages, `ask` gives them to the pipeline's own `llm_classify`, `score` and `compare` compute the
//! numbers, `text` and `json` write them. No table is opened, so Kafka is neither read nor written.

mod ask;
mod compare;
mod input;
mod json;
mod score;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton_llm_settings::Settings;

use super::output::{Failed, data};
use super::prepare;
use crate::config::Environment;
use crate::diag::{Diagnostic, display_path};
use crate::engine::Pipeline;
use crate::engine::llm::wrong_settings;
use crate::udf::UdfStates;
use ask::{CLASSIFY, Decision, Question};
use compare::Comparison;
use input::{Known, Labelled};
use score::Scores;

/// The options of `baton eval`.
pub struct EvalOptions {
    /// The pipeline to evaluate.
    pub pipeline: String,
    /// The labelled messages.
    pub file: PathBuf,
    /// Another pipeline to compare it with.
    pub against: Option<String>,
    /// Fail below this accuracy.
    pub min_accuracy: Option<f64>,
    /// Give up on pending messages when the model has not answered for this long.
    pub patience: Duration,
    /// Write the report as JSON.
    pub json: bool,
    /// The folder of the UDFs' sources.
    pub udfs: Option<PathBuf>,
}

/// A pipeline's decisions and their scores.
struct Evaluation {
    /// The user's name for it.
    name: String,
    scores: Scores,
    decisions: Vec<Decision>,
}

/// Evaluates a pipeline, or two.
///
/// # Errors
/// Wrong pipelines and files, before any model is asked; an accuracy that is too low, after the report.
pub async fn run(options: EvalOptions, udf_states: &UdfStates, environment: &Environment) -> Result<(), Failed> {
    let EvalOptions { pipeline, file, against, min_accuracy, patience, json, udfs } = options;
    let names: Vec<String> = [pipeline].into_iter().chain(against).collect();
    // Tables are not opened, so the variables in their options need not be set.
    let compiled = prepare::compile(&names, udfs, &environment.clone().keeping_unset()).await?;
    let (questions, messages) = check(&names, &compiled.pipelines, &file, environment)?;
    let at_once = at_once(environment)?;
    compiled.load_udf(CLASSIFY)?;

    let agents = all_names(&questions);
    let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    let mut evaluations = Vec::new();
    for ((name, pipeline), question) in names.iter().zip(&compiled.pipelines).zip(&questions) {
        let asking = question.ask(name, ask::library(pipeline)?, &texts, at_once, udf_states.waited(patience));
        let decisions = tokio::select! {
            decisions = asking => decisions?,
            rejection = udf_states.rejected(|udf| udf == CLASSIFY) => return Err(vec![rejection.into()].into()),
        };
        let scores = Scores::of(&messages, &decisions, &agents);
        evaluations.push(Evaluation { name: name.clone(), scores, decisions });
    }

    let file = display_path(&file);
    let report = match evaluations.as_slice() {
        [after, before] => {
            let compared =
                Comparison::of(&messages, (&before.scores, &before.decisions), (&after.scores, &after.decisions));
            if json {
                format!("{:#}\n", json::comparison(&file, &messages, before, after, &compared))
            } else {
                text::comparison(&file, &messages, before, after, &compared)
            }
        }
        evaluations => {
            let reports = evaluations.iter().map(|evaluation| {
                if json {
                    format!("{:#}\n", json::report(&file, &messages, evaluation))
                } else {
                    text::report(&file, &messages, evaluation)
                }
            });
            reports.collect()
        }
    };
    data(&report)?;
    for evaluation in &evaluations {
        some_answer(evaluation)?;
    }
    match (min_accuracy, evaluations.first()) {
        (Some(least), Some(evaluation)) => enough(least, evaluation),
        _ => Ok(()),
    }
}

/// The names that the labelled messages of a folder expect. A file that cannot be read expects none.
pub fn expected_names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    let messages = files.filter_map(|path| input::read(&path, &Known::default()).ok()).flatten();
    messages.map(|message| message.expected).collect()
}

/// The questions of each pipeline, and the messages. Returns all errors in either or in the environment at once.
fn check(
    names: &[String],
    pipelines: &[Pipeline],
    file: &Path,
    environment: &Environment,
) -> Result<(Vec<Question>, Vec<Labelled>), Failed> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut questions = Vec::new();
    for (name, pipeline) in names.iter().zip(pipelines) {
        let question = Question::of(name, pipeline);
        let wrong = match &question {
            Ok(question) => wrong_settings(Some(&question.settings), environment),
            Err(wrong) => wrong.clone(),
        };
        questions.extend(question);
        for error in wrong {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
    let known = if questions.len() == names.len() {
        let whose = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        Known { whose, names: all_names(&questions) }
    } else {
        Known::default()
    };
    let messages = input::read(file, &known).unwrap_or_else(|wrong| {
        errors.extend(wrong);
        Vec::new()
    });
    if errors.is_empty() { Ok((questions, messages)) } else { Err(errors.into()) }
}

/// The agents of all questions, each once.
fn all_names(questions: &[Question]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in questions.iter().flat_map(|question| &question.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// How many messages are in flight: as many as the function lets call a model at a time. More would wait inside the
/// function, and their wait would count as the model's latency.
fn at_once(environment: &Environment) -> Result<usize, Failed> {
    match Settings::from_lookup(|name| environment.get(name)) {
        Ok(settings) => Ok(settings.concurrency),
        Err(_) => Err(wrong_settings(None, environment).into()),
    }
}

/// Without a single answer, the numbers measure nothing.
fn some_answer(evaluation: &Evaluation) -> Result<(), Failed> {
    let Evaluation { name, scores, .. } = evaluation;
    if scores.unanswered() < scores.messages {
        return Ok(());
    }
    let why = scores.statuses.iter().find_map(|status| Some((&status.status, status.example.as_ref()?)));
    let why =
        why.map_or_else(String::new, |(status, (line, error))| format!(", such as line {line}, {status}: {error}"));
    Err(Failed::Other(format!("`{name}` gave no answer to any message{why}")))
}

fn enough(least: f64, evaluation: &Evaluation) -> Result<(), Failed> {
    let Evaluation { name, scores, .. } = evaluation;
    if scores.accuracy() >= least {
        return Ok(());
    }
    let mut message = format!(
        "the accuracy of `{name}` is {:.3}, below {least}: {} right of {}",
        scores.accuracy(),
        scores.right,
        scores.messages
    );
    if scores.unanswered() > 0 {
        let failed = scores.statuses.iter().filter(|status| status.example.is_some());
        let failed: Vec<String> = failed.map(|status| format!("{} {}", status.messages, status.status)).collect();
        message = format!("{message}, {} without an answer ({})", scores.unanswered(), failed.join(", "));
    }
    Err(Failed::Other(message))
}
