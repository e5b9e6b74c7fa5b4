//! How many bytes of messages may be in work at a time, over all connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Failure, Quota};

/// Bytes of one permit: a semaphore counts in 32 bits at a time.
const UNIT: usize = 1 << 10;
/// When a caller may try again: about the time of one image on a CPU.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A budget of bytes.
#[derive(Debug, Clone)]
pub(crate) struct ByteBudget {
    units: Arc<Semaphore>,
    limit: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(limit.div_ceil(UNIT))), limit }
    }

    /// Takes bytes for as long as the permit lives, or refuses at once.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let full = |_| Failure::Overloaded {
            quota: Quota::InflightBytes,
            limit: self.limit,
            retry_after: RETRY_AFTER,
        };
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Arc::clone(&self.units).try_acquire_many_owned(units).map_err(full)
    }

    /// Bytes taken.
    pub(crate) fn taken(&self) -> usize {
        self.limit - (self.units.available_permits() * UNIT).min(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = ByteBudget::new(10 * UNIT);
        let most = budget.take(9 * UNIT + 1).unwrap();
        assert!(matches!(budget.take(1), Err(Failure::Overloaded { quota: Quota::InflightBytes, .. })));
        assert_eq!(budget.taken(), 10 * UNIT);
        drop(most);
        assert_eq!(budget.taken(), 0);
        let _all = budget.take(10 * UNIT).unwrap();
    }

    #[test]
    fn a_message_as_large_as_the_budget_is_taken_whatever_its_size() {
        for limit in [1, UNIT - 1, UNIT, 10 * UNIT + 1, 33_000_000] {
            let budget = ByteBudget::new(limit);
            let all = budget.take(limit).unwrap();
            assert_eq!(budget.taken(), limit);
            drop(all);
            assert_eq!(budget.taken(), 0);
        }
    }
}
