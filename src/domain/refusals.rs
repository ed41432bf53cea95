//! How many requests in a row a source has refused.

use jiff::Timestamp;

/// So many in a row are told of, and again each time as many more have come while nobody could be told.
const REFUSALS_TO_TELL: u32 = 20;

/// Refusals in a row at one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// When the first was.
    since: Timestamp,
    count: u32,
    is_told: bool,
}

impl Refusals {
    /// None yet; the first comes at `since`.
    pub fn new(since: Timestamp) -> Self {
        Self { since, count: 0, is_told: false }
    }

    /// One more. Answers since when there have been so many that it is to be told now.
    pub fn add(&mut self) -> Option<Timestamp> {
        self.count = self.count.saturating_add(1);
        let is_due = !self.is_told && self.count.is_multiple_of(REFUSALS_TO_TELL);
        is_due.then_some(self.since)
    }

    /// It was told of those since then.
    pub fn told(&mut self, since: Timestamp) {
        self.is_told |= self.since == since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn twenty_in_a_row_are_told_once() {
        let mut refusals = Refusals::new(SINCE);
        let told = |refusals: &mut Refusals, times: u32| (0..times).filter_map(|_| refusals.add()).count();
        assert_eq!(told(&mut refusals, 19), 0);
        assert_eq!(refusals.add(), Some(SINCE));
        refusals.told(SINCE);
        assert_eq!(told(&mut refusals, 100), 0);
    }

    #[test]
    fn what_could_not_be_told_is_told_after_as_many_more() {
        let mut refusals = Refusals::new(SINCE);
        let told: Vec<_> = (1..=60).filter(|_| refusals.add().is_some()).collect();
        assert_eq!(told, [20, 40, 60]);
        refusals.told(Timestamp::MAX);
        assert!((0..20).any(|_| refusals.add().is_some()), "another spell was told of");
    }
}
