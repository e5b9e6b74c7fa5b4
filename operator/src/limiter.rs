//! A token bucket: how many calls a second the API server gets from us, and how many at once after a pause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A token bucket.
#[derive(Debug)]
pub struct Limiter {
    per_second: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Limiter {
    /// So many calls a second, so many at once.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst).max(1.0);
        Self { per_second: per_second.max(0.1), burst, state: Mutex::new((burst, Instant::now())) }
    }

    /// Takes a token, waiting for it where there is none. Tokens are handed out in the order they were asked for.
    pub async fn take(&self) {
        let wait = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let (tokens, last) = *state;
            let filled = (tokens + (now - last).as_secs_f64() * self.per_second).min(self.burst);
            // A debt is waited off: whoever comes next waits longer.
            let left = filled - 1.0;
            *state = (left, now);
            (-left).max(0.0) / self.per_second
        };
        if wait > 0.0 {
            sleep(Duration::from_secs_f64(wait)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let limiter = Limiter::new(10.0, 5);
        let start = Instant::now();
        for _ in 0..5 {
            limiter.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            limiter.take().await;
        }
        assert!((start.elapsed().as_secs_f64() - 1.0).abs() < 0.05, "{:?}", start.elapsed());
    }
}
