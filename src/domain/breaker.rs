//! The breaker of a lane: when an endpoint fails again and again, it is probed instead of flooded.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 10;
/// The first wait between probes.
const PROBE_FIRST: Duration = Duration::from_secs(30);
/// The longest wait between probes.
const PROBE_MAX: Duration = Duration::from_secs(600);

/// How long nothing has succeeded before an endpoint is given up, and how many attempts must have failed meanwhile.
const HOPELESS_AFTER: SignedDuration = SignedDuration::from_hours(5 * 24);
const HOPELESS_FAILURES: u32 = 20;

/// What the breaker remembers. The default is a healthy lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Failed attempts in a row.
    pub failures: u32,
    /// When the first of them ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Since when the endpoint has been failing, or disabled by Waypost: told to others, until it succeeds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sick_since: Option<Timestamp>,
}

impl Breaker {
    /// After one more attempt, which ended at `at`.
    #[must_use]
    pub fn after(self, success: bool, at: Timestamp) -> Self {
        if success {
            return Self::default();
        }
        let next = Self { failures: self.failures.saturating_add(1), since: self.since.or(Some(at)), ..self };
        if next.rest().is_some() { next.sick(next.since) } else { next }
    }

    /// After its endpoint was disabled at `at`: when it is enabled, it is given as long again.
    #[must_use]
    pub fn disabled(self, at: Timestamp) -> Self {
        self.forgiven().sick(Some(at))
    }

    /// Without its failures. That it was sick lasts until a success, which is told to whoever was told of it.
    #[must_use]
    pub fn forgiven(self) -> Self {
        Self { sick_since: self.sick_since, ..Self::default() }
    }

    fn sick(self, since: Option<Timestamp>) -> Self {
        Self { sick_since: self.sick_since.or(since), ..self }
    }

    /// Whether the endpoint is to be given up: nothing has succeeded for five days, and not for want of trying.
    pub fn is_hopeless(self, at: Timestamp) -> bool {
        let is_long = self.since.is_some_and(|since| at.duration_since(since) >= HOPELESS_AFTER);
        is_long && self.failures >= HOPELESS_FAILURES
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
        (0..times).fold(Breaker::default(), |breaker, _| breaker.after(false, Timestamp::UNIX_EPOCH))
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
        assert_eq!(failed(4_000_000).after(true, Timestamp::UNIX_EPOCH), Breaker::default());
    }

    #[test]
    fn an_endpoint_is_sick_from_when_it_opens_or_is_disabled_until_a_success() {
        let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        assert_eq!((failed(9).sick_since, failed(10).sick_since), (None, Some(day(0))));
        let gone = failed(3).disabled(day(3));
        assert_eq!((gone.failures, gone.since, gone.sick_since), (0, None, Some(day(3))));
        let enabled = gone.after(false, day(4));
        assert_eq!((enabled.failures, enabled.since, enabled.sick_since), (1, Some(day(4)), Some(day(3))));
        assert_eq!(enabled.after(true, day(5)), Breaker::default());
        for forgiven in [failed(10).forgiven(), failed(20).disabled(day(6))] {
            assert_eq!((forgiven.failures, forgiven.since, forgiven.sick_since), (0, None, Some(day(0))));
        }
    }

    #[test]
    fn an_endpoint_is_given_up_after_five_days_and_twenty_attempts_without_a_success() {
        let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        assert!(failed(20).is_hopeless(day(5)));
        assert!(!failed(20).is_hopeless(day(5) - SignedDuration::from_secs(1)));
        assert!(!failed(19).is_hopeless(day(50)));
        let recovered = failed(20).after(true, day(4)).after(false, day(5));
        assert!(!recovered.is_hopeless(day(6)));
        assert_eq!(failed(20).after(false, day(3)).since, Some(day(0)), "the first failure counts");
    }
}
