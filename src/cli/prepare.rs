//! Turns names on the command line into pipelines that are ready to run, with their UDFs compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::output::{Failed, ProgressLine, data, note};
use super::variables;
use crate::config::Environment;
use crate::diag::{Code, Diagnostic, display_path, nearest};
use crate::engine::{self, Pipeline};
use crate::sql::catalogue::{self, Project};
use crate::sql::render::Rendered;
use crate::sql::resolve::PipelineText;
use crate::udf::{self, BuiltUdf, RowError, UdfSource};

/// Pipelines without errors.
pub struct Compiled {
    /// Ready to run, except that their UDFs are not loaded.
    pub pipelines: Vec<Pipeline>,
}

/// Reads and checks pipelines. Without names: all of the project that do not end by themselves.
///
/// # Errors
/// All errors in all of them.
pub async fn compile(names: &[String], udfs: Option<PathBuf>, environment: &Environment) -> Result<Compiled, Failed> {
    let cwd = std::env::current_dir()?;
    if names.is_empty() {
        let mut all = compile_all(&cwd, udfs, environment).await?;
        all.pipelines.retain(|pipeline| !pipeline.is_bounded());
        return Ok(all);
    }
    compile_named(names, &cwd, udfs, environment).await
}

/// Reads and checks all pipelines of the project of a folder.
///
/// # Errors
/// As for [`compile`]; when there is no project.
pub async fn compile_all(folder: &Path, udfs: Option<PathBuf>, environment: &Environment) -> Result<Compiled, Failed> {
    compile_named(&all_pipelines(folder)?, folder, udfs, environment).await
}

async fn compile_named(
    names: &[String],
    folder: &Path,
    udfs: Option<PathBuf>,
    environment: &Environment,
) -> Result<Compiled, Failed> {
    let Texts { pipelines: texts, known } = read(names, folder, udfs)?;
    for Diagnostic { message, help, .. } in variables::unknown(&texts) {
        tracing::warn!("{message}; {}", help.unwrap_or_default());
    }
    let mut errors = Vec::new();
    let mut pipelines = Vec::new();
    for text in texts {
        match engine::compile(text, &known, environment).await {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(wrong) => extend(&mut errors, wrong),
        }
    }
    if errors.is_empty() { Ok(Compiled { pipelines }) } else { Err(errors.into()) }
}

/// The names of all pipelines of the project.
fn all_pipelines(folder: &Path) -> Result<Vec<String>, Failed> {
    let names = Project::find(folder).map(|project| project.pipelines()).unwrap_or_default();
    if names.is_empty() { Err(vec![no_project(folder)].into()) } else { Ok(names) }
}

/// The error of a command that needs a project.
pub fn no_project(folder: &Path) -> Diagnostic {
    let message =
        format!("there are no pipelines in `{}`: no folder `pipelines/` with .sql files", display_path(folder));
    Diagnostic::new(Code::NO_PROJECT, message).help("run inside a project; `baton new` makes one")
}

/// `baton render`.
///
/// # Errors
/// All errors in the pipeline, and what Arroyo's dialect cannot express.
pub async fn render(name: &str, udfs: Option<PathBuf>, environment: &Environment) -> Result<Rendered, Failed> {
    let Texts { pipelines: texts, known } = read(&[name.to_string()], &std::env::current_dir()?, udfs)?;
    let Some(text) = texts.into_iter().next() else { return Err(Failed::from(Vec::new())) };
    Ok(engine::rendered(text, &known, environment).await?)
}

/// Pipelines' texts, and the UDFs that they can call.
pub struct Texts {
    /// The texts.
    pub pipelines: Vec<PipelineText>,
    /// The UDFs.
    pub known: Vec<UdfSource>,
}

fn read(names: &[String], folder: &Path, udfs: Option<PathBuf>) -> Result<Texts, Failed> {
    let mut errors = Vec::new();
    let texts = texts(names, folder, udfs, &mut errors);
    if errors.is_empty() { Ok(texts) } else { Err(errors.into()) }
}

/// Reads pipelines by their names as seen from `folder`. Unreadable files and wrong UDFs are added to `errors`.
pub fn texts(names: &[String], folder: &Path, udfs: Option<PathBuf>, errors: &mut Vec<Diagnostic>) -> Texts {
    let mut texts: Vec<(PipelineText, Option<Project>)> = Vec::new();
    for name in names {
        match catalogue::load(name, folder) {
            Ok(text) => texts.push(text),
            Err(wrong) => extend(errors, wrong),
        }
    }
    let udfs = udfs.unwrap_or_else(|| {
        let project = texts.iter().find_map(|(_, p)| p.clone()).or_else(|| Project::find(folder));
        project.map_or_else(|| folder.join("udfs"), |p| p.udfs())
    });
    let known = known_udfs(&udfs).unwrap_or_else(|wrong| {
        extend(errors, wrong);
        Vec::new()
    });
    Texts { pipelines: texts.into_iter().map(|(text, _)| text).collect(), known }
}

