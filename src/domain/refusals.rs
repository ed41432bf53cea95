//! How many requests in a row a source has refused.

use std::time::Duration;

use jiff::Timestamp;

/// So many in a row are told of, and again each time as many more have come while nobody could be told.
const REFUSALS_TO_TELL: u32 = 20;
/// Nobody is told of the same source again before that: whoever forges requests between those of the provider could have
/// as many told as he likes.
const REST: Duration = Duration::from_secs(3_600);

/// Refusals in a row at one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// When the first was.
    since: Option<Timestamp>,
    count: u32,
    is_told: bool,
    /// On the clock that never steps.
    rest_until: Duration,
}

impl Refusals {
    /// One more. Answers since when there have been so many that it is to be told now.
    pub fn add(&mut self, now: Timestamp, elapsed: Duration) -> Option<Timestamp> {
        let since = *self.since.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        let is_due = !self.is_told && elapsed >= self.rest_until && self.count.is_multiple_of(REFUSALS_TO_TELL);
        is_due.then_some(since)
    }

    /// It was told of those since then.
    pub fn told(&mut self, since: Timestamp, elapsed: Duration) {
        self.is_told |= self.since == Some(since);
        self.rest_until = elapsed + REST;
    }

    /// One was not refused.
    pub fn end(&mut self) {
        *self = Self { rest_until: self.rest_until, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::UNIX_EPOCH;

    /// So many more, at a time, of which so many are told.
    fn told(refusals: &mut Refusals, times: u32, elapsed: Duration) -> usize {
        (0..times).filter_map(|_| refusals.add(SINCE, elapsed)).count()
    }

    #[test]
    fn twenty_in_a_row_are_told_once() {
        let mut refusals = Refusals::default();
        assert_eq!(told(&mut refusals, 19, Duration::ZERO), 0);
        assert_eq!(refusals.add(Timestamp::MAX, Duration::ZERO), Some(SINCE));
        refusals.told(SINCE, Duration::ZERO);
        assert_eq!(told(&mut refusals, 100, REST * 2), 0);
    }

    #[test]
    fn what_could_not_be_told_is_told_after_as_many_more() {
        let mut refusals = Refusals::default();
        let told: Vec<_> = (1..=60).filter(|_| refusals.add(SINCE, Duration::ZERO).is_some()).collect();
        assert_eq!(told, [20, 40, 60]);
        refusals.told(Timestamp::MAX, Duration::ZERO);
        assert!((0..20).any(|_| refusals.add(SINCE, REST).is_some()), "another spell was told of");
    }

    #[test]
    fn what_begins_again_within_the_hour_is_told_after_it() {
        let mut refusals = Refusals::default();
        let soon = Duration::from_secs(60);
        assert_eq!(told(&mut refusals, 20, soon), 1);
        refusals.told(SINCE, soon);
        for _ in 0..10 {
            refusals.end();
            assert_eq!(told(&mut refusals, 30, REST), 0);
        }
        assert_eq!(told(&mut refusals, 10, soon + REST), 1, "it goes on");
    }
}
