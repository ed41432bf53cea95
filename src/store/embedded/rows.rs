//! What is written: keys and values. Numbers lead with their highest byte; every time is in microseconds.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waypost_providers::{Headers, Request};

use crate::domain::id::RequestId;
use crate::domain::plan::RawRequest;
use crate::store::blobs::Blob;
use crate::store::{Result, StoreError, StoredRequest};

/// An id in keys and rows: its 128 bits.
pub(super) type Id = [u8; 16];

/// A delivery's key: its event's place in the feed, which begins at 1, and its endpoint's place in the event; replays
/// have the places after those, in the order they were made. Packed,
/// for there may be millions in memory, where having none is to take no room; the feed ends at 2^48 events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(NonZeroU64);

impl Key {
    pub(super) const LEN: usize = 10;
    pub(super) const FIRST: Self = Self(NonZeroU64::MIN);
    pub(super) const LAST: Self = Self(NonZeroU64::MAX);

    pub(super) fn new(seq: u64, place: u16) -> Self {
        Self(NonZeroU64::new((seq << u16::BITS) | u64::from(place)).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn seq(self) -> u64 {
        self.0.get() >> u16::BITS
    }

    pub(super) fn place(self) -> u16 {
        (self.0.get() & u64::from(u16::MAX)) as u16
    }

    /// The keys of all deliveries of one event.
    pub(super) fn of(seq: u64) -> RangeInclusive<Self> {
        Self::new(seq, 0)..=Self::new(seq, u16::MAX)
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.seq().to_be_bytes());
        bytes[8..].copy_from_slice(&self.place().to_be_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (seq, place) = number(bytes)?;
        let place = place.try_into().map_err(|_| corrupt("a delivery's key"))?;
        Ok(Self::new(seq, u16::from_be_bytes(place)))
    }
}

/// Where something with an id is kept, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) expires: u64,
}

impl Place {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (seq, rest) = number(bytes)?;
        Ok(Self { seq, expires: number(rest)?.0 })
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        two_numbers(self.seq, self.expires)
    }

    pub(super) fn is_alive(self, now: u64) -> bool {
        self.expires > now
    }
}

/// An event's row: when it was committed, when it expires, its id, how many deliveries began with it, its fingerprint if it
/// is the first to have it, and its JSON; none of one that was erased.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventRow<'a> {
    pub(super) committed: u64,
    pub(super) expires: u64,
    pub(super) id: Id,
    pub(super) places: u16,
    pub(super) fingerprint: Option<Id>,
    pub(super) json: &'a [u8],
}

impl<'a> EventRow<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let (committed, rest) = number(bytes)?;
        let (expires, rest) = number(rest)?;
        let (id, rest) = id(rest)?;
        let (places, rest) = rest.split_first_chunk().ok_or_else(|| corrupt("an event"))?;
        let (fingerprint, json) = match rest {
            [1, rest @ ..] => self::id(rest).map(|(bits, json)| (Some(bits), json))?,
            [0, json @ ..] => (None, json),
            _ => return Err(corrupt("an event's fingerprint")),
        };
        Ok(Self { committed, expires, id, places: u16::from_be_bytes(*places), fingerprint, json })
    }

    pub(super) fn is_erased(&self) -> bool {
        self.json.is_empty()
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let fingerprint = self.fingerprint.as_ref().map_or(&[][..], |bits| bits);
        let has_one = u8::from(self.fingerprint.is_some());
        let (times, places) = (two_numbers(self.committed, self.expires), self.places.to_be_bytes());
        for part in [&times[..], &self.id, &places, &[has_one], fingerprint, self.json] {
            to.extend_from_slice(part);
        }
    }
}

/// What is kept of a request beside its id, its body, and what of it was not understood.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestHead {
    source: Arc<str>,
    provider: Arc<str>,
    /// In nanoseconds: it comes from the caller, and goes back as it came.
    received_at: i128,
    headers: Headers,
    /// The body, if it is not in the row.
    pub(super) blob: Option<Blob>,
}

impl RequestHead {
    pub(super) fn of(raw: &RawRequest, blob: Option<Blob>) -> Self {
        let Request { source, received_at, headers, .. } = &raw.request;
        let (source, provider) = (Arc::clone(source), raw.provider.into());
        Self { source, provider, received_at: received_at.as_nanosecond(), headers: headers.clone(), blob }
    }

    pub(super) fn with(self, id: RequestId, body: Bytes, (unmapped, unreadable): (u32, u32)) -> StoredRequest {
        let Self { source, provider, received_at, headers, .. } = self;
        let received_at = Timestamp::from_nanosecond(received_at).unwrap_or_default();
        let request = Request { source, received_at, headers, body };
        StoredRequest { id, provider, request, unmapped, unreadable }
    }
}

