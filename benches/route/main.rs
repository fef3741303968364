//! What Baton costs over a hand-written loop: `cargo bench --bench route`. What each figure means and how it is made is
//! in `benches/README.md`.
//!
//! - `options` is the command line, `scenario` the order of the runs, `figures` what comes out.
//! - `routing` and `splitting` are the two kinds of run; `load` makes messages, `receipts` sees them arrive.
//! - `stub`, `bare_loop` and `copy` are programs of their own, started as children (`child`) of the same executable.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are read by people"
)]

mod bare_loop;
#[path = "../../tests/support/broker.rs"]
#[allow(dead_code, reason = "the tests need the rest")]
mod broker;
mod child;
mod copy;
mod figures;
mod kafka;
mod load;
mod options;
mod receipts;
mod routing;
mod scenario;
mod splitting;
mod stub;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use options::{Arguments, Role};

/// What goes wrong is told to a person, and ends the run.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Stub(stub)) => stub::run(stub),
        Some(Role::Loop(options)) => bare_loop::run(options),
        Some(Role::Copy(options)) => copy::run(options),
        None => scenario::run(&arguments).and_then(|report| {
            let text = if arguments.json() { report.json() } else { report.text() };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of progress, on standard error.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
