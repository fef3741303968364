//! The files of a project: pipelines, the definitions in `sql/`, and the agents of both. [`resolve`](super::resolve)
//! selects the part that a pipeline uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent::{AgentDef, read_agent};
use super::definition::{Script, read, script};
use super::name_of;
use super::resolve::{self, Pipeline, PipelineText, resolve};
use super::statement::{Ast, ParsedStatement, parse, parse_each};
use crate::diag::{Code, Diagnostic, SourceText, Span, nearest};

/// A folder with `pipelines/`, `sql/` and `udfs/`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder.
    pub root: PathBuf,
}

impl Project {
    /// The folder `from` or the nearest above it that has `pipelines/`.
    #[must_use]
    pub fn find(from: &Path) -> Option<Self> {
        from.ancestors().find(|d| d.join("pipelines").is_dir()).map(|root| Self { root: root.to_path_buf() })
    }

    /// The folder of the UDFs.
    #[must_use]
    pub fn udfs(&self) -> PathBuf {
        self.root.join("udfs")
    }

    /// The names of all pipelines: the files in `pipelines/` that contain an INSERT, and the agents in `sql/` whose
    /// pipeline Baton supplies.
    #[must_use]
    pub fn pipelines(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let mut names: Vec<String> = sql_files(&self.root.join("pipelines"))
            .iter()
            .filter(|path| !only_declares(path))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
            .collect();
        let catalogue = read_catalogue(&self.root.join("sql"), &mut errors);
        names.extend(catalogue.agents.into_iter().filter(AgentDef::is_supplied).map(|agent| agent.ident));
        names.sort();
        names.dedup();
        names
    }
}

fn is_sql_file(name_or_path: &str) -> bool {
    Path::new(name_or_path).extension().is_some_and(|e| e.eq_ignore_ascii_case("sql"))
}

/// The file of a pipeline. An agent whose pipeline Baton supplies has none.
#[must_use]
pub fn file_of(name_or_path: &str, cwd: &Path) -> PathBuf {
    match Project::find(cwd) {
        Some(project) if !is_sql_file(name_or_path) => project.root.join(format!("pipelines/{name_or_path}.sql")),
        _ => cwd.join(name_or_path),
    }
}

/// Finds a pipeline by its name or by the path of a `.sql` file, and reads it. Errors in it and in the catalogue are in
/// [`PipelineText::errors`].
///
/// # Errors
/// There is no such pipeline, or it cannot be read.
pub fn load(name_or_path: &str, cwd: &Path) -> Result<(PipelineText, Option<Project>), Vec<Diagnostic>> {
    let is_path = is_sql_file(name_or_path);
    let (path, project) = if is_path {
        let path = cwd.join(name_or_path);
        let project = path.parent().and_then(Project::find).or_else(|| Project::find(cwd));
        (path, project)
    } else {
        let Some(project) = Project::find(cwd) else {
            return Err(vec![
                Diagnostic::new(
                    Code::NO_PROJECT,
                    format!("no folder `pipelines/` here or above, so there is no pipeline `{name_or_path}`"),
                )
                .help("run inside a project, or give the path of a .sql file"),
            ]);
        };
        (project.root.join("pipelines").join(format!("{name_or_path}.sql")), Some(project))
    };
    let mut errors = Vec::new();
    let mut catalogue = match &project {
        Some(project) => read_catalogue(&project.root.join("sql"), &mut errors),
        None => Script::default(),
    };
    let supplied = catalogue.agents.iter().find(|agent| agent.is_supplied() && agent.ident == name_or_path).cloned();
    if !path.is_file() && supplied.is_none() {
        return Err(vec![not_found(name_or_path, &path, is_path, project.as_ref())]);
    }
    let (own, at) = match &supplied {
        Some(agent) if path.is_file() => {
            let error = Diagnostic::new(Code::TABLE_TWICE, format!("there are two pipelines `{}`", agent.ident));
            let help =
                format!("Baton supplies the one of this agent: rename it, or `{}`", crate::diag::display_path(&path));
            return Err(vec![error.at(agent.span.clone()).help(help)]);
        }
        Some(agent) => (Script::default(), agent.span.clone()),
        None => {
            let source = SourceText::read(&path).map_err(|e| vec![e])?;
            (script(&source, &mut errors), Span::new(&source, 0..0))
        }
    };
    if let Some(project) = &project {
        catalogue.extend(agents_of_others(project, &path, &mut errors));
    }
    let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let pipeline = Pipeline { name, at, own, supplied: supplied.into_iter().collect(), errors };
    Ok((resolve(pipeline, catalogue), project))
}

