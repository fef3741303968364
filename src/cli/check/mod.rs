//! `baton check`: finds every error that can be found without running, in all pipelines of a project at once.
//!
//! Errors are what `baton run` would refuse. `warnings` finds what may be a mistake.

mod secrets;
mod warnings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::output::{Failed, count, data, note, style};
use super::{prepare, variables};
use crate::config::Environment;
use crate::diag::{Diagnostic, Severity, sort, to_github, to_json, to_text};
use crate::engine;
use crate::sql::catalogue::{self, Project};
use crate::sql::definition::Definition;
use crate::sql::resolve::PipelineText;

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckFormat {
    /// For people, on stderr.
    Text,
    /// One object, on stdout.
    Json,
    /// Annotations of GitHub Actions, on stdout.
    Github,
}

/// What to check, and how.
pub struct CheckOptions {
    /// Pipelines and .sql files, or the folder of a project. Empty: the project here.
    pub paths: Vec<String>,
    /// How findings are written.
    pub format: CheckFormat,
    /// Whether a warning fails the check.
    pub deny_warnings: bool,
    /// The folder of the UDFs' sources.
    pub udfs: Option<PathBuf>,
}

/// Checks pipelines.
///
/// # Errors
/// The errors found, and with `deny_warnings` the warnings. They are already written, unless the format is for people.
pub async fn run(options: CheckOptions, environment: &Environment) -> Result<(), Failed> {
    let Found { mut findings, pipelines } = find(&options, environment).await?;
    sort(&mut findings);
    let number = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    match options.format {
        CheckFormat::Json => data(&format!("{:#}\n", to_json(&findings)))?,
        CheckFormat::Github => data(&to_github(&findings))?,
        CheckFormat::Text => {
            if !findings.is_empty() {
                note(&format!("{}\n", to_text(&findings, style())));
            }
            let [pipelines, errors, warnings] =
                [(pipelines, "pipeline"), (errors, "error"), (warnings, "warning")].map(|(n, what)| count(n, what));
            note(&format!("checked {pipelines}: {errors}, {warnings}"));
        }
    }
    match (errors, warnings) {
        (0, 0) => Ok(()),
        (0, _) if options.deny_warnings => Err(Failed::Told(1)),
        (0, _) => Ok(()),
        _ => Err(Failed::Told(78)),
    }
}

/// What was found.
struct Found {
    findings: Vec<Diagnostic>,
    /// How many pipelines were checked.
    pipelines: usize,
}

async fn find(options: &CheckOptions, environment: &Environment) -> Result<Found, Failed> {
    let cwd = std::env::current_dir()?;
    let Scope { names, project, whole } = scope(&options.paths, &cwd)?;
    let folder = project.as_ref().filter(|_| whole).map_or(cwd.as_path(), |project| &project.root);
    let mut findings = Vec::new();
    let texts = prepare::texts(&names, folder, options.udfs.clone(), &mut findings);
    let mut known: Vec<PipelineText> = Vec::new();
    for text in texts.pipelines {
        known.push(text.clone());
        if let Err(wrong) = engine::compile(text, &texts.known, environment).await {
            prepare::extend(&mut findings, wrong);
        }
    }
    if let Some(project) = project.filter(|_| whole) {
        let used: BTreeSet<&str> = known.iter().flat_map(|text| &text.definitions).map(Definition::name).collect();
        let unused = catalogue::unused(&project, &used);
        prepare::extend(&mut findings, engine::check_unused(unused.clone(), &texts.known, environment).await);
        prepare::extend(&mut findings, warnings::unused(&unused, &used));
        prepare::extend(&mut findings, warnings::not_expected(&project, &known));
        prepare::extend(&mut findings, secrets::in_folder(&project.root.join("sql")));
        prepare::extend(&mut findings, secrets::in_folder(&project.root.join("pipelines")));
    } else {
        for name in &names {
            prepare::extend(&mut findings, secrets::in_file(&catalogue::file_of(name, &cwd)));
        }
    }
    prepare::extend(&mut findings, warnings::overlap(&known));
    prepare::extend(&mut findings, warnings::not_filled_in(&known));
    prepare::extend(&mut findings, warnings::read_twice(&known));
    prepare::extend(&mut findings, variables::unknown(&known));
    secrets::hide(&mut findings);
    Ok(Found { findings, pipelines: known.len() })
}

/// What is checked.
struct Scope {
    names: Vec<String>,
    project: Option<Project>,
    /// Whether it is the whole project.
    whole: bool,
}

fn scope(paths: &[String], cwd: &Path) -> Result<Scope, Failed> {
    let folder = match paths {
        [] => cwd.to_path_buf(),
        [path] if cwd.join(path).is_dir() => cwd.join(path),
        _ => return Ok(Scope { names: paths.to_vec(), project: Project::find(cwd), whole: false }),
    };
    let project = Project::find(&folder).ok_or_else(|| vec![prepare::no_project(&folder)])?;
    Ok(Scope { names: project.pipelines(), project: Some(project), whole: true })
}
