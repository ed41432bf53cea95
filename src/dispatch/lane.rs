//! One lane: how many attempts are under way, its breaker, its rate, and what it waits for.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::breaker::Breaker;
use crate::domain::rate::{Bucket, Rate};

/// Of so many places, one is for live deliveries alone.
const KEPT_PART: u32 = 4;

/// What the operator says of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Attempts under way at once.
    pub(super) max_in_flight: u32,
    /// Attempts a second.
    pub(super) rate: Option<Rate>,
    /// What began to fail before this counts no more.
    pub(super) forgives: Option<Timestamp>,
}

/// What is known of a lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) in_flight: u32,
    /// Those of them that are of replays.
    pub(super) replays: u32,
    /// Whether there was no place for one more replay.
    pub(super) is_replay_waiting: bool,
    pub(super) breaker: Breaker,
    /// Until when the open breaker keeps it closed, on the clock that never steps.
    pub(super) rest_until: Option<Duration>,
    /// What its rate lets through, if it has one.
    bucket: Option<(Rate, Bucket)>,
    /// It had something due and no permit.
    pub(super) waiting: Option<Waiting>,
}

/// What a lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// One of its own attempts to end.
    Own,
    /// Any attempt to end.
    Any,
    /// Nothing more: one of its own has ended.
    Freed,
}

impl Lane {
    /// For how long its breaker keeps it closed.
    pub(super) fn resting(&self, elapsed: Duration) -> Option<Duration> {
        self.rest_until?.checked_sub(elapsed).filter(|rest| !rest.is_zero())
    }

    /// Forgets failures that began before this.
    pub(super) fn forgive(&mut self, before: Option<Timestamp>) {
        if self.breaker.since.zip(before).is_some_and(|(since, before)| since < before) {
            self.breaker = self.breaker.forgiven();
            self.rest_until = None;
        }
    }

    /// How many more attempts may be of replays, of so many at once: a quarter of the places, or one, is for live
    /// deliveries alone, so that these need not wait until a slow endpoint answers a replay. A lane of one place has none
    /// to spare.
    pub(super) fn replays_free(&self, cap: u32) -> u32 {
        let kept = (cap / KEPT_PART).max(1);
        cap.saturating_sub(kept).max(1).saturating_sub(self.replays)
    }

    /// How many attempts its rate lets through now.
    pub(super) fn let_through(&mut self, rate: Option<Rate>, owned_since: Duration, elapsed: Duration) -> usize {
        self.bucket = rate.map(|rate| {
            let bucket = self.bucket.map_or_else(|| Bucket::empty(rate, owned_since), |(_, bucket)| bucket);
            (rate, bucket)
        });
        self.bucket.map_or(usize::MAX, |(rate, bucket)| bucket.free(rate, elapsed) as usize)
    }

    /// So many attempts may begin.
    pub(super) fn take(&mut self, attempts: usize, elapsed: Duration) {
        if let Some((rate, bucket)) = &mut self.bucket {
            *bucket = bucket.taken(u32::try_from(attempts).unwrap_or(u32::MAX), *rate, elapsed);
        }
    }

    /// One of them did not.
    pub(super) fn give_back(&mut self) {
        if let Some((rate, bucket)) = &mut self.bucket {
            *bucket = bucket.returned(*rate);
        }
    }

    /// Whether there is nothing that is to be remembered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.breaker == Breaker::default() && self.bucket.is_none() && self.waiting.is_none()
    }

    /// Forgets what it was while another owned it.
    pub(super) fn taken_over(&mut self) {
        self.breaker = Breaker::default();
        self.rest_until = None;
        self.bucket = None;
    }

    /// How long to leave it alone when its rate lets no more through.
    pub(super) fn throttled(&self, elapsed: Duration) -> Option<Duration> {
        let (rate, bucket) = self.bucket.filter(|(rate, bucket)| bucket.free(*rate, elapsed) == 0)?;
        Some(bucket.wait(rate, elapsed))
    }
}
