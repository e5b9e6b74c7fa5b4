//! Waiting for what takes minutes, and saying what is waited for.

use std::time::Duration;

use tokio::time::{Instant, interval, timeout};

/// Longer than ten thousand of anything take.
const PATIENCE: Duration = Duration::from_mins(20);

/// Between two looks at what is timed.
pub(crate) const OFTEN: Duration = Duration::from_millis(20);

/// Between two looks at what takes long.
pub(crate) const SELDOM: Duration = Duration::from_secs(1);

/// Looks again and again until there is an answer, and says how long that took.
pub(crate) async fn until<T>(
    what: &str,
    every: Duration,
    look: impl AsyncFn() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    let mut looks = interval(every);
    let found = async {
        loop {
            looks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} must be there in time"));
    (found, start.elapsed())
}

/// Says what is being done.
#[expect(clippy::print_stderr, reason = "a run takes half an hour, and who waits wants to know for what")]
pub(crate) fn say(what: &str) {
    eprintln!("  {what}");
}
