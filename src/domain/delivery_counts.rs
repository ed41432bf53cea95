//! What became of attempts and deliveries, counted by the hour.
//!
//! Statistics. Nothing is decided by them, and a gateway that is killed loses those that it had not yet added.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::delivery::{Attempt, Status};
use super::id::EndpointId;

/// What is counted of all endpoints together; no endpoint has such an id.
pub const ALL: &str = "*";
/// How many hours can be asked for at once.
pub const HOURS_MAX: u32 = 30 * 24;

const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed|";
const ENDED: &str = "ended|";
const LAST_SUCCESS: &str = "last|success";
const LAST_FAILURE: &str = "last|failure";

/// An hour, as the gateway that counted had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u32);

impl Hour {
    /// The one of this time.
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_second() / 3_600).unwrap_or_default())
    }

    /// So many hours ago, and all since: that many, this one being the last.
    pub fn last(self, count: u32) -> std::ops::RangeInclusive<Self> {
        Self((self.0 + 1).saturating_sub(count.clamp(1, HOURS_MAX)))..=self
    }

    /// When it begins.
    pub fn start(self) -> Timestamp {
        Timestamp::from_second(i64::from(self.0) * 3_600).unwrap_or_default()
    }
}

/// Counts, by endpoint and hour.
pub type Counted = BTreeMap<(EndpointId, Hour), DeliveryCounts>;

/// What became of attempts and deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCounts {
    /// By what is counted, as one text each: a closed set.
    counts: BTreeMap<String, u64>,
    /// When something was last so, in microseconds.
    times: BTreeMap<String, i64>,
}

impl DeliveryCounts {
    /// What is kept of them, as [`DeliveryCounts::counts`] and [`DeliveryCounts::times`] told it.
    pub fn new(counts: BTreeMap<String, u64>, times: BTreeMap<String, i64>) -> Self {
        Self { counts, times }
    }

    /// An attempt was made.
    pub fn attempted(&mut self, attempt: &Attempt, is_success: bool) {
        let (field, last) = match is_success {
            true => (SUCCEEDED.to_owned(), LAST_SUCCESS),
            false => (format!("{FAILED}{}", class(attempt)), LAST_FAILURE),
        };
        self.add(field, 1);
        self.latest(last.to_owned(), attempt.started_at.as_microsecond());
    }

    /// A delivery ended.
    pub fn ended(&mut self, status: Status) {
        self.add(format!("{ENDED}{}", status.as_str()), 1);
    }

    fn add(&mut self, field: String, count: u64) {
        let known = self.counts.entry(field).or_default();
        *known = known.saturating_add(count);
    }

    fn latest(&mut self, field: String, at: i64) {
        let known = self.times.entry(field).or_insert(at);
        *known = at.max(*known);
    }

    /// Adds others.
    pub fn merge(&mut self, others: Self) {
        others.counts.into_iter().for_each(|(field, count)| self.add(field, count));
        others.times.into_iter().for_each(|(field, at)| self.latest(field, at));
    }

    /// What was counted, and how often.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.counts.iter().map(|(field, count)| (field.as_str(), *count))
    }

    /// What was when last, in microseconds.
    pub fn times(&self) -> impl ExactSizeIterator<Item = (&str, i64)> {
        self.times.iter().map(|(field, at)| (field.as_str(), *at))
    }

    /// Attempts that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.counts.get(SUCCEEDED).copied().unwrap_or_default()
    }

    /// Attempts that failed, by the hundred of the status that was answered, `5xx`, or why there was no answer.
    pub fn failed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts().filter_map(|(field, count)| Some((field.strip_prefix(FAILED)?, count)))
    }

    /// Deliveries that ended so.
    pub fn ended_as(&self, status: Status) -> u64 {
        self.counts.get(&format!("{ENDED}{}", status.as_str())).copied().unwrap_or_default()
    }

    /// When an attempt last succeeded.
    pub fn last_success(&self) -> Option<Timestamp> {
        self.time(LAST_SUCCESS)
    }

    /// When an attempt last failed.
    pub fn last_failure(&self) -> Option<Timestamp> {
        self.time(LAST_FAILURE)
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        self.times.get(field).and_then(|at| Timestamp::from_microsecond(*at).ok())
    }

    /// Which part of the attempts succeeded; none where there was none.
    pub fn success_rate(&self) -> Option<f64> {
        let failed: u64 = self.failed().map(|(_, count)| count).sum();
        let all = self.succeeded() + failed;
        (all > 0).then(|| self.succeeded() as f64 / all as f64)
    }
}

/// Why an attempt failed.
fn class(attempt: &Attempt) -> &'static str {
    match (attempt.status, attempt.error) {
        (Some(status), _) => match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
        (None, Some(error)) => error.as_str(),
        (None, None) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{ErrorClass, Split};

    fn attempt(second: i64, status: Option<u16>, error: Option<ErrorClass>) -> Attempt {
        Attempt {
            number: 1,
            started_at: Timestamp::from_second(second).unwrap(),
            duration_ms: 1,
            split: Split::default(),
            sent: String::new(),
            status,
            error,
            answer: None,
            truncated: false,
        }
    }

    #[test]
    fn attempts_are_counted_by_what_became_of_them() {
        let (mut one, mut other) = (DeliveryCounts::default(), DeliveryCounts::default());
        assert_eq!(one.success_rate(), None);
        one.attempted(&attempt(5, Some(204), None), true);
        one.attempted(&attempt(4, Some(503), None), false);
        one.ended(Status::Delivered);
        other.attempted(&attempt(9, None, Some(ErrorClass::Timeout)), false);
        other.attempted(&attempt(7, Some(500), None), false);
        other.ended(Status::Failed);
        one.merge(other);
        assert_eq!((one.succeeded(), one.success_rate()), (1, Some(0.25)));
        assert_eq!(one.failed().collect::<Vec<_>>(), [("5xx", 2), ("timeout", 1)]);
        let ended = Status::ALL.map(|status| one.ended_as(status));
        assert_eq!(ended, [0, 1, 1, 0, 0]);
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert_eq!((one.last_success(), one.last_failure()), (at(5), at(9)));
        let owned = |(field, count): (&str, u64)| (field.to_owned(), count);
        let times = one.times().map(|(field, at)| (field.to_owned(), at)).collect();
        assert_eq!(DeliveryCounts::new(one.counts().map(owned).collect(), times), one);
    }

    #[test]
    fn the_last_hours_end_with_this_one() {
        let hour = Hour::of(Timestamp::from_second(7_201).unwrap());
        assert_eq!((hour, hour.start()), (Hour(2), Timestamp::from_second(7_200).unwrap()));
        assert_eq!((hour.last(1), hour.last(2), hour.last(9)), (hour..=hour, Hour(1)..=hour, Hour(0)..=hour));
        assert_eq!(Hour(10_000).last(9_999), Hour(10_001 - HOURS_MAX)..=Hour(10_000));
    }
}
