//! Reads a file whose reads may never return, so that a stop is noticed all the same.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use super::{CHUNK, LOOK_UP};
use crate::connectors::StopFlag;

/// A file whose reads can block for ever (a named pipe, a terminal). A thread of its own reads it, so that a stop is
/// noticed.
pub(super) struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    rest: io::Cursor<Vec<u8>>,
    stop: StopFlag,
}

impl Pipe {
    pub(super) fn new(mut file: File, stop: StopFlag) -> Self {
        let (sender, chunks) = sync_channel(1);
        // The thread exits with the pipe, or at the first chunk that nobody takes.
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk).map(|length| {
                    chunk.truncate(length);
                    chunk
                });
                let last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if sender.send(read).is_err() || last {
                    return;
                }
            }
        });
        Self { chunks, rest: io::Cursor::default(), stop }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(buffer)?;
            if read > 0 || self.stop.is_set() {
                return Ok(read);
            }
            match self.chunks.recv_timeout(LOOK_UP) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(0),
                Ok(chunk) => self.rest = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}
