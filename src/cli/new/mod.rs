//! `baton new`: writes a project, or an agent for the project here.

use std::fs;
use std::path::{Path, PathBuf};

use super::output::{Failed, note};
use crate::diag::{Code, Diagnostic, display_path};
use crate::sql::agent::LONGEST_NAME;
use crate::sql::catalogue::{self, Project};
use crate::sql::names_of;

/// A file of this repository that a new project gets unchanged.
macro_rules! shared {
    ($path:literal) => {
        ($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))
    };
}

/// The router and its topics.
const SHARED: &[(&str, &str)] = &[
    shared!("sql/agent_messages.sql"),
    shared!("sql/agent_predictions.sql"),
    shared!("sql/agent_topics.sql"),
    shared!("sql/dead_letters.sql"),
    shared!("sql/halted.sql"),
    shared!("sql/unrouted.sql"),
    shared!("pipelines/route_messages.sql"),
    shared!("docs/agents/message.schema.json"),
];

/// The files that only a new project has.
const OWN: &[(&str, &str)] = &[
    ("pipelines/answer_questions.sql", include_str!("answer_questions.sql")),
    ("demo/messages.jsonl", include_str!("messages.jsonl")),
    ("evals/route_messages.jsonl", include_str!("evals.jsonl")),
    ("docker-compose.yml", include_str!("docker-compose.yml")),
    (".gitignore", ".env\n/udfs/target/\n"),
];

const REDRIVE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/redrive.sql"));

/// `baton new PROJECT`.
///
/// # Errors
/// A folder that is not empty, or cannot be written.
pub fn project(folder: &Path) -> Result<(), Failed> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("the folder `{}` is not empty", display_path(folder));
        return Err(vec![Diagnostic::new(Code::FILE, message).help("name a folder that does not exist yet")].into());
    }
    let name = folder.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned());
    let readme = include_str!("README.md").replacen("PROJECT", &name, 1);
    let mut files: Vec<(&str, &str)> = SHARED.iter().chain(OWN).copied().collect();
    files.push(("README.md", &readme));
    // Only the reference system has the topic of the leads.
    let redrive = REDRIVE.split("\n\nINSERT INTO incoming_leads").next().unwrap_or_default();
    let redrive = format!("{redrive}\n");
    files.push(("pipelines/redrive.sql", &redrive));
    for (path, text) in files {
        write(&folder.join(path), text)?;
    }
    let shown = display_path(folder);
    note(&format!(
        "made the project {shown}; next:\n\n  cd {shown}\n  baton demo\n  baton new agent \"Legal Review Agent\""
    ));
    Ok(())
}

/// `baton new agent NAME`.
///
/// # Errors
/// Outside a project; when the name is taken or the file exists.
pub fn agent(name: &str) -> Result<(), Failed> {
    let cwd = std::env::current_dir()?;
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let ident = ident(&name);
    let Some(project) = Project::find(&cwd) else { return Err(vec![super::prepare::no_project(&cwd)].into()) };
    if name.is_empty() || name.eq_ignore_ascii_case("none") || name.chars().count() > LONGEST_NAME {
        let message = format!("`{name}` cannot be an agent's name");
        let help = format!("write a name of 1 to {LONGEST_NAME} characters, other than NONE");
        return Err(vec![Diagnostic::new(Code::OPTION_VALUE, message).help(help)].into());
    }
    // `baton check` reports what is wrong with the project.
    let known = catalogue::definitions(&project).map(|script| script.agents).unwrap_or_default();
    let taken = known.iter().find(|agent| agent.ident == ident || agent.name.to_lowercase() == name.to_lowercase());
    if let Some(agent) = taken {
        let message = format!("there is an agent `{}` already, `{}`", agent.ident, agent.name);
        let help = "give the new one another name";
        return Err(vec![Diagnostic::new(Code::AGENT_TWICE, message).at(agent.span.clone()).help(help)].into());
    }
    let texts = project.pipelines().into_iter().filter_map(|name| catalogue::load(&name, &project.root).ok());
    let mut definitions = texts.flat_map(|(text, _)| text.definitions);
    let made = names_of(&ident);
    let clash = definitions.find(|definition| made.iter().any(|name| definition.name() == name));
    if let Some(taken) = clash {
        let message = format!("an agent `{ident}` needs the name `{}`, which is taken", taken.name());
        let help = "give the agent another name";
        return Err(vec![Diagnostic::new(Code::TABLE_TWICE, message).help(help)].into());
    }
    let path = project.root.join("pipelines").join(format!("{ident}.sql"));
    if path.exists() {
        let message = format!("the file `{}` already exists", display_path(&path));
        return Err(vec![Diagnostic::new(Code::FILE, message).help("give the agent another name")].into());
    }
    let text = include_str!("agent.sql")
        .replace("NAME", &name)
        .replace("IDENT", &ident)
        .replace("QUOTED", &name.replace('\'', "''"));
    write(&path, &text)?;
    note(&format!("wrote {}: fill in its texts, then run `baton check`", display_path(&path)));
    Ok(())
}

/// An agent's name as an identifier: `Legal Review Agent` is `legal_review`.
fn ident(name: &str) -> String {
    let words: Vec<String> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let words = match words.as_slice() {
        [first @ .., last] if last == "agent" && !first.is_empty() => first,
        all => all,
    };
    match words.join("_") {
        ident if ident.starts_with(|c: char| c.is_ascii_lowercase()) => ident,
        ident => format!("agent_{ident}").trim_end_matches('_').to_string(),
    }
}

fn write(path: &PathBuf, text: &str) -> Result<(), Failed> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        for (name, expected) in [
            ("Legal Review Agent", "legal_review"),
            ("  It's 2nd-level  support ", "it_s_2nd_level_support"),
            ("Agent", "agent"),
            ("3D Agent", "agent_3d"),
            ("法務", "agent"),
        ] {
            assert_eq!(ident(name), expected);
        }
    }

    #[test]
    fn a_new_project_knows_nothing_of_the_reference_system() {
        assert!(REDRIVE.contains("\n\nINSERT INTO incoming_leads"));
        let texts = SHARED.iter().chain(OWN).map(|(path, text)| (*path, *text));
        let redrive = REDRIVE.split("\n\nINSERT INTO incoming_leads").next().unwrap();
        for (path, text) in texts.chain([("redrive", redrive)]).filter(|(path, _)| !path.starts_with("docs/")) {
            for word in ["incoming", "stratus", "scoring", "Outreach"] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}
