//! `baton plan`: draws what a pipeline does, or the whole system, as an analyst thinks of it.

use std::path::PathBuf;

use clap::ValueEnum;

use super::output::{Failed, data};
use super::prepare::{self, Compiled};
use crate::config::Environment;
use crate::engine::draw::{self, Drawing, System};

/// The format of a drawing.
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

/// The page that a picture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// The reader's system decides.
    Auto,
    /// A light page.
    Light,
    /// A dark page.
    Dark,
}

/// What to draw, and how.
pub struct PlanOptions {
    /// The pipeline; `None` for the whole system.
    pub pipeline: Option<String>,
    /// The format.
    pub format: PlanFormat,
    /// The page that a picture is for.
    pub theme: Theme,
    /// The folder of the UDFs' sources.
    pub udfs: Option<PathBuf>,
}

/// Draws a pipeline, or all of them.
///
/// # Errors
/// All errors in what is drawn.
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

/// The whole system: all pipelines of a project.
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