/// A request's row: when it expires, its id, its packed head, and its body. One that was erased has no head, and in the
/// place of the body which file there was of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestRow<'a> {
    pub(super) expires: u64,
    pub(super) id: Id,
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
}

impl<'a> RequestRow<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let (expires, rest) = number(bytes)?;
        let (id, rest) = id(rest)?;
        let (head_len, rest) = number(rest)?;
        let head_len = usize::try_from(head_len).unwrap_or(usize::MAX);
        let (head, body) = rest.split_at_checked(head_len).ok_or_else(|| corrupt("a request"))?;
        Ok(Self { expires, id, head, body })
    }

    pub(super) fn is_erased(&self) -> bool {
        self.head.is_empty()
    }

    /// The file that holds its body, or did until it was erased.
    pub(super) fn blob(&self) -> Result<Option<Blob>> {
        if self.is_erased() { unpack(self.body) } else { Ok(unpack::<RequestHead>(self.head)?.blob) }
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let head_len = (self.head.len() as u64).to_be_bytes();
        for part in [&self.expires.to_be_bytes()[..], &self.id, &head_len, self.head, self.body] {
            to.extend_from_slice(part);
        }
    }
}

/// What expires at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiring<'a> {
    /// The events of one batch, from this place in the feed. The entry's value is the last.
    Events(u64),
    /// The requests of one batch, likewise.
    Requests(u64),
    Token(&'a [u8]),
    /// One that ended when its event had expired, or that a replay made.
    Delivery(&'a [u8]),
    /// Which replays there are of the event at this place in the feed.
    Replays(&'a [u8]),
    /// The job of this replay.
    Job(&'a [u8]),
    /// An entry of the audit log, or a claim.
    Access(&'a [u8]),
}

impl<'a> Expiring<'a> {
    /// The key of its entry.
    pub(super) fn key(self, at: u64) -> Vec<u8> {
        let (tag, seq);
        let id = match self {
            Self::Events(first) | Self::Requests(first) => {
                tag = if matches!(self, Self::Events(_)) { b'e' } else { b'r' };
                seq = first.to_be_bytes();
                &seq[..]
            }
            Self::Token(id) => {
                tag = b't';
                id
            }
            Self::Delivery(id) => {
                tag = b'd';
                id
            }
            Self::Replays(id) => {
                tag = b'p';
                id
            }
            Self::Job(id) => {
                tag = b'j';
                id
            }
            Self::Access(id) => {
                tag = b'a';
                id
            }
        };
        [&at.to_be_bytes()[..], &[tag], id].concat()
    }

    /// What an entry is about.
    pub(super) fn read(key: &'a [u8]) -> Result<Self> {
        match number(key)?.1 {
            [b'e', first @ ..] => Ok(Self::Events(number(first)?.0)),
            [b'r', first @ ..] => Ok(Self::Requests(number(first)?.0)),
            [b't', id @ ..] => Ok(Self::Token(id)),
            [b'd', id @ ..] => Ok(Self::Delivery(id)),
            [b'p', id @ ..] => Ok(Self::Replays(id)),
            [b'j', id @ ..] => Ok(Self::Job(id)),
            [b'a', id @ ..] => Ok(Self::Access(id)),
            _ => Err(corrupt("an expiry key")),
        }
    }
}

/// Reads a leading number, and what comes after it.
pub(super) fn number(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| corrupt("a number"))?;
    Ok((u64::from_be_bytes(*head), rest))
}

fn id(bytes: &[u8]) -> Result<(Id, &[u8])> {
    bytes.split_first_chunk().map(|(id, rest)| (*id, rest)).ok_or_else(|| corrupt("an id"))
}

pub(super) fn two_numbers(one: u64, other: u64) -> [u8; 16] {
    ((u128::from(one) << u64::BITS) | u128::from(other)).to_be_bytes()
}

/// JSON, for what is written rarely or is to be shown as it is.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(format!("cannot be written as JSON: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Corrupt(format!("a row is not what it should be: {error}")))
}

/// The compact form, for the rows of deliveries.
pub(super) fn pack(value: &impl Serialize) -> Result<Vec<u8>> {
    pack_into(value, Vec::new())
}

/// The same behind what is there.
pub(super) fn pack_into(value: &impl Serialize, bytes: Vec<u8>) -> Result<Vec<u8>> {
    postcard::to_extend(value, bytes).map_err(|error| StoreError::Corrupt(format!("cannot be packed: {error}")))
}

pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|error| StoreError::Corrupt(format!("a packed row is not what it should be: {error}")))
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
