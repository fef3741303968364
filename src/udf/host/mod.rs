//! Calls compiled UDFs: opens their libraries, passes rows over Arroyo's C interface, and survives their panics.
//!
//! `abi` and `c_data` are the interface and, apart from one line of `channel`, the only unsafe code. `sync` and `calls`
//! decide the result of a batch or a row if a UDF panics, hangs or is blocked. A library is never unloaded: its threads
//! and its statics may outlive every call.

#[allow(unsafe_code, reason = "the C interface of a UDF's library; nothing outside this module is unsafe")]
mod abi;
mod args;
#[allow(unsafe_code, reason = "the Arrow C data interface is made of raw pointers")]
mod c_data;
mod calls;
#[allow(unsafe_code, reason = "a variable of the environment is set")]
mod channel;
mod isolation;
mod pump;
mod session;
mod sync;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use args::CallArgs;
pub use calls::{Answers, AsyncAnswers, AsyncCalls, AsyncLibrary, AsyncUdf, Slot};
pub use channel::{HostChannel, VARIABLE as HOST_VARIABLE};
pub use sync::SyncUdf;

use super::source::{UdfKind, UdfSource};
use crate::diag::{Code, Diagnostic};

/// The error of one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{udf}` {message}")]
pub struct RowError {
    /// The UDF's name.
    pub udf: Arc<str>,
    /// The error, to follow the name: "panicked on this row".
    pub message: String,
}

/// Called for each row whose result became NULL because its call failed.
pub type RowErrors = Arc<dyn Fn(&RowError) + Send + Sync>;

/// A UDF that can be called.
#[derive(Debug)]
pub enum LoadedUdf {
    /// Called by `DataFusion`, batch by batch.
    Sync(SyncUdf),
    /// Called by the engine, row by row.
    Async(AsyncLibrary),
}

/// The slot for the library of a function that is planned before it is compiled.
#[derive(Default)]
pub struct LoadedSlot(OnceLock<LoadedUdf>);

impl LoadedSlot {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Puts the library in. A second one is ignored.
    pub fn fill(&self, udf: LoadedUdf) {
        let _ = self.0.set(udf);
    }

    /// The library, once it is there.
    #[must_use]
    pub fn get(&self) -> Option<&LoadedUdf> {
        self.0.get()
    }
}

impl fmt::Debug for LoadedSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.get().is_some() { "LoadedSlot(filled)" } else { "LoadedSlot(empty)" })
    }
}

/// Opens the library of a UDF. `errors` is called for rows on which a sync UDF panics.
///
/// # Errors
/// [`Code::UDF_LOAD`] if the library cannot be opened or lacks the functions that the macro generates.
pub fn load(source: &UdfSource, library: &Path, errors: RowErrors) -> Result<LoadedUdf, Diagnostic> {
    let failed = |error: abi::LoadError| {
        Diagnostic::new(Code::UDF_LOAD, format!("`{}` is compiled but cannot be loaded: {error}", source.name))
            .at(source.name_span.clone())
            .help("delete `target/baton` in the folder of the UDFs, and Baton compiles them again")
    };
    let source = Arc::new(source.clone());
    Ok(match source.kind {
        UdfKind::Sync => {
            let library = abi::SyncLibrary::open(library).map_err(failed)?;
            LoadedUdf::Sync(SyncUdf::new(source, library, errors))
        }
        UdfKind::Async(_) => {
            let library = abi::AsyncLibrary::open(library).map_err(failed)?;
            LoadedUdf::Async(AsyncLibrary::new(source, library))
        }
    })
}
