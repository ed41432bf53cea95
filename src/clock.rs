//! The one place that reads a clock. Everything below `app`, `dispatch` and `http` takes time as an argument.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells the time. Tests hand out one that they move themselves.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; never steps back, and goes on while the process is stopped. While the whole machine
    /// sleeps it may stand still: a lease can then be sent late, whose finish the store refuses all the same.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose `elapsed` counts from now.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
