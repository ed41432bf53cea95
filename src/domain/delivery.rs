//! Deliveries: one for each (event, endpoint) pair, and one more for each time the pair is replayed.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

use super::id::{DeliveryId, EndpointId, EventId, ReplayId};

/// How urgent a delivery is. Order holds within one mail and one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// What list hygiene waits for.
    High,
    /// The rest.
    Normal,
    /// Replays: they get what live deliveries leave, and one place in [`Owed::PART`] of what those would take whole.
    Low,
}

impl Class {
    /// All, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// `bounced`, `complained`, `failed` and `unsubscribed` before the rest, as seed 003 ranks them.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Bounced | Kind::Complained | Kind::Failed | Kind::Unsubscribed => Self::High,
            Kind::Sent
            | Kind::Delivered
            | Kind::DeliveryDelayed
            | Kind::Opened
            | Kind::Clicked
            | Kind::Received
            | Kind::DomainVerified => Self::Normal,
        }
    }

    /// One letter, for keys.
    pub fn letter(self) -> char {
        match self {
            Self::High => 'h',
            Self::Normal => 'n',
            Self::Low => 'l',
        }
    }
}

/// What the replays of one lane are owed, in places that live deliveries took.
///
/// A replay never delays live traffic by more than this share, and live traffic never starves a replay for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed(usize);

impl Owed {
    /// Of so many places that live deliveries would take, one is a replay's.
    pub const PART: usize = 20;

    /// How many of `limit` places go to replays, when so many live deliveries and so many replays are due: those that
    /// live ones leave, and those owed. What is owed adds up over the calls while replays wait.
    pub fn places(&mut self, limit: usize, live: usize, replays: usize) -> usize {
        let left = limit.saturating_sub(live);
        if replays <= left {
            self.0 = 0;
            return replays;
        }
        self.0 += limit - left;
        let owed = self.0 / Self::PART;
        self.0 %= Self::PART;
        replays.min(left + owed)
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be tried, again or for the first time.
    Pending,
    /// The endpoint answered `2xx`.
    Delivered,
    /// Given up: a dead letter.
    Failed,
    /// The endpoint was disabled.
    Skipped,
    /// The endpoint was deleted, the person erased, or the replay canceled.
    Canceled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Delivered, Self::Failed, Self::Skipped, Self::Canceled];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Canceled => "canceled",
        }
    }

    /// The status with this word.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Why a delivery ended without being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The schedule has no more attempts.
    Exhausted,
    /// The event's retention ended first.
    Expired,
    /// The endpoint answered `410 Gone`.
    Gone,
    /// The endpoint is disabled.
    Disabled,
    /// The endpoint no longer exists.
    Deleted,
    /// The replay that made it was canceled.
    ReplayCanceled,
    /// A person whom its event named was erased.
    Erased,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Exhausted, Self::Expired, Self::Gone, Self::Disabled, Self::Deleted, Self::ReplayCanceled, Self::Erased];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::ReplayCanceled => "replay_canceled",
            Self::Erased => "erased",
        }
    }
}

/// Why an attempt got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The host name has no address.
    Resolve,
    /// An address that may not be called.
    Blocked,
    /// Nobody accepted the connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection was closed in mid-exchange.
    Closed,
    /// The deadline passed.
    Timeout,
    /// The answer was no HTTP, or the request could not be made.
    Protocol,
    /// The proxy cannot be reached, or did not connect.
    Proxy,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Resolve,
        Self::Blocked,
        Self::Connect,
        Self::Tls,
        Self::Closed,
        Self::Timeout,
        Self::Protocol,
        Self::Proxy,
    ];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Blocked => "blocked",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Proxy => "proxy",
        }
    }
}

/// Where the time of an attempt went, in whole milliseconds from one to the next. What is absent was not reached, or was
/// not needed: an attempt on a connection that was open neither resolves nor connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// Resolving the host's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resolve_ms: Option<u32>,
    /// Connecting, through the proxy if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connect_ms: Option<u32>,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_ms: Option<u32>,
    /// From the beginning of the attempt to the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_byte_ms: Option<u32>,
}

impl Split {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// As whole milliseconds.
pub fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// From 1. The store counts.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: u32,
    /// Where that time went.
    #[serde(skip_serializing_if = "Split::is_empty", default)]
    pub split: Split,
    /// The request's headers as they were sent, a line each; values of the endpoint's own headers are masked.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub sent: String,
    /// The answer's status code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<ErrorClass>,
    /// The first 4 KiB of the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<String>,
    /// Whether `sent` and `answer` are no longer kept, for the log of the endpoint was over its limit of bytes.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub truncated: bool,
}

/// A delivery as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointDelivery")]
pub struct Delivery {
    /// Derived from event, endpoint and replay.
    pub id: DeliveryId,
    /// What is delivered.
    pub event_id: EventId,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// Which replay made it; none of the one that began with its event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replay_id: Option<ReplayId>,
    /// Where it stands.
    pub status: Status,
    /// Why it ended, if it was not delivered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<EndReason>,
    /// How many attempts have been begun. Larger than the attempts listed by the number of those never finished: a
    /// gateway was killed in the middle, or is at it now.
    pub begun: u32,
    /// When the latest attempt was begun.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub begun_at: Option<Timestamp>,
    /// When it falls due next, while pending.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// The finished attempts, in order.
    pub attempts: Vec<Attempt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_get_what_live_deliveries_leave() {
        let mut owed = Owed::default();
        assert_eq!(owed.places(8, 3, 100), 5);
        assert_eq!(owed.places(8, 0, 3), 3);
        assert_eq!(owed.places(8, 8, 0), 0);
    }

    #[test]
    fn one_place_in_twenty_is_a_replays_however_many_are_asked_for_at_a_time() {
        for limit in [1, 3, 8, 20, 32] {
            let mut owed = Owed::default();
            let replays: usize = (0..1_000).map(|_| owed.places(limit, limit, 1_000)).sum();
            assert_eq!(replays, 1_000 * limit / Owed::PART, "{limit} at a time");
        }
    }
}
