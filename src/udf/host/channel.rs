//! The way on which UDFs talk to the process that they run in: a pipe whose path the environment names.
//!
//! A UDF is a library with statics of its own, so there is nothing in memory that it could share with the engine. It opens
//! the path, and writes lines; what they mean is for `udf::states`.

use std::io::{self, PipeReader};
use std::os::fd::IntoRawFd;

/// The variable that has the path. Where it is not set (on Arroyo), nobody listens.
pub const VARIABLE: &str = "BATON_HOST";

/// The end of the pipe that is read.
#[derive(Debug)]
pub struct HostChannel {
    pub(in crate::udf) lines: PipeReader,
}

impl HostChannel {
    /// Makes the pipe and sets the variable. It must be called before the process has a second thread.
    ///
    /// # Errors
    /// When the system has no pipe to give.
    pub fn open() -> io::Result<Self> {
        let (lines, writer) = io::pipe()?;
        // The path is its number, so it stays open as long as the process is there.
        let path = format!("/dev/fd/{}", writer.into_raw_fd());
        // SAFETY: nobody reads the environment at the same time, since there is no other thread yet.
        unsafe { std::env::set_var(VARIABLE, path) };
        Ok(Self { lines })
    }
}
