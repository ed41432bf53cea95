//! The log of the attempts to one endpoint: what is shown of each, and what the limit of bytes takes away.

use serde::{Deserialize, Serialize};

use super::delivery::Attempt;
use super::event_type::EventType;
use super::id::{EventId, ReplayId};

/// The bytes that the log of one endpoint holds unless told.
pub const BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// What of an attempt is in the log alone: when the log is over its limit, the oldest goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The headers that were sent.
    #[serde(rename = "s", default)]
    pub sent: String,
    /// The beginning of the answer.
    #[serde(rename = "a", default)]
    pub answer: Option<String>,
}

impl Detail {
    /// Takes it out of an attempt, so that the rest can be kept without it.
    pub fn take(attempt: &mut Attempt) -> Self {
        Self { sent: std::mem::take(&mut attempt.sent), answer: attempt.answer.take() }
    }

    /// The attempt whole, or marked as truncated where the log no longer has the detail.
    pub fn put_back(detail: Option<Self>, attempt: Attempt) -> Attempt {
        match detail {
            Some(Self { sent, answer }) => Attempt { sent, answer, ..attempt },
            None => Attempt { truncated: true, ..attempt },
        }
    }
}

/// An attempt as the log of its endpoint tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// What was delivered.
    pub event_id: EventId,
    /// Its type, while the event is kept.
    pub kind: Option<EventType>,
    /// The replay that made the delivery, if one did.
    pub replay_id: Option<ReplayId>,
    /// The attempt.
    pub attempt: Attempt,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::delivery::Split;

    #[test]
    fn what_is_taken_out_of_an_attempt_comes_back_or_is_known_to_be_gone() {
        let attempt = Attempt {
            number: 2,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: 3,
            split: Split::default(),
            sent: "a: b\n".into(),
            status: Some(500),
            error: None,
            answer: Some("no".into()),
            truncated: false,
        };
        let mut rest = attempt.clone();
        let detail = Detail::take(&mut rest);
        assert!(rest.sent.is_empty() && rest.answer.is_none());
        assert_eq!(Detail::put_back(Some(detail), rest.clone()), attempt);
        assert_eq!(Detail::put_back(None, rest.clone()), Attempt { truncated: true, ..rest });
    }
}
