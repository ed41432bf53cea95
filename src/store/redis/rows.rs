//! Rows as the scripts write them, and what the API shows of them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::link::corrupt;
use crate::domain::delivery::{Attempt, Delivery, EndReason, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId};
use crate::store::{Result, StoreError};

/// A hundred years, which a double still holds exactly next to the server's time.
const MICROS_MAX: u128 = 3_155_760_000_000_000;

/// A duration for a script.
pub(super) fn micros(duration: Duration) -> u128 {
    duration.as_micros().min(MICROS_MAX)
}

/// A lifetime for `EX`, which must not be 0.
pub(super) fn seconds(duration: Duration) -> u64 {
    let whole = u64::try_from(micros(duration).div_ceil(1_000_000)).unwrap_or(1);
    whole.max(1)
}

/// The server's microseconds as a timestamp.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(text.parse().ok()?).ok()
}

/// An end's reason as rows spell it.
pub(super) fn word(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Exhausted => "exhausted",
        EndReason::Expired => "expired",
        EndReason::Gone => "gone",
        EndReason::Disabled => "disabled",
        EndReason::Deleted => "deleted",
    }
}

/// One delivery's row. Numbers that a double of the scripts' JSON would round are texts, and so are attempts.
#[derive(Deserialize)]
pub(super) struct Row {
    #[serde(rename = "s")]
    pub(super) status: Status,
    #[serde(rename = "b")]
    begun: u32,
    #[serde(rename = "ba", default)]
    begun_at: Option<String>,
    #[serde(rename = "at", default)]
    attempts: Vec<String>,
    #[serde(rename = "r", default)]
    reason: Option<EndReason>,
    #[serde(rename = "ea", default)]
    ended_at: Option<String>,
}

impl Row {
    /// Reads a row; a delivery that has none has not been tried.
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        if json.is_empty() {
            return Ok(Self {
                status: Status::Pending,
                begun: 0,
                begun_at: None,
                attempts: Vec::new(),
                reason: None,
                ended_at: None,
            });
        }
        serde_json::from_slice(json).map_err(|error| StoreError::Corrupt(format!("a delivery's row: {error}")))
    }

    /// As the API shows it.
    pub(super) fn delivery(self, event: &EventId, endpoint: &EndpointId, due: &str) -> Result<Delivery> {
        let attempts: std::result::Result<Vec<Attempt>, _> =
            self.attempts.iter().map(|json| serde_json::from_str(json)).collect();
        Ok(Delivery {
            id: DeliveryId::of(event, endpoint),
            event_id: event.clone(),
            endpoint_id: endpoint.clone(),
            status: self.status,
            reason: self.reason,
            begun: self.begun,
            begun_at: self.begun_at.as_deref().and_then(timestamp),
            due_at: if self.status == Status::Pending { timestamp(due) } else { None },
            ended_at: self.ended_at.as_deref().and_then(timestamp),
            attempts: attempts.map_err(|_| corrupt("an attempt that cannot be read"))?,
        })
    }
}
