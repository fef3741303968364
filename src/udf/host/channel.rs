//! The channel from UDFs to their process: a pipe whose path is in an environment variable.
//!
//! A UDF is a library with its own statics, so it shares no memory with the engine. It opens the path and writes lines;
//! `udf::states` interprets them.

use std::io::{self, PipeReader};
use std::os::fd::IntoRawFd;

/// The variable with the path. If it is not set (on Arroyo), nobody listens.
pub const VARIABLE: &str = "BATON_HOST";

/// The read end of the pipe.
#[derive(Debug)]
pub struct HostChannel {
    pub(in crate::udf) lines: PipeReader,
}

impl HostChannel {
    /// Makes the pipe and sets the variable. It must be called before the process has a second thread.
    ///
    /// # Errors
    /// The system cannot create a pipe.
    pub fn open() -> io::Result<Self> {
        let (lines, writer) = io::pipe()?;
        // The path contains the descriptor's number, so the descriptor stays open as long as the process runs.
        let path = format!("/dev/fd/{}", writer.into_raw_fd());
        // SAFETY: nobody reads the environment at the same time, because there is no other thread yet.
        unsafe { std::env::set_var(VARIABLE, path) };
        Ok(Self { lines })
    }
}
