//! How a program is asked to stop: SIGTERM or SIGINT begins the drain, a second one skips its waiting.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells every part of a program that it is to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    hurry: CancellationToken,
}

impl Shutdown {
    /// Listens for signals on a task of the current runtime. The first SIGTERM or SIGINT begins the drain, the
    /// second hurries it.
    ///
    /// # Errors
    ///
    /// When the system refuses a signal handler.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let told = shutdown.clone();
        tokio::spawn(async move {
            let name = next(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "draining; a second signal skips the waiting");
            told.begin();
            let name = next(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "hurrying");
            told.hurry();
        });
        Ok(shutdown)
    }

    /// Begins the drain.
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// Skips the drain's waiting (and begins it, where it has not begun).
    pub fn hurry(&self) {
        self.drain.cancel();
        self.hurry.cancel();
    }

    /// Completes when the drain has begun.
    pub async fn begun(&self) {
        self.drain.cancelled().await;
    }

    /// Completes when waiting is to be skipped.
    pub async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Whether the drain has begun.
    pub fn is_begun(&self) -> bool {
        self.drain.is_cancelled()
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hurrying_begins_the_drain_too() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.is_begun());
        shutdown.clone().hurry();
        shutdown.begun().await;
        shutdown.hurried().await;
        assert!(shutdown.is_begun());
    }
}
