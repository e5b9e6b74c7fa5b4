//! Whether the server is ready for traffic and alive, told truthfully.
//!
//! Written by the app (phases), the scorer's thread (busy, failures) and the supervisor (beats); read by the admin
//! thread and the health service.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Panics of the scorer and failures of its device, without a success between them, that make the server unready.
const MOST_FAILURES: u32 = 3;
/// A scorer that is busy with one piece of work for so long is wedged. The longest honest pieces are a prompt set of many
/// images and a self-test on a slow CPU, well below a minute; text prompts are encoded in steps.
pub(crate) const WEDGED_AFTER: Duration = Duration::from_mins(2);
/// An event loop that does not beat for so long is stuck; it beats every second.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    /// Says that it is not ready, serves on.
    Draining,
    /// Listens no more.
    Stopped,
}

/// What probes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) ready: bool,
    pub(crate) live: bool,
    pub(crate) started: bool,
    pub(crate) stopped: bool,
}

/// Vital signs of the server.
#[derive(Debug)]
pub(crate) struct Health {
    born: Instant,
    phase: watch::Sender<Phase>,
    verdicts: watch::Sender<Verdicts>,
    /// Milliseconds since `born`, plus one, at which the scorer began its present work; 0 when idle.
    busy_since: AtomicU64,
    /// Milliseconds since `born` of the event loop's last beat.
    last_beat: AtomicU64,
    /// Panics and failures of the scorer since its last success.
    failures: AtomicU32,
    /// Whether nothing brings queries to the scorer any more.
    batching_ended: AtomicBool,
    /// Whether no model has a head to answer with.
    has_no_head: AtomicBool,
}

impl Health {
    pub(crate) fn new() -> Self {
        let verdicts = Verdicts { ready: false, live: true, started: false, stopped: false };
        Self {
            born: Instant::now(),
            phase: watch::Sender::new(Phase::Starting),
            verdicts: watch::Sender::new(verdicts),
            busy_since: AtomicU64::new(0),
            last_beat: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            batching_ended: AtomicBool::new(false),
            has_no_head: AtomicBool::new(false),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.born.elapsed()
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.refresh();
    }

    /// Verdicts as they change.
    pub(crate) fn watch(&self) -> watch::Receiver<Verdicts> {
        self.verdicts.subscribe()
    }

    /// The event loop turns.
    pub(crate) fn beat(&self) {
        self.last_beat.store(self.now(), Ordering::Relaxed);
        self.refresh();
    }

    pub(crate) fn scorer_is_busy(&self) {
        self.busy_since.store(self.now() + 1, Ordering::Relaxed);
    }

    pub(crate) fn scorer_is_idle(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    pub(crate) fn scorer_succeeded(&self) {
        if self.failures.swap(0, Ordering::Relaxed) >= MOST_FAILURES {
            self.refresh();
        }
    }

    pub(crate) fn scorer_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.refresh();
    }

    /// Whether failures have made the scorer unusable; a successful probe mends it.
    pub(crate) fn is_scorer_broken(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MOST_FAILURES
    }

    /// The batching worker has ended unasked: no query is answered any more.
    pub(crate) fn batching_ended(&self) {
        self.batching_ended.store(true, Ordering::Relaxed);
        self.refresh();
    }

    /// Whether any model has a head to answer with.
    pub(crate) fn has_head(&self, has_head: bool) {
        self.has_no_head.store(!has_head, Ordering::Relaxed);
        self.refresh();
    }

    /// Passes, or says why no traffic should come.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match self.phase() {
            Phase::Starting => return Err("starting: the backbone is being loaded".to_owned()),
            Phase::Draining | Phase::Stopped => return Err("draining".to_owned()),
            Phase::Serving => {}
        }
        if self.is_scorer_broken() {
            return Err(format!("the scorer failed {MOST_FAILURES} times in a row"));
        }
        if self.batching_ended.load(Ordering::Relaxed) {
            return Err("the batching worker has ended; see the log, and start the server anew".to_owned());
        }
        if self.has_no_head.load(Ordering::Relaxed) {
            return Err("no model has a head to answer with: waiting for a rollout".to_owned());
        }
        self.not_wedged()
    }

    /// Passes, or says why the process should be started anew.
    pub(crate) fn live(&self) -> Result<(), String> {
        let silent = self.since(self.last_beat.load(Ordering::Relaxed));
        if STUCK_AFTER < silent {
            return Err(format!("the event loop has not turned for {} s", silent.as_secs()));
        }
        self.not_wedged()
    }

    fn not_wedged(&self) -> Result<(), String> {
        let busy_since = self.busy_since.load(Ordering::Relaxed);
        let busy = self.since(busy_since.saturating_sub(1));
        if busy_since > 0 && WEDGED_AFTER < busy {
            return Err(format!("the scorer has been busy with one batch for {} s", busy.as_secs()));
        }
        Ok(())
    }

    fn refresh(&self) {
        let phase = self.phase();
        let now = Verdicts {
            ready: self.ready().is_ok(),
            live: self.live().is_ok(),
            started: phase != Phase::Starting,
            stopped: phase == Phase::Stopped,
        };
        self.verdicts.send_if_modified(|told| std::mem::replace(told, now) != now);
    }

    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    fn since(&self, moment: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wedged_scorer_is_neither_ready_nor_live() {
        let health = Health::new();
        assert!(health.ready().unwrap_err().contains("starting"));
        health.enter(Phase::Serving);
        health.scorer_is_busy();
        tokio::time::advance(WEDGED_AFTER).await;
        health.beat();
        assert_eq!((health.ready(), health.live()), (Ok(()), Ok(())));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(health.live().unwrap_err().contains("busy"));
        assert!(health.ready().is_err());
        health.scorer_is_idle();
        assert_eq!((health.ready(), health.live()), (Ok(()), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_event_loop_is_not_live() {
        let health = Health::new();
        health.beat();
        tokio::time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        assert!(health.live().unwrap_err().contains("event loop"));
        health.beat();
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_turn_readiness_off_and_a_success_turns_it_on() {
        let health = Health::new();
        health.enter(Phase::Serving);
        let mut watch = health.watch();
        health.scorer_failed();
        health.scorer_failed();
        assert_eq!(health.ready(), Ok(()));
        health.scorer_failed();
        assert!(health.ready().unwrap_err().contains("failed"));
        assert!(!watch.borrow_and_update().ready, "watchers must be told");
        assert_eq!(health.live(), Ok(()));
        health.scorer_succeeded();
        assert_eq!(health.ready(), Ok(()));
        assert!(watch.borrow_and_update().ready, "watchers must be told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_a_head_is_live_and_not_ready() {
        let health = Health::new();
        health.has_head(false);
        health.enter(Phase::Serving);
        assert!(health.ready().unwrap_err().contains("rollout"));
        assert_eq!(health.live(), Ok(()));
        health.has_head(true);
        assert_eq!(health.ready(), Ok(()));
    }
}
