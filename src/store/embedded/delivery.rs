//! The rows of deliveries. What nobody has begun has no row of its own: one row for each event says which of its
//! deliveries have not ended, and a delivery's row what became of it since.

use serde::{Deserialize, Serialize};

use super::rows::{Id, Key, timestamp};
use crate::domain::delivery::{Attempt, Class, Delivery, EndReason, ErrorClass, Split, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId, MailKey, ReplayId};

/// The length of a key in the index of ended deliveries, without its status.
pub(super) const ENDED_LEN: usize = 8 + Key::LEN;

/// An event with deliveries that have not ended. It outlives the event, as they do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) event: Id,
    pub(super) mail: MailKey,
    pub(super) committed: u64,
    pub(super) expires: u64,
    pub(super) planned: Vec<Planned>,
}

/// One of them; it may have ended, as its own row says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) place: u16,
    pub(super) class: Class,
    pub(super) endpoint: EndpointId,
    pub(super) replay: Option<Again>,
}

/// Which replay made a delivery, when, and after which others of those that are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Again {
    pub(super) id: Id,
    pub(super) made: u64,
    pub(super) order: u64,
}

/// A delivery's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Row {
    Pending(Progress),
    Ended(Ended),
}

/// What became of a delivery that has not ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) begun: u32,
    pub(super) begun_at: Option<u64>,
    pub(super) due: u64,
    /// The latest token handed out; tokens of one delivery only grow.
    pub(super) token: u64,
    /// Whether that token may still finish.
    pub(super) held: bool,
    /// Whether its first attempt has finished, so that it holds back no other.
    pub(super) tried: bool,
    pub(super) attempts: Vec<Made>,
}

/// A delivery that has ended. What is needed to show it is here, for its event may go first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) event: Id,
    pub(super) endpoint: EndpointId,
    pub(super) replay: Option<Id>,
    pub(super) status: Status,
    pub(super) reason: Option<EndReason>,
    pub(super) begun: u32,
    pub(super) begun_at: Option<u64>,
    pub(super) ended_at: u64,
    /// When its event expires; of one that ended later than that, when it is itself to be removed.
    pub(super) expires: u64,
    pub(super) attempts: Vec<Made>,
}

/// An attempt; what was sent and answered is in the log of its endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) number: u32,
    /// In nanoseconds: it comes from the caller, and goes back as it came.
    started_at: i128,
    duration_ms: u32,
    /// Resolved, connected, shaken hands, first byte.
    split: [Option<u32>; 4],
    status: Option<u16>,
    error: Option<ErrorClass>,
    /// When it was recorded, and how many bytes the log has of it.
    pub(super) logged_at: u64,
    pub(super) logged_len: u32,
}

impl Made {
    pub(super) fn new(attempt: &Attempt, logged_at: u64, logged_len: u32) -> Self {
        let Attempt { number, started_at, duration_ms, split, status, error, .. } = *attempt;
        let Split { resolve_ms, connect_ms, tls_ms, first_byte_ms } = split;
        let split = [resolve_ms, connect_ms, tls_ms, first_byte_ms];
        let started_at = started_at.as_nanosecond();
        Self { number, started_at, duration_ms, split, status, error, logged_at, logged_len }
    }
}

impl From<Made> for Attempt {
    fn from(made: Made) -> Self {
        let Made { number, started_at, duration_ms, split, status, error, .. } = made;
        let started_at = jiff::Timestamp::from_nanosecond(started_at).unwrap_or_default();
        let [resolve_ms, connect_ms, tls_ms, first_byte_ms] = split;
        let split = Split { resolve_ms, connect_ms, tls_ms, first_byte_ms };
        let (sent, answer, truncated) = (String::new(), None, false);
        Self { number, started_at, duration_ms, split, sent, status, error, answer, truncated }
    }
}

impl Ended {
    /// The key in the index of ended deliveries: its status, when it ended, its own key.
    pub(super) fn index_key(&self, key: Key) -> [u8; ENDED_LEN + 1] {
        let mut bytes = [status_byte(self.status); ENDED_LEN + 1];
        bytes[1..9].copy_from_slice(&self.ended_at.to_be_bytes());
        bytes[9..].copy_from_slice(&key.bytes());
        bytes
    }

    pub(super) fn delivery(self, attempts: Vec<Attempt>) -> Delivery {
        let event_id = EventId::from_bits(self.event);
        let replay_id = self.replay.map(ReplayId::from_bits);
        Delivery {
            id: DeliveryId::of(&event_id, &self.endpoint, replay_id.as_ref()),
            event_id,
            endpoint_id: self.endpoint,
            replay_id,
            status: self.status,
            reason: self.reason,
            begun: self.begun,
            begun_at: self.begun_at.map(timestamp),
            due_at: None,
            ended_at: Some(timestamp(self.ended_at)),
            attempts,
        }
    }
}

/// A delivery that has not ended, with what became of it since it began to wait, where that is known, and its attempts.
pub(super) fn pending(
    event_id: EventId,
    endpoint_id: EndpointId,
    replay: Option<Id>,
    progress: Option<Progress>,
    attempts: Vec<Attempt>,
) -> Delivery {
    let replay_id = replay.map(ReplayId::from_bits);
    let due_at = progress.as_ref().map(|progress| timestamp(progress.due));
    let progress = progress.unwrap_or_default();
    Delivery {
        id: DeliveryId::of(&event_id, &endpoint_id, replay_id.as_ref()),
        event_id,
        endpoint_id,
        replay_id,
        status: Status::Pending,
        reason: None,
        begun: progress.begun,
        begun_at: progress.begun_at.map(timestamp),
        due_at,
        ended_at: None,
        attempts,
    }
}

/// A status in keys.
pub(super) fn status_byte(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Delivered => 1,
        Status::Failed => 2,
        Status::Skipped => 3,
        Status::Canceled => 4,
    }
}
