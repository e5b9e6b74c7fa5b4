//! What keeps the vital signs true while the server runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::revisions::Models;
use crate::rollout::Board;
use crate::scorer::Job;

/// Between two signs of life of the event loop, and two attempts to mend the scorer.
const BEAT: Duration = Duration::from_secs(1);

/// Shows that the event loop turns.
pub(super) async fn beat(health: Arc<Health>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        health.beat();
    }
}

/// Probes a scorer that failed too often: a success makes the server ready again.
pub(super) async fn mend(health: Arc<Health>, jobs: mpsc::WeakSender<Job>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !health.is_scorer_broken() {
            continue;
        }
        let Some(jobs) = jobs.upgrade() else { return };
        let (reply, answer) = oneshot::channel();
        // A queue that is full holds work whose success mends as well.
        if jobs.try_send(Job::Probe { reply }).is_ok() {
            drop(jobs);
            let probed = answer.await;
            tracing::info!(has_passed = matches!(probed, Ok(Ok(()))), "probed the scorer after its failures");
        }
    }
}

/// Keeps readiness true to whether any model has a head to answer with.
pub(super) async fn watch_heads(health: Arc<Health>, models: Arc<Models>, board: Arc<Board>) {
    let mut rings = board.bell().listen();
    loop {
        rings.mark_unchanged();
        health.has_head(models.answers());
        if rings.changed().await.is_err() {
            return;
        }
    }
}

/// Has queries put together until it is told to stop; an end before that, by a panic too, turns readiness off.
pub(super) async fn batching(stop: CancellationToken, health: Arc<Health>, work: impl Future<Output = ()>) {
    let unasked = Unasked { stop, health };
    let _ = unasked.stop.run_until_cancelled(work).await;
}

/// Tells, when dropped, of an end that nobody asked for.
struct Unasked {
    stop: CancellationToken,
    health: Arc<Health>,
}

impl Drop for Unasked {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.health.batching_ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    #[tokio::test]
    async fn a_batching_worker_that_ends_unasked_turns_readiness_off() {
        let stop = CancellationToken::new();
        for unasked in [false, true] {
            let health = Arc::new(Health::new());
            health.enter(Phase::Serving);
            if unasked {
                let dies = async { panic!("on purpose") };
                let ended = tokio::spawn(batching(CancellationToken::new(), Arc::clone(&health), dies));
                assert!(ended.await.unwrap_err().is_panic());
            } else {
                stop.cancel();
                batching(stop.clone(), Arc::clone(&health), std::future::pending()).await;
            }
            assert_eq!(health.ready().is_err(), unasked);
        }
    }
}