/// Adds errors; one that two pipelines share is reported once.
pub fn extend(errors: &mut Vec<Diagnostic>, more: Vec<Diagnostic>) {
    for error in more {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
}

/// The UDFs of a folder, and those of Baton that have no source in it.
fn known_udfs(folder: &Path) -> Result<Vec<UdfSource>, Vec<Diagnostic>> {
    let mut known = if folder.is_dir() { udf::discover(folder)? } else { Vec::new() };
    for standard in udf::standard()? {
        if !known.iter().any(|udf| udf.name.eq_ignore_ascii_case(&standard.name)) {
            known.push(standard);
        }
    }
    Ok(known)
}

/// Compiles UDFs whose sources have changed, folder by folder.
fn build_udfs(sources: &[UdfSource]) -> Result<Vec<BuiltUdf>, Vec<Diagnostic>> {
    let mut by_folder: BTreeMap<PathBuf, Vec<UdfSource>> = BTreeMap::new();
    for source in sources {
        let folder = source.path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        by_folder.entry(folder).or_default().push(source.clone());
    }
    let mut line = ProgressLine::new();
    let mut built = Vec::new();
    for (folder, sources) in by_folder {
        let folder_built =
            tokio::task::block_in_place(|| udf::build(&folder, &sources, &mut |text: &str| line.show(text)))?;
        built.extend(folder_built);
    }
    Ok(built)
}

impl Compiled {
    /// Compiles the UDFs that are called and whose sources have changed, then loads them.
    ///
    /// # Errors
    /// The compiler's messages, at the author's own lines.
    pub fn load_udfs(&self) -> Result<(), Failed> {
        self.load(|_| true)
    }

    /// Loads one of them.
    ///
    /// # Errors
    /// As [`Compiled::load_udfs`].
    pub fn load_udf(&self, name: &str) -> Result<(), Failed> {
        self.load(|source| source.name == name)
    }

    fn load(&self, wanted: impl Fn(&UdfSource) -> bool) -> Result<(), Failed> {
        let mut needed: BTreeMap<&str, &UdfSource> = BTreeMap::new();
        for (source, _) in self.pipelines.iter().flat_map(|p| &p.udfs).filter(|(source, _)| wanted(source)) {
            needed.insert(&source.name, source);
        }
        let sources: Vec<UdfSource> = needed.into_values().cloned().collect();
        let built = build_udfs(&sources)?;
        let on_error: udf::RowErrors = Arc::new(|error: &RowError| tracing::warn!("{error}; its result is NULL"));
        for pipeline in &self.pipelines {
            for (source, slot) in &pipeline.udfs {
                if let Some(BuiltUdf { source, library }) = built.iter().find(|b| b.source.name == source.name) {
                    slot.fill(udf::load(source, library, Arc::clone(&on_error)).map_err(|e| vec![e])?);
                }
            }
        }
        Ok(())
    }
}

/// `baton build`.
///
/// # Errors
/// Wrong sources, the compiler's messages, or names that do not exist.
pub fn build(names: &[String], udfs: Option<PathBuf>) -> Result<(), Failed> {
    let cwd = std::env::current_dir()?;
    let folder = udfs.unwrap_or_else(|| Project::find(&cwd).map_or_else(|| cwd.join("udfs"), |p| p.udfs()));
    let known = known_udfs(&folder)?;
    let mut unknown = Vec::new();
    for name in names {
        if !known.iter().any(|u| &u.name == name) {
            let help = match nearest(name, known.iter().map(|u| u.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("the UDFs are {}", known.iter().map(|u| u.name.as_str()).collect::<Vec<_>>().join(", "))
                }
            };
            unknown.push(Diagnostic::new(Code::FUNCTION_UNKNOWN, format!("there is no UDF `{name}`")).help(help));
        }
    }
    if !unknown.is_empty() {
        return Err(unknown.into());
    }
    let wanted: Vec<UdfSource> = known.into_iter().filter(|u| names.is_empty() || names.contains(&u.name)).collect();
    let built = build_udfs(&wanted)?;
    for udf in &built {
        data(&format!("{}\t{}\n", udf.source.name, display_path(&udf.library)))?;
    }
    note(&format!("{} UDFs are compiled", built.len()));
    Ok(())
}
