//! The breaker of a lane: when an endpoint fails again and again, it is probed instead of flooded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 10;
/// The first wait between probes.
const PROBE_FIRST: Duration = Duration::from_secs(30);
/// The longest wait between probes.
const PROBE_MAX: Duration = Duration::from_secs(600);

/// What the breaker remembers. The default is a healthy lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failed attempts in a row.
    pub failures: u32,
}

impl Breaker {
    /// After one more attempt.
    #[must_use]
    pub fn after(self, success: bool) -> Self {
        if success { Self::default() } else { Self { failures: self.failures.saturating_add(1) } }
    }

    /// How long the lane rests after its latest failure, before one probe; none while it is closed.
    pub fn rest(self) -> Option<Duration> {
        let probes = self.failures.checked_sub(FAILURES_TO_OPEN)?;
        Some((PROBE_FIRST * 2_u32.saturating_pow(probes.min(8))).min(PROBE_MAX))
    }

    /// How many attempts may be under way at once: the lane's cap, or one probe while it is open.
    pub fn cap(self, max_in_flight: u32) -> u32 {
        if self.rest().is_some() { 1 } else { max_in_flight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(times: u32) -> Breaker {
        (0..times).fold(Breaker::default(), |breaker, _| breaker.after(false))
    }

    #[test]
    fn opens_after_ten_failures_in_a_row() {
        assert_eq!(failed(9).rest(), None);
        assert_eq!(failed(10).rest(), Some(Duration::from_secs(30)));
        assert_eq!(failed(10).cap(32), 1);
    }

    #[test]
    fn probes_double_to_ten_minutes_and_one_success_closes_it() {
        let rests: Vec<_> = (10..17).map(|times| failed(times).rest().unwrap().as_secs()).collect();
        assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(failed(4_000_000).after(true), Breaker::default());
    }
}
