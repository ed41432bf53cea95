//! Calls of the store.

use std::time::Duration;

use super::text::Text;
use super::values::{Bounds, Counter, Histogram, each};
use crate::clock::Clock;

/// Most take a sync of the disk, or a way to Redis and back.
const BOUNDS: Bounds = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

/// What the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To commit what came in.
    Ingest,
    /// Who is alive.
    Heartbeat,
    /// What is due.
    Due,
    /// For leases.
    Lease,
    /// To record what became of attempts.
    Finish,
}

impl Operation {
    const ALL: [Self; 5] = [Self::Ingest, Self::Heartbeat, Self::Due, Self::Lease, Self::Finish];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Heartbeat => "heartbeat",
            Self::Due => "due",
            Self::Lease => "lease",
            Self::Finish => "finish",
        }
    }
}

/// Calls of the store, by what it is asked.
#[derive(Debug)]
pub struct StoreCalls {
    durations: [Histogram; Operation::ALL.len()],
    errors: [Counter; Operation::ALL.len()],
}

impl Default for StoreCalls {
    fn default() -> Self {
        Self { durations: Operation::ALL.map(|_| Histogram::new(BOUNDS)), errors: each() }
    }
}

impl StoreCalls {
    /// A call took so long, and succeeded in all or did not.
    pub fn note(&self, operation: Operation, took: Duration, is_done: bool) {
        self.durations[operation as usize].observe(took);
        if !is_done {
            self.errors[operation as usize].add(1);
        }
    }

    /// Makes a call, and notes it.
    ///
    /// # Errors
    /// That of the call.
    pub async fn noted<T, E>(
        &self,
        operation: Operation,
        clock: &dyn Clock,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = clock.elapsed();
        let answer = call.await;
        self.note(operation, clock.elapsed().saturating_sub(begun), answer.is_ok());
        answer
    }

    pub(super) fn tell_durations(&self, text: &mut Text) {
        for (operation, duration) in Operation::ALL.iter().zip(&self.durations) {
            text.histogram(&[operation.as_str()], duration);
        }
    }

    pub(super) fn tell_errors(&self, text: &mut Text) {
        for (operation, count) in Operation::ALL.iter().zip(&self.errors) {
            text.one(&[operation.as_str()], count.get());
        }
    }
}
