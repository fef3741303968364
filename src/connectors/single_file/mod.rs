//! `connector = 'single_file'`: a file with one message on each line.
//!
//! A source reads a file once, from its beginning to its end, and then ends; it reads a pipe as lines arrive. A sink
//! empties the file when it opens it, then appends. `formats` decides how a line holds a row.

mod pipe;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Connector, ConnectorError, SinkSpec, SourceSpec};
use crate::config::Environment;
use crate::diag::{Code, Diagnostic};
use crate::formats::{Direction, FORMAT_OPTIONS, Format};
use crate::sql::option_reader::OptionReader;
use crate::sql::options::{OptionDoc, option};
use crate::sql::table::TableDef;

static OPTIONS: &[OptionDoc] = &[
    option("path", "The file, relative to the folder that `baton` was started in."),
    option(
        "wait_for_control",
        "Arroyo waits for a control message after each line unless this is `false`; the embedded engine never waits.",
    )
    .default("true")
    .choices(&["true", "false"]),
];

/// How many bytes are read at once.
const CHUNK: usize = 128 << 10;
/// How often a thread that waits checks for a stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The connector.
pub struct SingleFile;

impl Connector for SingleFile {
    fn name(&self) -> &'static str {
        "single_file"
    }

    fn description(&self) -> &'static str {
        "A file with one row on each line. A source reads it once, from its beginning to its end. A sink empties it when the \
         pipeline starts, and creates missing folders."
    }

    fn options(&self) -> &'static [OptionDoc] {
        OPTIONS
    }

    fn for_arroyo(&self, direction: Direction) -> &'static [(&'static str, &'static str)] {
        match direction {
            // Arroyo would wait for a control message after each line.
            Direction::Source => &[("type", "source"), ("wait_for_control", "false")],
            Direction::Sink => &[("type", "sink")],
        }
    }

    fn source(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SourceSpec>, Vec<Diagnostic>> {
        Ok(Box::new(read_spec(table, environment, Direction::Source)?))
    }

    fn sink(&self, table: &TableDef, environment: &Environment) -> Result<Box<dyn SinkSpec>, Vec<Diagnostic>> {
        Ok(Box::new(read_spec(table, environment, Direction::Sink)?))
    }
}

struct Spec {
    table: TableDef,
    path: PathBuf,
    format: Format,
}

fn read_spec(table: &TableDef, environment: &Environment, direction: Direction) -> Result<Spec, Vec<Diagnostic>> {
    let mut options = OptionReader::new(table, environment, OPTIONS.iter().chain(FORMAT_OPTIONS));
    let path = options.required("path");
    options.flag("wait_for_control");
    let format = Format::read(&mut options, direction);
    options.finish()?;
    match (path, format) {
        (Some(path), Some(format)) => Ok(Spec { table: table.clone(), path: path.into(), format }),
        // What is missing has been reported, so this is not reached. An empty list would report nothing.
        _ => Err(vec![Diagnostic::new(Code::OPTION_MISSING, format!("table `{}` is not complete", table.name))]),
    }
}

impl Spec {
    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn failed(&self, code: Code, verb: &str, error: &io::Error) -> ConnectorError {
        let (table, path) = (&self.table.name, self.path.display());
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let reason = match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => match folder {
                Some(folder) => format!("`{}` is a file, not a folder", folder.display()),
                None => error.to_string(),
            },
            io::ErrorKind::NotFound => match folder.filter(|p| !p.exists()) {
                Some(folder) => format!("the folder `{}` does not exist", folder.display()),
                None => "the file does not exist".into(),
            },
            io::ErrorKind::IsADirectory => "it is a folder".into(),
            io::ErrorKind::PermissionDenied => "permission is denied".into(),
            _ => error.to_string(),
        };
        let help = match (self.path.is_relative(), std::env::current_dir()) {
            (true, Ok(here)) => format!("check `path`; it is relative to `{}`", here.display()),
            _ => "check `path`".into(),
        };
        ConnectorError::new(code, format!("table `{table}` cannot {verb} `{path}`: {reason}")).help(help)
    }
}
