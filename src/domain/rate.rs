//! How often an endpoint may be called: a token bucket, told by the one time at which it will be full again (the generic
//! cell rate algorithm of ITU-T I.371).

use std::time::Duration;

/// The bucket holds what is let through in this part of a second, and one token at least.
const PARTS: u32 = 10;

/// A bucket. The default is full. Times are of a clock that never steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

/// Calls a second. In any second there may be a tenth more, or one; in the long run there are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    /// The most calls a second that can be asked for.
    pub const PER_S_MAX: u32 = 10_000;

    /// So many calls a second, at least one.
    pub fn per_s(calls: u32) -> Self {
        Self(calls.max(1))
    }

    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.0
    }

    fn capacity(self) -> u32 {
        (self.0 / PARTS).max(1)
    }
}

impl Bucket {
    /// One that was empty at `since`: nobody knows what was let through before.
    pub fn empty(rate: Rate, since: Duration) -> Self {
        Self { full_at: since + rate.interval() * rate.capacity() }
    }

    /// How many may be called now.
    pub fn free(self, rate: Rate, elapsed: Duration) -> u32 {
        let missing = self.full_at.saturating_sub(elapsed).as_nanos().div_ceil(rate.interval().as_nanos());
        rate.capacity().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// After so many were called.
    #[must_use]
    pub fn taken(self, calls: u32, rate: Rate, elapsed: Duration) -> Self {
        Self { full_at: self.full_at.max(elapsed) + rate.interval() * calls }
    }

    /// After one that was taken was not called.
    #[must_use]
    pub fn returned(self, rate: Rate) -> Self {
        Self { full_at: self.full_at.saturating_sub(rate.interval()) }
    }

    /// How long until it is worth looking again: half of the bucket is there, or the one token that it holds.
    pub fn wait(self, rate: Rate, elapsed: Duration) -> Duration {
        let wanted = rate.capacity().div_ceil(2);
        let room = rate.interval() * (rate.capacity() - wanted);
        self.full_at.saturating_sub(elapsed).saturating_sub(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    /// How many are let through in so long, by somebody who takes what he can whenever it is worth it.
    fn let_through(rate: Rate, mut bucket: Bucket, within: Duration) -> u32 {
        let (mut now, mut all) = (START, 0);
        while now < START + within {
            let free = bucket.free(rate, now);
            bucket = bucket.taken(free, rate, now);
            all += free;
            assert_eq!(bucket.free(rate, now), 0);
            let wait = bucket.wait(rate, now);
            assert!(!wait.is_zero());
            now += wait;
        }
        all
    }

    #[test]
    fn the_rate_is_kept_and_used_up() {
        for per_s in [1, 3, 7, 10, 25, 100, 333, 10_000] {
            let rate = Rate::per_s(per_s);
            let within = let_through(rate, Bucket::default(), Duration::from_secs(20));
            let capacity = (per_s / 10).max(1);
            assert!((per_s * 20..=per_s * 20 + capacity + 1).contains(&within), "{per_s}: {within}");
            let second = let_through(rate, Bucket::default(), Duration::from_secs(1));
            assert!(second <= per_s + capacity, "{per_s}: {second} in the first second");
            let after_empty = let_through(rate, Bucket::empty(rate, START), Duration::from_secs(1));
            assert!(after_empty <= per_s, "{per_s}: {after_empty}");
        }
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let rate = Rate::per_s(50);
        let bucket = Bucket::default().taken(5, rate, START);
        assert_eq!((bucket.free(rate, START), bucket.returned(rate).free(rate, START)), (0, 1));
        assert_eq!(bucket.wait(rate, START), Duration::from_millis(60));
        assert_eq!(bucket.free(rate, START + Duration::from_millis(60)), 3);
        assert_eq!(bucket.free(rate, START + Duration::from_secs(9)), 5, "it holds no more");
    }
}
