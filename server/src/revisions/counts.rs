//! What is counted of one revision since it was loaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of latency: from 1 ms, each a quarter wider, up to 56 s. Fine enough for a bound on a percentile.
const BUCKETS: usize = 50;
/// Their upper bounds in seconds, rising; one more bucket holds everything above.
pub(crate) const BOUNDS: [f64; BUCKETS] = bounds();

const fn bounds() -> [f64; BUCKETS] {
    let mut bounds = [0.001; BUCKETS];
    let mut index = 1;
    while index < BUCKETS {
        bounds[index] = bounds[index - 1] * 1.25;
        index += 1;
    }
    bounds
}

/// Counters of one revision.
#[derive(Debug)]
pub(super) struct Counts {
    queries: AtomicU64,
    errors: AtomicU64,
    latency: [AtomicU64; BUCKETS + 1],
}

/// What they stand at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountsView {
    /// Queries that it answered or shadowed.
    pub(crate) queries: u64,
    /// Of these, how many it failed.
    pub(crate) errors: u64,
    /// Queries that it answered, by time: a count for each of [`BOUNDS`], and one for everything above.
    pub(crate) latency: Vec<u64>,
}

impl Default for Counts {
    fn default() -> Self {
        let latency = std::array::from_fn(|_| AtomicU64::new(0));
        Self { queries: AtomicU64::new(0), errors: AtomicU64::new(0), latency }
    }
}

impl Counts {
    pub(super) fn scored(&self, failed: bool) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn answered(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.latency[BOUNDS.partition_point(|&bound| bound < seconds)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn view(&self) -> CountsView {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Errors first: they must never be seen to outnumber the queries.
        let errors = read(&self.errors);
        CountsView { errors, queries: read(&self.queries), latency: self.latency.iter().map(read).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let counts = Counts::default();
        for milliseconds in [0.5, 1.0, 1.1, 1e6] {
            counts.answered(Duration::from_secs_f64(milliseconds / 1e3));
        }
        let latency = counts.view().latency;
        assert_eq!((latency[0], latency[1], latency[BUCKETS]), (2, 1, 1));
        assert_eq!(latency.iter().sum::<u64>(), 4);
        assert!(BOUNDS.is_sorted() && 50.0 < BOUNDS[BUCKETS - 1]);
    }
}