/// Reads a pipeline from a text, with a catalogue that is already read.
#[must_use]
pub fn assemble(name: &str, source: &Arc<SourceText>, catalogue: Script) -> PipelineText {
    let mut errors = Vec::new();
    let own = script(source, &mut errors);
    let at = Span::new(source, 0..0);
    resolve(Pipeline { name: name.to_string(), at, own, supplied: Vec::new(), errors }, catalogue)
}

/// Reads the definitions in a project's `sql/` and the agents of its pipelines.
///
/// # Errors
/// All errors in its files.
pub fn definitions(project: &Project) -> Result<Script, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut all = read_catalogue(&project.root.join("sql"), &mut errors);
    all.extend(agents_of_others(project, Path::new(""), &mut errors));
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

/// The definitions in `sql/` that no pipeline uses, with everything that they use themselves.
#[must_use]
pub fn unused(project: &Project, used: &BTreeSet<&str>) -> PipelineText {
    let mut errors = Vec::new();
    let mut catalogue = read_catalogue(&project.root.join("sql"), &mut errors);
    catalogue.extend(agents_of_others(project, Path::new(""), &mut errors));
    resolve::unused(catalogue, used, errors)
}

/// The agents that other pipelines than the one at `own` declare. Other errors in those files are ignored.
fn agents_of_others(project: &Project, own: &Path, errors: &mut Vec<Diagnostic>) -> Script {
    let mut others = Script::default();
    let own = own.canonicalize().ok();
    for path in sql_files(&project.root.join("pipelines")) {
        if own.is_some() && path.canonicalize().ok() == own {
            continue;
        }
        let Ok(source) = SourceText::read(&path) else { continue };
        if !source.text.to_lowercase().contains("agent") {
            continue;
        }
        let Ok(statements) = parse_each(&source) else { continue };
        for statement in statements {
            match statement {
                Ok(ParsedStatement { ast: Ast::Agent(agent), span }) => match read_agent(&source, &agent, &span) {
                    Ok(agent) => others.agents.push(agent),
                    Err(wrong) => {
                        others.broken.insert(name_of(&agent.name));
                        errors.extend(wrong);
                    }
                },
                Err(wrong) if wrong.is_agent => {
                    others.broken.extend(wrong.defines);
                    errors.push(wrong.error);
                }
                _ => {}
            }
        }
    }
    others
}

/// Whether a pipeline's file only declares agents. Their work is done elsewhere.
fn only_declares(path: &Path) -> bool {
    let Ok(source) = SourceText::read(path) else { return false };
    let Ok(script) = parse(&source).and_then(|statements| read(&source, statements)) else { return false };
    script.inserts.is_empty() && !script.agents.is_empty() && !script.agents.iter().any(AgentDef::is_supplied)
}

fn not_found(given: &str, path: &Path, is_path: bool, project: Option<&Project>) -> Diagnostic {
    if is_path {
        return Diagnostic::new(Code::FILE, format!("there is no file `{given}`"))
            .help("check the path, or give the name of a pipeline without .sql");
    }
    let known = project.map(Project::pipelines).unwrap_or_default();
    let help = match nearest(given, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the pipelines are {}", known.join(", ")),
    };
    Diagnostic::new(
        Code::NO_PIPELINE,
        format!("there is no pipeline `{given}` (no file `{}`)", crate::diag::display_path(path)),
    )
    .help(help)
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "sql")).collect();
    files.sort();
    files
}

fn read_catalogue(folder: &Path, errors: &mut Vec<Diagnostic>) -> Script {
    let mut all = Script::default();
    for path in sql_files(folder) {
        match SourceText::read(&path) {
            Ok(source) => all.extend(script(&source, errors)),
            Err(error) => errors.push(error),
        }
    }
    for insert in &all.inserts {
        if !insert.is_values() {
            errors.push(
                Diagnostic::new(
                    Code::STATEMENT,
                    "`sql/` says what exists; an INSERT that does something belongs in `pipelines/`",
                )
                .at(insert.span.clone())
                .help("move it to a file in pipelines/"),
            );
        }
    }
    all
}
