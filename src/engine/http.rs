//! The calls of `http_call`, and agents that are HTTP services. Mistakes in a URL or in options, and variables that are
//! not set, are reported before a row is read.
//!
//! `baton_llm_settings::http` decides what is valid. The function itself is a UDF like others.

use baton_llm_settings::http::{HttpOptions, check_url, missing};
use datafusion::arrow::datatypes::DataType;

use super::llm::parts;
use crate::config::Environment;
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::agent::{AgentDef, Work};
use crate::sql::arguments::{calls, place_of_text};
use crate::sql::plan::PipelinePlan;
use crate::udf::UdfSource;

const FUNCTION: &str = "http_call";
const ARGUMENTS: usize = 3;

/// Mistakes in constant URLs and options and, unless the environment is only known later, in the variables that they
/// name.
pub fn check(
    plan: &PipelinePlan,
    agents: &[AgentDef],
    udfs: &[UdfSource],
    environment: &Environment,
) -> Vec<Diagnostic> {
    // A UDF that has the name but takes other arguments is left out.
    let is_it = |udf: &UdfSource| {
        let arguments = &udf.signature.args;
        udf.name == FUNCTION && arguments.len() == ARGUMENTS && arguments.iter().all(|a| a.data_type == DataType::Utf8)
    };
    if !udfs.iter().any(is_it) {
        return Vec::new();
    }
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut add = |found: Vec<Diagnostic>| {
        for error in found {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    };
    for call in calls(plan, |name| name == FUNCTION) {
        let place = |text: &str, statement: &Span| place_of_text(text, statement).unwrap_or_else(|| call.place());
        let of_agent = agents.iter().find(|agent| agent.statement == *call.statement.written());
        if let Some((agent, Work::Url { url, options })) = of_agent.map(|agent| (agent, &agent.work)) {
            let place = |text: &str| place_of_text(text, &agent.statement).unwrap_or_else(|| agent.span.clone());
            add(wrong_url(url, environment, &place(url)));
            add(wrong_options(Some(options), environment, &place(options)));
            continue;
        }
        for (url, statement) in call.texts(0, plan).known {
            let Some(url) = url else { continue };
            add(wrong_url(&url, environment, &place(&url, &statement)));
        }
        for (options, statement) in call.texts(2, plan).known {
            let place = options.as_ref().map_or_else(|| call.place(), |options| place(options, &statement));
            add(wrong_options(options.as_deref(), environment, &place));
        }
    }
    errors
}

fn wrong_url(url: &str, environment: &Environment, place: &Span) -> Vec<Diagnostic> {
    let wrong = check_url(url).err().map(|mistake| told(Code::UDF_OPTIONS, &mistake, place));
    wrong.into_iter().chain(unset(url, None, environment, place)).collect()
}

fn wrong_options(options: Option<&str>, environment: &Environment, place: &Span) -> Vec<Diagnostic> {
    match HttpOptions::parse(options) {
        Ok(options) => unset("", Some(&options), environment, place),
        Err(mistakes) => {
            let told = mistakes.iter().map(|mistake| {
                let mistake = format!("the options of `{FUNCTION}` are wrong: {mistake}");
                told(Code::UDF_OPTIONS, &mistake, place)
            });
            told.collect()
        }
    }
}

fn unset(url: &str, options: Option<&HttpOptions>, environment: &Environment, place: &Span) -> Vec<Diagnostic> {
    if environment.keeps_unset() {
        return Vec::new();
    }
    let missing = missing(url, options, |name| environment.get(name));
    missing.iter().map(|mistake| told(Code::ENVIRONMENT, mistake, place)).collect()
}

fn told(code: Code, mistake: &str, place: &Span) -> Diagnostic {
    let (what, edit) = parts(mistake, "write them as in udfs/README.md, or `'{}'` for none");
    Diagnostic::new(code, what).at(place.clone()).help(edit)
}
