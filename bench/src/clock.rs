//! One clock for all processes of a run: the machine's, in nanoseconds, so that what one process noted can be compared
//! with what another did.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// The time of day, to sign with.
pub(crate) fn time_of_day() -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos(ClockId::CLOCK_REALTIME))).unwrap_or_default()
}

/// What a clock shows. These clocks are always there.
pub(crate) fn nanos(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}
