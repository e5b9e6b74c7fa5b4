//! Which object is looked at next: each at most once at a time, none lost, failures ever later.
//!
//! Adding a key that is being worked on marks it for another round; adding one that waits brings it forward. There is no
//! second entry of a key, so the queue is as long as there are objects at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How failures are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub longest: Duration,
}

impl Backoff {
    /// Wait after so many failures in a row.
    pub fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest)
    }
}

/// The keys that wait, by when they are due.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    backoff: Backoff,
}

#[derive(Debug)]
struct State<K> {
    waiting: BTreeMap<K, Instant>,
    /// The same, by when they are due: with ten thousand that wait, the next one must not cost a look at each.
    due: BTreeSet<(Instant, K)>,
    working: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> State<K> {
    fn add(&mut self, key: K, due: Instant) {
        let former = self.waiting.get(&key).copied();
        if former.is_some_and(|former| former <= due) {
            return;
        }
        if let Some(former) = former {
            self.due.remove(&(former, key.clone()));
        }
        self.waiting.insert(key.clone(), due);
        self.due.insert((due, key));
    }

    fn remove(&mut self, key: &K) {
        if let Some(due) = self.waiting.remove(key) {
            self.due.remove(&(due, key.clone()));
        }
    }
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Well; look again after this, if at all.
    Done(Option<Duration>),
    /// Badly; look again after the back-off.
    Failed,
    /// The object is gone.
    Gone,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    pub fn new(backoff: Backoff) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            working: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), backoff }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State<K>) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a key, due after a while; the earlier time wins.
    pub fn add(&self, key: K, after: Duration) {
        let due = Instant::now() + after;
        self.with(|state| state.add(key, due));
        self.changed.notify_one();
    }

    /// The next key that is due and not being worked on. It counts as being worked on until [`Queue::finish`].
    pub async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let next = self.with(|state| {
                let (due, key) = state.due.iter().find(|(_, key)| !state.working.contains(key))?;
                let (due, key) = (*due, key.clone());
                if due > Instant::now() {
                    return Some(Err(due));
                }
                state.remove(&key);
                state.working.insert(key.clone());
                Some(Ok(key))
            });
            match next {
                Some(Ok(key)) => {
                    // Another worker may be waiting for what is left.
                    self.changed.notify_one();
                    return key;
                }
                Some(Err(due)) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// Ends a round, and says how many failures in a row there were.
    pub fn finish(&self, key: &K, round: Round) -> u32 {
        let (failures, after) = self.with(|state| {
            state.working.remove(key);
            match round {
                Round::Done(after) => {
                    state.failures.remove(key);
                    (0, after)
                }
                Round::Failed => {
                    let failures = state.failures.entry(key.clone()).or_default();
                    *failures = failures.saturating_add(1);
                    (*failures, Some(self.backoff.after(*failures)))
                }
                Round::Gone => {
                    state.failures.remove(key);
                    state.remove(key);
                    (0, None)
                }
            }
        });
        match after {
            Some(after) => self.add(key.clone(), after),
            None => self.changed.notify_one(),
        }
        failures
    }

    /// How many keys are being worked on.
    pub fn working(&self) -> usize {
        self.with(|state| state.working.len())
    }

    /// How many keys wait, and how long the longest is overdue.
    pub fn depth(&self) -> (usize, Duration) {
        let now = Instant::now();
        self.with(|state| {
            let overdue = state.due.first().map(|(due, _)| now.saturating_duration_since(*due));
            (state.waiting.len(), overdue.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new(Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) })
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_when_they_are_due_and_the_earlier_time_wins() {
        let queue = queue();
        queue.add("late", Duration::from_secs(9));
        queue.add("soon", Duration::from_secs(5));
        queue.add("soon", Duration::from_secs(2));
        queue.add("soon", Duration::from_secs(7));
        let start = Instant::now();
        assert_eq!(queue.next().await, "soon");
        assert_eq!(start.elapsed().as_secs(), 2);
        assert_eq!(queue.next().await, "late");
        assert_eq!(start.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time_and_again_when_it_was_added_meanwhile() {
        let queue = Arc::new(queue());
        queue.add("a", Duration::ZERO);
        assert_eq!(queue.next().await, "a");
        queue.add("a", Duration::ZERO);
        let second = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!second.is_finished(), "a key in work must not be handed out twice");
        queue.finish(&"a", Round::Done(None));
        assert_eq!(second.await.unwrap(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_ever_longer_and_success_forgets_them() {
        let queue = queue();
        queue.add("a", Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let start = Instant::now();
            let key = queue.next().await;
            waits.push(start.elapsed().as_secs());
            queue.finish(&key, Round::Failed);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let key = queue.next().await;
        queue.finish(&key, Round::Done(Some(Duration::from_secs(3))));
        let start = Instant::now();
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_depth_says_how_many_wait_and_how_long() {
        let queue = queue();
        queue.add("a", Duration::ZERO);
        queue.add("b", Duration::from_secs(100));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(queue.depth(), (2, Duration::from_secs(10)));
    }
}
