//! `baton docs`: writes the reference pages from the program itself, so that they cannot differ from what it does. CI
//! checks that they are current.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Command;

use super::output::{Failed, note};
use super::{plan, prepare};
use crate::config::Environment;
use crate::connectors::registry;
use crate::diag::all_codes;
use crate::engine::draw::{Drawing, Theme};
use crate::formats::FORMAT_OPTIONS;
use crate::sql::agent::OPTIONS as AGENT_OPTIONS;
use crate::sql::options::OptionDoc;
use crate::sql::types::to_sql;

const MADE: &str = "<!-- Made by `baton docs`; edit the source that it is made from. -->\n";

/// The pipeline of the reference system that has a picture of its own.
const ROUTER: &str = "route_messages";

/// Writes the pages into `docs/`, or with `check` reports which are not current.
///
/// # Errors
/// Files that cannot be written; with `check`, pages that differ.
pub async fn run(root: &Path, check: bool, command: Command) -> Result<(), Failed> {
    let mut pages: Vec<(PathBuf, String)> = vec![
        (root.join("docs/connectors.md"), connectors()),
        (root.join("docs/errors.md"), errors()),
        (root.join("docs/cli.md"), cli(command)),
    ];
    pages.extend(pictures(root).await?);
    let mut stale = Vec::new();
    for (path, text) in pages {
        if check {
            if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                stale.push(crate::diag::display_path(&path));
            }
        } else {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&path, text)?;
            note(&format!("wrote {}", crate::diag::display_path(&path)));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failed::Other(format!("not current: {}; run `cargo run --release -- docs`", stale.join(", "))))
}

/// Pictures of the reference system, for light and dark pages. They do not depend on the user's environment.
async fn pictures(root: &Path) -> Result<Vec<(PathBuf, String)>, Failed> {
    let environment = Environment::only([]).keeping_unset();
    let all = prepare::compile_all(root, None, &environment).await?;
    let system = plan::system(&all);
    let router = all.pipelines.iter().find(|pipeline| pipeline.name == ROUTER);
    let mut drawings = vec![("system", Drawing::System(&system))];
    drawings.extend(router.map(|router| (ROUTER, Drawing::Pipeline(&router.outline))));
    let pictures = drawings.into_iter().flat_map(|(name, drawing)| {
        [("light", Theme::Light), ("dark", Theme::Dark)]
            .map(|(theme, colours)| (root.join(format!("docs/pictures/{name}-{theme}.svg")), drawing.svg(colours)))
    });
    Ok(pictures.collect())
}

fn connectors() -> String {
    let mut out = format!(
        "{MADE}\n# Connectors\n\nOptions stand in the `WITH` clause of `CREATE TABLE`; those of `CREATE AGENT` are at the end. Only Baton has the options that begin with `baton.`.\n"
    );
    for connector in registry::all() {
        let _ = write!(out, "\n## {}\n\n{}\n\n", connector.name(), connector.description());
        table(&mut out, connector.options());
        if !connector.metadata().is_empty() {
            let _ = write!(out, "\nColumns `METADATA FROM '…'` of a source:\n\n| Name | Type |\n| --- | --- |\n");
            for (name, data_type) in connector.metadata() {
                let _ = writeln!(out, "| `{name}` | {} |", to_sql(data_type));
            }
        }
    }
    out.push_str("\n## Formats\n\nOptions of every table that holds messages.\n\n");
    table(&mut out, FORMAT_OPTIONS);
    out.push_str(
        "\n## Agents\n\nOptions in the `WITH` clause of `CREATE AGENT`, which only Baton has. An agent has one of `prompt` and `url`, or \
         neither: then SQL of its own reads its inbox, or a program elsewhere reads its topic.\n\n",
    );
    table(&mut out, AGENT_OPTIONS);
    out
}

fn table(out: &mut String, options: &[OptionDoc]) {
    if options.is_empty() {
        out.push_str("It has no options of its own.\n");
        return;
    }
    out.push_str("| Option | What it is | Values | Default |\n| --- | --- | --- | --- |\n");
    for option in options {
        let choices: Vec<String> = option.choices.iter().map(|c| format!("`{c}`")).collect();
        let default = option.default.map_or_else(String::new, |d| format!("`{d}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {default} |",
            option.key,
            option.description.replace('|', "\\|"),
            choices.join(", ")
        );
    }
}

fn errors() -> String {
    let mut out = format!(
        "{MADE}\n# Errors\n\nAn error names its code, the file, the line and the column, and one edit to make.\n\n| Code | What it means |\n| --- | --- |\n"
    );
    for doc in all_codes() {
        let _ = writeln!(out, "| {} | {} |", doc.code.0, doc.title);
    }
    out.push_str("\nExit codes: 0 ok, 1 a run failed, 2 wrong usage, 78 wrong SQL or configuration.\n");
    out
}

fn cli(command: Command) -> String {
    let mut out = format!("{MADE}\n# Command line\n");
    // Help in a terminal wraps at the terminal's width; this page has a fixed width.
    let mut command = command.term_width(100);
    command.build();
    for sub in command.get_subcommands_mut().filter(|s| !s.is_hide_set() && s.get_name() != "help") {
        let help = sub.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(out, "\n## baton {}\n\n```\n{}\n```\n", sub.get_name(), lines.join("\n").trim_end());
    }
    out
}
