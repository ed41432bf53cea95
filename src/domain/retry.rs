//! What follows an attempt.

use std::time::Duration;

use super::delivery::{EndReason, ErrorClass};
use super::id::{DeliveryId, hash64};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered.
    Answered {
        /// Its status code.
        status: u16,
        /// Its `Retry-After`, as a wait from now.
        retry_after: Option<Duration>,
    },
    /// It did not.
    Failed(ErrorClass),
}

impl Outcome {
    /// Any `2xx`.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status: 200..=299, .. })
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it landed.
    Delivered,
    /// Another attempt.
    Retry {
        /// Not before this has passed.
        after: Duration,
    },
    /// Nothing: it is a dead letter.
    Dead(EndReason),
    /// The endpoint is to be disabled.
    Disable,
}

/// The longest wait that an endpoint's `Retry-After` can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Jitter lengthens a wait by up to this part of it, and never shortens it.
const JITTER_MAX: f64 = 0.1;

/// Decides what follows attempt `number` (from 1), given the endpoint's waits after each failed attempt.
pub fn next(waits_s: &[u64], outcome: &Outcome, number: u32, delivery: &DeliveryId) -> Next {
    if outcome.is_success() {
        return Next::Delivered;
    }
    if let Outcome::Answered { status: 410, .. } = outcome {
        return Next::Disable;
    }
    let place = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(wait_s) = waits_s.get(place) else { return Next::Dead(EndReason::Exhausted) };
    let scheduled = Duration::from_secs(*wait_s).mul_f64(1.0 + JITTER_MAX * jitter(delivery, number));
    Next::Retry { after: scheduled.max(asked(outcome)) }
}

/// The wait that the endpoint itself asked for: `Retry-After` counts on `429` and `503` only.
fn asked(outcome: &Outcome) -> Duration {
    match outcome {
        Outcome::Answered { status: 429 | 503, retry_after: Some(wait) } => (*wait).min(RETRY_AFTER_MAX),
        _ => Duration::ZERO,
    }
}

/// From 0 to 1, derived from delivery and attempt, so that a simulation replays exactly.
#[expect(clippy::cast_precision_loss, reason = "a fraction for jitter needs no more than 53 bits")]
fn jitter(delivery: &DeliveryId, number: u32) -> f64 {
    hash64(&[delivery.as_str().as_bytes(), &number.to_be_bytes()]) as f64 / u64::MAX as f64
}

/// Reads a `Retry-After` value: seconds, or an HTTP date held against `now`.
pub fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs).min(RETRY_AFTER_MAX));
    }
    Some(Duration::try_from(http_date(value)?.duration_since(now)).unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Reads an HTTP date.
pub fn http_date(value: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::EndpointSettings;
    use super::*;

    const FAILED: Outcome = Outcome::Failed(ErrorClass::Connect);

    fn after(outcome: &Outcome, number: u32) -> Next {
        next(&EndpointSettings::RETRY_DEFAULT, outcome, number, &DeliveryId::from("dlv_1"))
    }

    fn wait_s(next: Next) -> f64 {
        match next {
            Next::Retry { after } => after.as_secs_f64(),
            other => panic!("expected a retry, got {other:?}"),
        }
    }

    #[test]
    fn follows_the_schedule_then_gives_up() {
        for (place, scheduled) in EndpointSettings::RETRY_DEFAULT.into_iter().enumerate() {
            let number = u32::try_from(place).unwrap() + 1;
            let waited = wait_s(after(&FAILED, number));
            let scheduled = Duration::from_secs(scheduled).as_secs_f64();
            assert!((scheduled..=scheduled * 1.1).contains(&waited), "attempt {number} waits {waited}");
        }
        assert_eq!(after(&FAILED, 8), Next::Dead(EndReason::Exhausted));
    }

    #[test]
    fn jitter_is_derived_so_the_same_attempt_always_waits_the_same() {
        assert_eq!(after(&FAILED, 3), after(&FAILED, 3));
    }

    #[test]
    fn any_2xx_is_success_and_a_redirect_is_not() {
        let answered = |status| after(&Outcome::Answered { status, retry_after: None }, 1);
        assert_eq!(answered(200), Next::Delivered);
        assert_eq!(answered(204), Next::Delivered);
        for status in [100, 101, 199, 300, 302, 307, 400, 404, 500, 600, 999] {
            assert!(matches!(answered(status), Next::Retry { .. }), "{status}");
        }
        assert_eq!(answered(410), Next::Disable);
    }

    #[test]
    fn retry_after_only_lengthens_and_only_on_429_and_503() {
        let hour = Some(Duration::from_secs(3600));
        let answered = |status, retry_after| wait_s(after(&Outcome::Answered { status, retry_after }, 1));
        assert_eq!(answered(429, hour), 3600.0);
        assert_eq!(answered(503, hour), 3600.0);
        assert!(answered(500, hour) < 6.0);
        assert!(answered(503, Some(Duration::from_secs(1))) >= 5.0);
        assert_eq!(answered(503, Some(Duration::from_secs(999_999))), 86_400.0);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2026-03-14T09:26:53Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sat, 14 Mar 2026 09:27:53 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sat, 14 Mar 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999", now), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after("Fri, 01 Jan 9999 00:00:00 GMT", now), Some(RETRY_AFTER_MAX));
        for none in ["soon", "", "-5", "1.5", "1e9", "0x10"] {
            assert_eq!(retry_after(none, now), None, "{none}");
        }
    }
}
