//! Numbers that many threads add to.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One for each of a closed set.
pub(super) fn each<T: Default, const N: usize>() -> [T; N] {
    array::from_fn(|_| T::default())
}

/// The upper ends of buckets, in milliseconds, ascending. Durations that are equal to one are in it.
pub(super) type Bounds = &'static [u64];

/// How long something took, in buckets.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Bounds,
    /// One for each bound, and one without an end.
    buckets: Box<[Counter]>,
    micros: Counter,
}

impl Histogram {
    pub(super) fn new(bounds: Bounds) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, buckets, micros: Counter::default() }
    }

    pub(super) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| bound.saturating_mul(1_000) < micros);
        self.buckets[place].add(1);
        self.micros.add(micros);
    }

    /// The end of each bucket in seconds, and how many took as long at most; last how many there are.
    pub(super) fn cumulated(&self) -> (Vec<(f64, u64)>, u64) {
        let mut sum = 0;
        let mut cumulated = Vec::with_capacity(self.bounds.len());
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            sum += bucket.get();
            cumulated.push((Duration::from_millis(*bound).as_secs_f64(), sum));
        }
        (cumulated, sum + self.buckets[self.bounds.len()].get())
    }

    /// All durations together, in seconds.
    pub(super) fn sum(&self) -> f64 {
        Duration::from_micros(self.micros.get()).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_is_not_longer_than() {
        let histogram = Histogram::new(&[5, 1_000]);
        for micros in [0, 5_000, 5_001, 1_000_000, 1_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.cumulated(), (vec![(0.005, 2), (1.0, 4)], 5));
        assert_eq!(histogram.sum(), 2.010_002);
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.cumulated().1, 6);
    }

    #[test]
    fn all_that_many_threads_add_is_there() {
        let histogram = Histogram::new(&[1]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| histogram.observe(Duration::from_millis(1))));
            }
        });
        assert_eq!(histogram.cumulated(), (vec![(0.001, 4_000)], 4_000));
        assert_eq!(histogram.sum(), 4.0);
    }
}
