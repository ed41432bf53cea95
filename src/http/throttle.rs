//! Lets one line a second through: while much is refused, telling of each would cost more than refusing it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What was let through when, and what was held back since.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// The second, from 1, of the latest line.
    second: AtomicU64,
    held: AtomicU64,
}

impl Throttle {
    /// Whether to tell now (a time on the clock that never steps), and of how many more since the last time.
    pub(super) fn pass(&self, elapsed: Duration) -> Option<u64> {
        let second = elapsed.as_secs().saturating_add(1);
        if self.second.swap(second, Ordering::Relaxed) == second {
            self.held.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.held.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_passes_and_tells_of_the_others() {
        let throttle = Throttle::default();
        let at = |millis| throttle.pass(Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(1), at(999), at(1_000), at(1_001), at(5_000)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
