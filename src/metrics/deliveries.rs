//! What goes out, over all endpoints. Each by itself is told by `/v1/webhooks/{id}/stats`.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use super::text::Text;
use super::values::{Bounds, Counter, Histogram, each};
use crate::domain::delivery::{ErrorClass, Status};

/// An endpoint has 15 s, unless told.
const ATTEMPT_BOUNDS: Bounds = &[5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000, 60_000];
/// At once, or after the waits between attempts: seconds, minutes, hours.
const DELAY_BOUNDS: Bounds = &[
    10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 43_200_000, 86_400_000,
];
/// By its hundred, what a status is; the last is what has none, and no reason either.
const HUNDREDS: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// What goes out.
pub struct Deliveries {
    answered: [Counter; HUNDREDS.len()],
    unanswered: [Counter; ErrorClass::ALL.len()],
    attempt: Histogram,
    ended: [Counter; Status::ALL.len()],
    delay: Histogram,
    leases_lost: Counter,
    lanes: OnceLock<Box<dyn Fn() -> Lanes + Send + Sync>>,
}

/// What the lanes of this gateway are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    /// Attempts under way.
    pub in_flight: usize,
    /// Endpoints that are only probed.
    pub breakers_open: usize,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            answered: each(),
            unanswered: each(),
            attempt: Histogram::new(ATTEMPT_BOUNDS),
            ended: each(),
            delay: Histogram::new(DELAY_BOUNDS),
            leases_lost: Counter::default(),
            lanes: OnceLock::new(),
        }
    }
}

impl Deliveries {
    /// An attempt was made: the status that was answered, or why there is none; and how long it took.
    pub fn attempted(&self, status: Option<u16>, error: Option<ErrorClass>, took: Duration) {
        let other = HUNDREDS.len() - 1;
        match (status, error) {
            (None, Some(error)) => self.unanswered[error as usize].add(1),
            (None, None) => self.answered[other].add(1),
            (Some(status), _) => {
                let hundred = usize::from(status / 100).checked_sub(1).unwrap_or(other);
                self.answered[hundred.min(other)].add(1);
            }
        }
        self.attempt.observe(took);
    }

    /// An event was delivered, so long after its receipt.
    pub fn delivered(&self, delay: Duration) {
        self.delay.observe(delay);
    }

    /// A delivery has ended.
    pub fn ended(&self, status: Status) {
        self.ended[status as usize].add(1);
    }

    /// So many leases were lost.
    pub fn leases_lost(&self, count: usize) {
        self.leases_lost.add(count as u64);
    }

    /// What tells of the lanes from now on; the first to say so does.
    pub fn watch_lanes(&self, lanes: impl Fn() -> Lanes + Send + Sync + 'static) {
        // One process has one dispatcher.
        let _ = self.lanes.set(Box::new(lanes));
    }

    pub(super) fn lanes(&self) -> Lanes {
        self.lanes.get().map(|lanes| lanes()).unwrap_or_default()
    }

    pub(super) fn tell_attempts(&self, text: &mut Text) {
        let reasons = ErrorClass::ALL.iter().map(|error| error.as_str()).zip(&self.unanswered);
        for (outcome, count) in HUNDREDS.into_iter().zip(&self.answered).chain(reasons) {
            text.one(&[outcome], count.get());
        }
    }

    pub(super) fn tell_durations(&self, text: &mut Text) {
        text.histogram(&[], &self.attempt);
    }

    pub(super) fn tell_delays(&self, text: &mut Text) {
        text.histogram(&[], &self.delay);
    }

    pub(super) fn tell_lost(&self, text: &mut Text) {
        text.one(&[], self.leases_lost.get());
    }

    pub(super) fn tell_ended(&self, text: &mut Text) {
        for (status, count) in Status::ALL.iter().zip(&self.ended).filter(|(status, _)| **status != Status::Pending) {
            text.one(&[status.as_str()], count.get());
        }
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}
