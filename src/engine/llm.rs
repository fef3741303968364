//! The calls of `llm_classify` and `llm_complete`. Mistakes in their options and in the environment's settings are
//! reported before a row is read, and a rendered text shows the instruction that the model gets.
//!
//! `baton_llm_settings` decides what is valid. The functions themselves are UDFs like others.

use std::fmt::Write as _;

use baton_llm_settings::settings::Provider;
use baton_llm_settings::{Function, Options, Settings, check_settings, prompt};
use datafusion::arrow::datatypes::DataType;

use crate::config::Environment;
use crate::diag::{Code, Diagnostic, Span};
use crate::sql::arguments::{Texts, UdfCall, calls, place_of_text};
use crate::sql::plan::PipelinePlan;
use crate::udf::UdfSource;

/// How long a line of a comment is.
const WIDTH: usize = 110;

/// A call of one of the functions.
struct LlmCall<'a> {
    function: Function,
    call: UdfCall<'a>,
    options: Texts,
}

/// The calls of a pipeline. A UDF that has the name of one but takes other arguments is left out.
fn llm_calls<'a>(plan: &'a PipelinePlan, udfs: &[UdfSource]) -> Vec<LlmCall<'a>> {
    let function = |name: &str| {
        let function = Function::from_name(name)?;
        let arguments = &udfs.iter().find(|u| u.name == name)?.signature.args;
        let texts = arguments.len() == function.options_argument() + 1
            && arguments.iter().all(|argument| argument.data_type == DataType::Utf8);
        texts.then_some(function)
    };
    let found = calls(plan, |name| function(name).is_some());
    let found = found.into_iter().filter_map(|call| {
        let function = function(&call.udf)?;
        let options = call.texts(function.options_argument(), plan);
        Some(LlmCall { function, call, options })
    });
    found.collect()
}

/// Mistakes in constant options and, unless the environment is only known later, in the settings that these calls need.
pub fn check(plan: &PipelinePlan, udfs: &[UdfSource], environment: &Environment) -> Vec<Diagnostic> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    let mut add = |error: Diagnostic| {
        if !errors.contains(&error) {
            errors.push(error);
        }
    };
    for LlmCall { function, call, options } in llm_calls(plan, udfs) {
        // The options are not known at first.
        let mut candidates = vec![None];
        for (text, statement) in &options.known {
            match Options::parse(text.as_deref(), function) {
                Ok(options) => candidates.push(Some(options)),
                Err(mistakes) => {
                    let place =
                        text.as_ref().and_then(|text| place_of_text(text, statement)).unwrap_or_else(|| call.place());
                    wrong_options(function, &mistakes, &place).into_iter().for_each(&mut add);
                }
            }
        }
        if environment.keeps_unset() {
            continue;
        }
        let wrong = candidates.iter().flat_map(|options| wrong_settings(options.as_ref(), environment));
        wrong.for_each(&mut add);
    }
    errors
}

/// Mistakes in the options of a call.
pub fn wrong_options(function: Function, mistakes: &[String], place: &Span) -> Vec<Diagnostic> {
    let told = mistakes.iter().map(|mistake| {
        let (what, edit) = parts(mistake, "write them as in udfs/README.md, or `'{}'` for none");
        let message = format!("the options of `{}` are wrong: {what}", function.name());
        Diagnostic::new(Code::UDF_OPTIONS, message).at(place.clone()).help(edit)
    });
    told.collect()
}

/// Mistakes in the environment, for a call with these options, or for any call when they are not known.
pub fn wrong_settings(options: Option<&Options>, environment: &Environment) -> Vec<Diagnostic> {
    let lookup = |name: &str| environment.get(name);
    let checked = match options {
        None => Settings::from_lookup(lookup).map(drop),
        Some(Options { provider: None, model: None, budget: None, .. }) => check_settings(lookup).map(drop),
        Some(options) => Settings::from_lookup(lookup).and_then(|settings| {
            let provider = options.provider.unwrap_or(settings.provider);
            if provider == Provider::Offline {
                return Ok(());
            }
            let checked = settings.endpoint(provider, options.model.as_deref()).and_then(|endpoint| {
                options.budget.as_ref().map_or(Ok(()), |budget| settings.check_budget(budget, &endpoint.model))
            });
            checked.map_err(|mistake| vec![mistake])
        }),
    };
    let told = checked.err().unwrap_or_default().into_iter().map(|mistake| {
        let (what, edit) = parts(&mistake, "correct the variable, or leave it out");
        Diagnostic::new(Code::ENVIRONMENT, what).help(edit)
    });
    told.collect()
}

/// Splits a message about settings into the mistake and the edit, which follows a colon.
pub(super) fn parts(mistake: &str, otherwise: &str) -> (String, String) {
    let edit =
        [": set ", ": write ", ": did you mean ", ": there are "].iter().filter_map(|words| mistake.find(words)).min();
    match edit {
        Some(at) => (mistake[..at].into(), mistake[at + 2..].into()),
        None => (mistake.into(), otherwise.into()),
    }
}

/// The remarks in a rendered text: the instruction that a model gets when the options do not give one.
pub fn remarks(plan: &PipelinePlan, udfs: &[UdfSource]) -> Vec<(Span, String)> {
    let has_prompt = |(text, _): &(Option<String>, Span)| {
        Options::parse(text.as_deref(), Function::Classify).is_ok_and(|options| options.prompt.is_some())
    };
    let shows = |call: &LlmCall<'_>| {
        let options = &call.options;
        let replaced = !options.others && options.known.iter().all(has_prompt);
        call.function == Function::Classify && !replaced
    };
    let found = llm_calls(plan, udfs).into_iter().filter(shows);
    found.map(|call| (call.call.statement.clone(), instruction())).collect()
}

fn instruction() -> String {
    let mut comment = String::from(
        "-- The instruction that llm_classify gives to the model; \"prompt\" in its options replaces it:\n",
    );
    for paragraph in prompt::CLASSIFY.lines() {
        let mut line = String::from("--  ");
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _ = writeln!(comment, "{line}");
                line = String::from("--  ");
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(comment, "{line}");
    }
    comment
}
