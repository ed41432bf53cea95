//! Rows as the scripts write them, and what the API shows of them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::attempts::Unfilled;
use super::keys::Partition;
use super::link::corrupt;
use crate::domain::delivery::{Attempt, Delivery, EndReason, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId, ReplayId};
use crate::store::{Result, StoreError};

/// A hundred years, which a double still holds exactly next to the server's time.
const MICROS_MAX: u64 = 3_155_760_000_000_000;

/// A duration for a script.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).map_or(MICROS_MAX, |micros| micros.min(MICROS_MAX))
}

/// A lifetime for `EX`, which must not be 0.
pub(super) fn seconds(duration: Duration) -> u64 {
    micros(duration).div_ceil(1_000_000).max(1)
}

/// The server's microseconds as a timestamp.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(text.parse().ok()?).ok()
}

/// One delivery's row: six fields. What is pending has a number first.
pub(super) struct Row {
    pub(super) status: Status,
    reason: Option<EndReason>,
    begun: u32,
    begun_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    pub(super) attempts: Vec<Made>,
}

/// An attempt as a row has it, and where the log has what was sent and answered.
#[derive(Deserialize)]
pub(super) struct Made {
    #[serde(flatten)]
    pub(super) attempt: Attempt,
    pub(super) log: String,
}

impl Row {
    /// Reads a row; a delivery that has none has not been tried, and is due since it was made.
    pub(super) fn parse(row: &[u8], made: u64) -> Result<Self> {
        let text = std::str::from_utf8(row).map_err(|_| unreadable())?;
        if text.is_empty() {
            let due_at = timestamp(&made.to_string());
            let (begun_at, ended_at) = (None, None);
            let (status, reason, attempts) = (Status::Pending, None, Vec::new());
            return Ok(Self { status, reason, begun: 0, begun_at, due_at, ended_at, attempts });
        }
        let fields: Vec<&str> = text.splitn(6, '|').collect();
        let [first, second, third, fourth, fifth, attempts] = fields[..] else { return Err(unreadable()) };
        let attempts = serde_json::from_str(&format!("[{attempts}]")).map_err(|_| unreadable())?;
        let number = |text: &str| text.parse().map_err(|_| unreadable());
        if timestamp(first).is_some() {
            let (begun, begun_at, due_at) = (number(second)?, timestamp(third), timestamp(fourth));
            return Ok(Self {
                status: Status::Pending,
                reason: None,
                begun,
                begun_at,
                due_at,
                ended_at: None,
                attempts,
            });
        }
        let status = Status::by_name(first).ok_or_else(unreadable)?;
        let reason = EndReason::ALL.into_iter().find(|known| known.as_str() == second);
        let (begun, begun_at, ended_at) = (number(third)?, timestamp(fourth), timestamp(fifth));
        Ok(Self { status, reason, begun, begun_at, due_at: None, ended_at, attempts })
    }

    /// As the API shows it, but for what the log has.
    pub(super) fn delivery(
        self,
        partition: Partition,
        event: &EventId,
        endpoint: &EndpointId,
        replay: Option<ReplayId>,
    ) -> Unfilled {
        let (attempts, places) = self.attempts.into_iter().map(|made| (made.attempt, made.log)).unzip();
        let delivery = Delivery {
            id: DeliveryId::of(event, endpoint, replay.as_ref()),
            event_id: event.clone(),
            endpoint_id: endpoint.clone(),
            replay_id: replay,
            status: self.status,
            reason: self.reason,
            begun: self.begun,
            begun_at: self.begun_at,
            due_at: self.due_at,
            ended_at: self.ended_at,
            attempts,
        };
        Unfilled { partition, delivery, places }
    }
}

fn unreadable() -> StoreError {
    corrupt("a delivery's row that cannot be read")
}
