//! What is written: keys and values.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::delivery::{Attempt, Class, Delivery, EndReason, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId, MailKey};
use crate::store::{Result, StoreError};

/// A delivery's key: its event's place in the feed, and its endpoint's place in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) seq: u64,
    pub(super) place: u16,
}

impl Key {
    pub(super) const LEN: usize = 10;

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.place.to_be_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (seq, place) = number(bytes)?;
        let place = place.try_into().map_err(|_| corrupt("a delivery's key"))?;
        Ok(Self { seq, place: u16::from_be_bytes(place) })
    }
}

/// The length of a key in the index of ended deliveries, without its status.
pub(super) const ENDED_LEN: usize = 8 + Key::LEN;

/// The key of a delivery, from one of the index of ended deliveries without its status.
pub(super) fn read_ended_key(bytes: &[u8]) -> Result<Key> {
    Key::read(number(bytes)?.1)
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

/// A delivery, pending or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) event: EventId,
    pub(super) endpoint: EndpointId,
    pub(super) class: Class,
    pub(super) mail: MailKey,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) reason: Option<EndReason>,
    pub(super) begun: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) begun_at: Option<Timestamp>,
    /// When it falls due, in microseconds, like every time here.
    pub(super) due: u64,
    /// The latest token handed out; tokens of one delivery only grow.
    pub(super) token: u64,
    /// Whether that token may still finish.
    pub(super) held: bool,
    /// Whether its first attempt has finished, so that it holds back no other.
    pub(super) tried: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) attempts: Vec<Attempt>,
    /// When its event expires; of one that ended later than that, when it is itself to be removed.
    pub(super) expires: u64,
}

impl Row {
    /// The key in the index of ended deliveries: its status, when it ended, its own key.
    pub(super) fn ended_key(&self, key: Key) -> [u8; ENDED_LEN + 1] {
        let mut bytes = [status_byte(self.status); ENDED_LEN + 1];
        bytes[1..9].copy_from_slice(&self.ended_at.map_or(0, micros).to_be_bytes());
        bytes[9..].copy_from_slice(&key.bytes());
        bytes
    }

    pub(super) fn delivery(self) -> Delivery {
        let pending = self.status == Status::Pending;
        Delivery {
            id: DeliveryId::of(&self.event, &self.endpoint),
            event_id: self.event,
            endpoint_id: self.endpoint,
            status: self.status,
            reason: self.reason,
            begun: self.begun,
            begun_at: self.begun_at,
            due_at: pending.then(|| timestamp(self.due)),
            ended_at: self.ended_at,
            attempts: self.attempts,
        }
    }
}

/// The latest state of an entity.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) value: String,
    pub(super) at: Timestamp,
}

/// An event's value: when it expires, its place in the feed, and its JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventRow<'a> {
    pub(super) expires: u64,
    pub(super) seq: u64,
    pub(super) json: &'a [u8],
}

impl<'a> EventRow<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let (expires, rest) = number(bytes)?;
        let (seq, json) = number(rest)?;
        Ok(Self { expires, seq, json })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.expires.to_be_bytes(), &self.seq.to_be_bytes(), self.json].concat()
    }
}

/// What kind of thing expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiring {
    Event,
    Request,
    Token,
    /// One that ended when its event had expired.
    Delivery,
}

/// The key of an entry of the expiry index.
pub(super) fn expiry_key(at: u64, what: Expiring, id: &[u8]) -> Vec<u8> {
    let tag = match what {
        Expiring::Event => b'e',
        Expiring::Request => b'r',
        Expiring::Token => b't',
        Expiring::Delivery => b'd',
    };
    [&at.to_be_bytes()[..], &[tag], id].concat()
}

/// What an entry of the expiry index is about, and its id.
pub(super) fn read_expiry_key(key: &[u8]) -> Result<(Expiring, &[u8])> {
    match number(key)?.1 {
        [b'e', id @ ..] => Ok((Expiring::Event, id)),
        [b'r', id @ ..] => Ok((Expiring::Request, id)),
        [b't', id @ ..] => Ok((Expiring::Token, id)),
        [b'd', id @ ..] => Ok((Expiring::Delivery, id)),
        _ => Err(corrupt("an expiry key")),
    }
}

/// Reads a leading number, and what comes after it.
pub(super) fn number(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| corrupt("a number"))?;
    Ok((u64::from_be_bytes(*head), rest))
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(format!("cannot be written as JSON: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Corrupt(format!("a row is not what it should be: {error}")))
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} is too short or has the wrong form"))
}

pub(super) fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.as_microsecond()).unwrap_or_default()
}

pub(super) fn timestamp(micros: u64) -> Timestamp {
    i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok()).unwrap_or(Timestamp::MAX)
}

pub(super) fn after(now: u64, delay: Duration) -> u64 {
    now.saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))
}
