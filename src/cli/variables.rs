//! Finds environment variables that look like Baton's settings and are not.

use std::collections::BTreeSet;

use baton_llm_settings::VARIABLES;
use clap::CommandFactory;

use super::Arguments;
use crate::config;
use crate::diag::{Code, Diagnostic, nearest};
use crate::sql::resolve::PipelineText;
use crate::udf::HOST_VARIABLE;

/// Environment variables that look like Baton's settings and are not.
pub fn unknown(pipelines: &[PipelineText]) -> Vec<Diagnostic> {
    let mut known: BTreeSet<String> = VARIABLES.iter().map(ToString::to_string).collect();
    known.extend(own_variables());
    for option in pipelines.iter().flat_map(PipelineText::tables).flat_map(|table| &table.options) {
        known.extend(config::variables(&option.value));
    }
    // The URL and the headers of `http_call` may name variables too.
    for statement in pipelines.iter().flat_map(PipelineText::statements) {
        known.extend(config::variables(statement.text()));
    }
    let set = std::env::vars().map(|(name, _)| name);
    let mut unknown: Vec<String> = set.filter(|name| name.starts_with("BATON_") && !known.contains(name)).collect();
    unknown.sort();
    let told = unknown.into_iter().map(|name| {
        let help = match nearest(&name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the settings are in README.md and udfs/README.md".into(),
        };
        Diagnostic::warning(Code::VARIABLE_UNKNOWN, format!("`{name}` is not a setting of Baton, so it does nothing"))
            .help(help)
    });
    told.collect()
}

/// The environment variables that the command line reads.
fn own_variables() -> Vec<String> {
    fn of(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().filter_map(|a| Some(a.get_env()?.to_string_lossy().into_owned())));
        command.get_subcommands().for_each(|sub| of(sub, found));
    }
    let mut found = vec!["BATON_LOG".to_string(), HOST_VARIABLE.to_string()];
    of(&Arguments::command(), &mut found);
    found
}
