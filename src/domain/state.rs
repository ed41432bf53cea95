//! What is remembered of something that is in a state, and when a state is new.

use serde::{Deserialize, Serialize};

/// Whether something held at a time. The later one stays, and of one moment the one that holds: so it makes no
/// difference in which order they come, nor how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct State {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whether it held.
    pub holds: bool,
}

impl State {
    /// What becomes of the one that is known when this one is told: nothing, or it gives way. Then the answer is whether
    /// it is news: it holds and, as far as was known, did not.
    pub fn replaces(self, known: Option<Self>) -> Option<bool> {
        let is_later = known.is_none_or(|known| self > known);
        is_later.then(|| self.holds && !known.is_some_and(|known| known.holds))
    }

    /// A number that is higher for one that stays, and odd for one that holds.
    pub fn rank(self) -> i64 {
        self.at_ms * 2 + i64::from(self.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(at_ms: i64, holds: bool) -> State {
        State { at_ms, holds }
    }

    #[test]
    fn it_is_news_when_it_comes_to_hold() {
        let known = |at_ms, holds| Some(state(at_ms, holds));
        assert_eq!(state(5, true).replaces(None), Some(true));
        assert_eq!(state(5, false).replaces(None), Some(false));
        assert_eq!(state(5, true).replaces(known(4, false)), Some(true));
        assert_eq!(state(5, true).replaces(known(4, true)), Some(false));
        assert_eq!(state(5, false).replaces(known(4, true)), Some(false));
        assert_eq!(state(5, true).replaces(known(5, false)), Some(true), "of one moment");
        for (told, known) in [((5, false), (5, true)), ((5, true), (5, true)), ((5, true), (6, false))] {
            assert_eq!(state(told.0, told.1).replaces(Some(state(known.0, known.1))), None, "{told:?} {known:?}");
        }
    }

    #[test]
    fn a_rank_says_what_stays_and_whether_it_holds() {
        let all =
            [state(-377_705_116_800_000, true), state(-1, false), state(-1, true), state(0, false), state(0, true)];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(one.rank().rem_euclid(2) == 1, one.holds);
            assert!(all[..place].iter().all(|earlier| earlier < one && earlier.rank() < one.rank()));
        }
    }
}
