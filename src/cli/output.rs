//! stdout for data, stderr for everything else, and the exit codes: 0 ok, 1 a run failed, 2 usage, 78 wrong SQL or
//! configuration.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use crate::diag::{Code, Diagnostic, Style, sort, to_text};
use crate::engine::run::PipelineFailure;

/// Why a command exits with a code other than 0.
#[derive(Debug)]
pub enum Failed {
    /// Wrong SQL, options or settings: found before anything was read or written.
    Wrong(Vec<Diagnostic>),
    /// Pipelines that could not start or continue.
    Run(Vec<PipelineFailure>),
    /// Something else, in a sentence.
    Other(String),
    /// Already reported: the exit code.
    Told(u8),
}

impl From<Vec<Diagnostic>> for Failed {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Wrong(diagnostics)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl Failed {
    /// Reports it on stderr. Returns the exit code.
    #[must_use]
    pub fn report(self) -> ExitCode {
        let style = style();
        match self {
            Self::Wrong(mut diagnostics) => {
                sort(&mut diagnostics);
                note(&to_text(&diagnostics, style));
                ExitCode::from(78)
            }
            Self::Run(failures) => {
                for failure in &failures {
                    note(&format!("pipeline `{}` failed:\n{}", failure.pipeline, to_text(&failure.reasons, style)));
                }
                // Settings that a UDF refuses count as wrong configuration, as those that are found before the start.
                let reasons: Vec<&Diagnostic> = failures.iter().flat_map(|f| &f.reasons).collect();
                let settings = !reasons.is_empty() && reasons.iter().all(|r| r.code == Code::UDF_REJECTED);
                ExitCode::from(if settings { 78 } else { 1 })
            }
            Self::Other(message) => {
                note(&format!("error: {message}"));
                ExitCode::from(1)
            }
            Self::Told(code) => ExitCode::from(code),
        }
    }
}

/// Whether messages on stderr have colours.
pub fn style() -> Style {
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if coloured { Style::Coloured } else { Style::Plain }
}

/// A line for people, on stderr.
pub fn note(line: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Data, on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Sends log lines to stderr; `BATON_LOG` is a filter such as `info` or `baton=debug`.
pub fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("BATON_LOG").unwrap_or_else(|_| EnvFilter::new("warn,baton=info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_target(false).with_ansi(io::stderr().is_terminal()).init();
    }
}

/// A line of progress. In a terminal it replaces the last one; elsewhere a line is written every few seconds.
pub struct ProgressLine {
    terminal: bool,
    last: Option<Instant>,
    open: bool,
}

impl ProgressLine {
    /// A line that is still empty.
    #[must_use]
    pub fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: None, open: false }
    }

    /// Shows a line.
    pub fn show(&mut self, line: &str) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{line}");
            self.open = true;
        } else if self.last.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
            self.last = Some(Instant::now());
            note(line);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.open {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// `1 agent`, `2 agents`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
