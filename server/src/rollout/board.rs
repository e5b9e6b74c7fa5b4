//! Where the ledger hangs: read by status calls, metrics and probes without waiting for a command to end.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::ledger::Ledger;
use crate::revisions::Bell;

/// The present ledger, and the bell that tells of a change.
#[derive(Debug)]
pub(crate) struct Board {
    ledger: ArcSwap<Ledger>,
    bell: Arc<Bell>,
    started: Timestamp,
}

impl Board {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { ledger: ArcSwap::default(), bell, started: Timestamp::now() }
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        self.ledger.load_full()
    }

    pub(super) fn publish(&self, ledger: Ledger) {
        self.ledger.store(Arc::new(ledger));
        self.bell.ring();
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// When the process began: all counts are since then.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }
}
