//! Told to stop: SIGTERM from Kubernetes, SIGINT from a terminal.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::JobError;

/// Whether the run was told to stop, and a runtime for what waits on the network.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    asked: watch::Receiver<bool>,
    runtime: Arc<Runtime>,
}

impl Stop {
    /// Listens for the signals from now on.
    pub(super) fn on_signals() -> Result<Self, JobError> {
        // One worker hears signals while the main thread computes.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|source| JobError::Runtime { source })?;
        let (ask, asked) = watch::channel(false);
        runtime.block_on(async {
            let mut terminate =
                signal(SignalKind::terminate()).map_err(|source| JobError::Runtime { source })?;
            let mut interrupt =
                signal(SignalKind::interrupt()).map_err(|source| JobError::Runtime { source })?;
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("told to stop");
                ask.send_replace(true);
                // The channel stays open for those that ask later.
                ask.closed().await;
            });
            Ok::<(), JobError>(())
        })?;
        Ok(Self { asked, runtime: Arc::new(runtime) })
    }

    /// Whether the run was told to stop.
    pub(super) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits for something that must be done also when the run was told to stop.
    pub(super) fn finish<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits for something, but not longer than until the run is told to stop.
    pub(super) fn run<T>(&self, work: impl Future<Output = Result<T, JobError>>) -> Result<T, JobError> {
        let mut asked = self.asked.clone();
        self.runtime.block_on(async {
            tokio::select! {
                done = work => done,
                _ = asked.wait_for(|asked| *asked) => Err(JobError::Stopped),
            }
        })
    }
}
