//! `baton plan`: what a pipeline does, or what all of them do together, as an analyst thinks of it.

use std::path::PathBuf;

use clap::ValueEnum;

use super::output::{Failed, data};
use super::prepare::{self, Compiled};
use crate::config::Environment;
use crate::engine::draw::{self, Drawing, System};

/// How a drawing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// Lines of text.
    Text,
    /// A Mermaid flow chart.
    Mermaid,
    /// Nodes and edges.
    Json,
    /// A picture.
    Svg,
}

/// For which page a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// The reader's system decides.
    Auto,
    /// A light page.
    Light,
    /// A dark page.
    Dark,
}

/// What is to be drawn, and how.
pub struct PlanOptions {
    /// The pipeline; none for all of the project.
    pub pipeline: Option<String>,
    /// How it is written.
    pub format: PlanFormat,
    /// For which page a picture is.
    pub theme: Theme,
    /// The folder of the UDFs' sources.
    pub udfs: Option<PathBuf>,
}

/// Draws a pipeline, or all of them.
///
/// # Errors
/// All that is wrong with what is to be drawn.
pub async fn run(options: PlanOptions, environment: &Environment) -> Result<(), Failed> {
    let PlanOptions { pipeline, format, theme, udfs } = options;
    let Some(name) = pipeline else {
        let all = prepare::compile_all(&std::env::current_dir()?, udfs, environment).await?;
        let system = system(&all);
        return print(Drawing::System(&system), format, theme);
    };
    for pipeline in prepare::compile(&[name], udfs, environment).await?.pipelines {
        print(Drawing::Pipeline(&pipeline.outline), format, theme)?;
    }
    Ok(())
}

/// What all pipelines of a project are together.
pub fn system(all: &Compiled) -> System {
    System::new(all.pipelines.iter().map(|pipeline| &pipeline.outline))
}

fn print(drawing: Drawing<'_>, format: PlanFormat, theme: Theme) -> Result<(), Failed> {
    let text = match format {
        PlanFormat::Text => drawing.text(),
        PlanFormat::Mermaid => drawing.mermaid(),
        PlanFormat::Json => format!("{:#}\n", drawing.json()),
        PlanFormat::Svg => drawing.svg(match theme {
            Theme::Auto => draw::Theme::Auto,
            Theme::Light => draw::Theme::Light,
            Theme::Dark => draw::Theme::Dark,
        }),
    };
    Ok(data(&text)?)
}
