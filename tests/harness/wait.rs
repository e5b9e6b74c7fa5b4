//! Waiting for what others bring about.

use std::time::Duration;

use tokio::time::interval;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Longer than anything takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);

/// Looks again and again until there is an answer; panics after two minutes.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let mut looks = interval(LOOK_AGAIN);
    let found = async {
        loop {
            looks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("{what} must be there within two minutes"))
}
