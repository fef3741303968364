//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::connectors::StopFlag;

/// From now on, signals set `stop`.
///
/// # Errors
/// When the system refuses the handler.
pub fn stop_on_signal(stop: StopFlag) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if stop.is_set() {
                std::process::exit(code);
            }
            tracing::info!("stopping: draining what is in flight (a second signal exits at once)");
            stop.set();
        }
    });
    Ok(())
}
