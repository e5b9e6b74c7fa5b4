//! One head that the scorer holds, with what is counted of it and whether it is still trusted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use inctrl_model::HeadKind;
use tokio::sync::watch;

use super::counts::{Counts, CountsView};
use crate::scorer::{Garbage, HeadInfo, HeadKey, ScorerError};

/// Rings whenever what is served has changed: a head came, went, or was taken out.
#[derive(Debug)]
pub(crate) struct Bell(watch::Sender<u64>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn ring(&self) {
        self.0.send_modify(|rings| *rings += 1);
    }

    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// One immutable head that the scorer holds.
#[derive(Debug)]
pub(crate) struct Revision {
    key: HeadKey,
    info: HeadInfo,
    /// Its number within its model; 0 for a head by configuration.
    number: AtomicI64,
    counts: Counts,
    /// Why it was taken out.
    trouble: OnceLock<String>,
    bell: Arc<Bell>,
    garbage: Arc<Garbage>,
}

impl Revision {
    pub(crate) fn new(key: HeadKey, info: HeadInfo, bell: Arc<Bell>, garbage: Arc<Garbage>) -> Self {
        Self {
            key,
            info,
            number: AtomicI64::new(0),
            counts: Counts::default(),
            trouble: OnceLock::new(),
            bell,
            garbage,
        }
    }

    pub(crate) fn key(&self) -> HeadKey {
        self.key
    }

    pub(crate) fn digest(&self) -> &str {
        &self.info.digest
    }

    pub(crate) fn kind(&self) -> HeadKind {
        self.info.kind
    }

    pub(crate) fn number(&self) -> i64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Takes the number that a rollout gives it: the same head may come back as another revision.
    pub(crate) fn renumber(&self, number: i64) {
        self.number.store(number, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> CountsView {
        self.counts.view()
    }

    /// It answered a query that was admitted so long ago.
    pub(crate) fn answered(&self, took: Duration) {
        self.counts.answered(took);
    }

    /// Why it was taken out of service, where it was.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.trouble.get().is_none()
    }

    /// It scored a query, or failed it. One that fails by itself is taken out: it would fail again.
    pub(super) fn scored(&self, error: Option<&ScorerError>) {
        let is_failure =
            error.is_some_and(|error| matches!(error, ScorerError::Head(_) | ScorerError::Panicked { .. }));
        self.counts.scored(is_failure);
        let Some(error) = error.filter(|error| error.is_of_the_head()) else { return };
        let said = inctrl_telemetry::Chain(error).to_string();
        if self.trouble.set(said.clone()).is_ok() {
            tracing::error!(revision = self.digest(), error = said, "a head is taken out of service");
            self.bell.ring();
        }
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        self.garbage.forget_head(self.key);
    }
}
