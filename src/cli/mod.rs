//! The command line: its commands and options, and how results, errors and exit codes reach a person or a script.

mod check;
mod demo;
mod docs;
mod eval;
mod new;
mod output;
mod plan;
mod prepare;
mod ready;
mod signals;
mod variables;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Environment;
use crate::connectors::StopFlag;
use crate::engine::{self, RunOptions};
use crate::sql::render::{self, Rendered};
use crate::udf::{HostChannel, UdfStates};
use check::{CheckFormat, CheckOptions};
use eval::EvalOptions;
use output::Failed;
use plan::{PlanFormat, PlanOptions, Theme};
use ready::ReadyFile;
use serde_json::json;

/// Event-driven orchestration of agents, written as SQL.
#[derive(Debug, Parser)]
#[command(name = "baton", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The format of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "BATON_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run pipelines until they end or are stopped (SIGTERM drains what is in flight).
    Run {
        /// Names of pipelines, or paths of .sql files [default: all pipelines that do not end by themselves].
        pipelines: Vec<String>,
        /// Create Kafka topics that are missing.
        #[arg(long)]
        create_topics: bool,
        /// How long to drain at a stop.
        #[arg(long, default_value = "30s", value_parser = parse_duration)]
        drain_timeout: Duration,
        /// Write the process's status to this file: `ready`, or the reason why it is not.
        #[arg(long, value_name = "PATH", env = "BATON_READY_FILE")]
        ready_file: Option<PathBuf>,
        /// The folder of the UDFs' sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Find errors in pipelines without running anything.
    ///
    /// It reports everything that `baton run` would refuse, in all pipelines at once, and warns of possible mistakes.
    Check {
        /// Names of pipelines or paths of .sql files, or the folder of a project [default: the project here].
        paths: Vec<String>,
        /// For people, for scripts, or as annotations of GitHub Actions.
        #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
        format: CheckFormat,
        /// Fail (exit code 1) when there are warnings: `--deny warnings`.
        #[arg(long, value_name = "warnings", value_parser = ["warnings"])]
        deny: Option<String>,
        /// The folder of the UDFs' sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Check a pipeline and draw it: sources, model calls, conditions and sinks. It opens nothing.
    ///
    /// Without a name it checks all pipelines and draws the whole system: who reads and writes which topic.
    Plan {
        /// The name of a file in pipelines/ (without .sql), or the path of a .sql file [default: the whole system].
        pipeline: Option<String>,
        /// Lines of text, a Mermaid flow chart, nodes and edges, or a picture.
        #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
        format: PlanFormat,
        /// Colours of an SVG for a light or a dark page; `auto` follows the reader's system.
        #[arg(long, value_enum, default_value_t = Theme::Auto)]
        theme: Theme,
        /// The folder of the UDFs' sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Print a pipeline as one file in Arroyo's dialect.
    Render {
        /// The name of a file in pipelines/ (without .sql), or the path of a .sql file.
        pipeline: String,
        /// The SQL, or a JSON object with it, the UDFs that it calls and what was left out.
        #[arg(long, value_enum, default_value_t = RenderFormat::Sql)]
        format: RenderFormat,
        /// The folder of the UDFs' sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Measure how well a pipeline chooses agents, on labelled messages.
    ///
    /// Each message replaces the first argument of the pipeline's own call of `llm_classify`; agents and options stay
    /// the same. No table is opened, so it needs no Kafka.
    Eval {
        /// The name of a file in pipelines/ (without .sql), or the path of a .sql file.
        pipeline: String,
        /// The labelled messages: JSON lines (.jsonl) or CSV (.csv) with `text` and `expected`, an agent's name or
        /// NONE.
        file: PathBuf,
        /// Another pipeline to compare with, on the same messages.
        #[arg(long, value_name = "PIPELINE")]
        against: Option<String>,
        /// Fail (exit code 1) when the accuracy, from 0 to 1, is less than this.
        #[arg(long, value_name = "ACCURACY", value_parser = parse_share)]
        min_accuracy: Option<f64>,
        /// Give up on pending messages when the model has not answered for this long.
        #[arg(long, default_value = "60s", value_parser = parse_duration)]
        patience: Duration,
        /// A report for people, or one JSON object with every decision.
        #[arg(long, value_enum, default_value_t = EvalFormat::Text)]
        format: EvalFormat,
        /// The folder of the UDFs' sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Compile UDFs.
    Build {
        /// Names of UDFs [default: all].
        names: Vec<String>,
        /// The folder of their sources [default: udfs/ of the project].
        #[arg(long)]
        udfs: Option<PathBuf>,
    },
    /// Show messages going from agent to agent, in one process that keeps nothing.
    ///
    /// A workflow ends as `waiting` when its next agent is a program elsewhere: the demo starts no programs.
    Demo {
        /// A message on each line: a JSON object with `context`, or a lead of the web form [default: the files in demo/].
        #[arg(long, value_name = "PATH")]
        leads: Option<PathBuf>,
        /// A story for people, or one JSON object for each workflow.
        #[arg(long, value_enum, default_value_t = DemoFormat::Text)]
        format: DemoFormat,
    },
    /// Make a project, or an agent for the project here.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    New {
        /// The folder of the new project.
        #[arg(required = true, value_name = "PROJECT")]
        folder: Option<PathBuf>,
        #[command(subcommand)]
        what: Option<NewWhat>,
    },
    /// Write the pages of docs/ that are made from the program.
    #[command(hide = true)]
    Docs {
        /// Only report which pages are not current.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
enum NewWhat {
    /// Write the file of a new agent, with a prompt to fill in.
    Agent {
        /// The agent's name: "Legal Review Agent".
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RenderFormat {
    Sql,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EvalFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DemoFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // While there is only one thread: it sets a variable.
    let channel = HostChannel::open();
    output::start_log(arguments.log_format == LogFormat::Json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("error: the runtime cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(dispatch(arguments.command, channel));
    // Threads of UDFs that never return must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.report(),
    }
}

async fn dispatch(command: Command, channel: io::Result<HostChannel>) -> Result<(), Failed> {
    let environment = Environment::process();
    let udf_states = UdfStates::listen(channel?)?;
    match command {
        Command::Run { pipelines, create_topics, drain_timeout, ready_file, udfs } => {
            let options = RunOptions { create_topics, drain_timeout, udf_states };
            run(&pipelines, udfs, ready_file, &options, &environment).await
        }
        Command::Check { paths, format, deny, udfs } => {
            let options = CheckOptions { paths, format, deny_warnings: deny.is_some(), udfs };
            check::run(options, &environment).await
        }
        Command::Plan { pipeline, format, theme, udfs } => {
            plan::run(PlanOptions { pipeline, format, theme, udfs }, &environment).await
        }
        Command::Render { pipeline, format, udfs } => {
            let rendered = prepare::render(&pipeline, udfs, &environment).await?;
            for (option, tables) in render::by_option(&rendered.left_out) {
                let tables = tables.join(", ");
                output::note(&format!("left out, because only Baton has it: `{option}`; in {tables}"));
            }
            match format {
                RenderFormat::Sql => Ok(output::data(&rendered.sql)?),
                RenderFormat::Json => Ok(output::data(&format!("{:#}\n", rendered_json(&rendered)))?),
            }
        }
        Command::Eval { pipeline, file, against, min_accuracy, patience, format, udfs } => {
            let json = format == EvalFormat::Json;
            let options = EvalOptions { pipeline, file, against, min_accuracy, patience, json, udfs };
            Box::pin(eval::run(options, &udf_states, &environment)).await
        }
        Command::Build { names, udfs } => prepare::build(&names, udfs),
        Command::New { what: Some(NewWhat::Agent { name }), .. } => new::agent(&name),
        Command::New { folder, .. } => new::project(&std::env::current_dir()?.join(folder.unwrap_or_default())),
        Command::Docs { check } => {
            docs::run(&std::env::current_dir()?, check, <Arguments as clap::CommandFactory>::command()).await
        }
        Command::Demo { leads, format } => demo::run(leads, format == DemoFormat::Json, udf_states, &environment).await,
    }
}

async fn run(
    names: &[String],
    udfs: Option<PathBuf>,
    ready_file: Option<PathBuf>,
    options: &RunOptions,
    environment: &Environment,
) -> Result<(), Failed> {
    let stop = StopFlag::default();
    let keep = |path: PathBuf| ReadyFile::keep(&path, Arc::clone(&options.udf_states), stop.clone());
    let ready = ready_file.map(keep).transpose().map_err(|wrong| vec![wrong])?;
    let compiled = prepare::compile(names, udfs, environment).await?;
    compiled.load_udfs()?;
    signals::stop_on_signal(stop.clone())?;
    let names: Vec<String> = compiled.pipelines.iter().map(|p| p.name.clone()).collect();
    let started = || {
        tracing::info!(pipelines = names.join(", "), "running");
        if let Some(ready) = &ready {
            ready.started();
        }
    };
    if engine::run(compiled.pipelines, options, &stop, started).await.map_err(Failed::Run)? {
        tracing::info!("stopped; everything that was read is delivered");
    } else {
        tracing::warn!("stopped before everything that was read was delivered: Kafka redelivers it; files start over");
    }
    Ok(())
}

fn rendered_json(rendered: &Rendered) -> serde_json::Value {
    let left_out = rendered.left_out.iter().map(|(table, option)| json!({"table": table, "option": option}));
    json!({
        "sql": rendered.sql,
        "udfs": rendered.udfs,
        "variables": rendered.variables,
        "left_out": left_out.collect::<Vec<_>>(),
    })
}

/// `500ms`, `30s`, `5m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 =
        text[..digits].parse().map_err(|_| format!("`{text}` is not a duration; write 500ms, 30s or 5m"))?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("`{text}` is not a duration; write 500ms, 30s or 5m")),
    }
}

/// `0.9`.
fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is not a number from 0 to 1; write 0.9 for 90 %"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("s").is_err());
    }

    #[test]
    fn shares_are_parts_of_one() {
        assert_eq!(parse_share("0.9"), Ok(0.9));
        assert_eq!(parse_share("1"), Ok(1.0));
        for wrong in ["90", "-0.1", "NaN", "90%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
