//! When a batch is closed.

use std::time::Duration;

use tokio::time::Instant;

/// When a batch is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Most images of a batch; at least 1.
    pub(crate) max_size: usize,
    /// Longest time that an idle device waits for more.
    pub(crate) max_wait: Duration,
}

impl Policy {
    /// When a batch that was opened at `opened` goes to an idle device: after the wait, but early enough for the
    /// tightest deadline in it, when computing takes `estimate`.
    pub(super) fn close_at(&self, opened: Instant, tightest: Option<Instant>, estimate: Duration) -> Instant {
        let patient = opened + self.max_wait;
        let latest = tightest.map(|deadline| deadline.checked_sub(estimate).unwrap_or(opened));
        latest.map_or(patient, |latest| patient.min(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_tightest_deadline_shortens_the_wait_by_what_computing_takes() {
        let policy = Policy { max_size: 4, max_wait: Duration::from_millis(100) };
        let opened = Instant::now();
        let at = |ms| opened + Duration::from_millis(ms);
        let estimate = Duration::from_millis(30);
        assert_eq!(policy.close_at(opened, None, estimate), at(100));
        assert_eq!(policy.close_at(opened, Some(at(500)), estimate), at(100));
        assert_eq!(policy.close_at(opened, Some(at(90)), estimate), at(60));
    }
}
