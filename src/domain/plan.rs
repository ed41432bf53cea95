//! What an ingest is to change, decided before anything is changed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waypost_providers::{Kind, ReplayGuard, Request};

use super::content::FETCHED;
use super::delivery::Class;
use super::event_type::EventType;
use super::id::{EndpointId, EventId, MailKey, RequestId};
use super::retention::Lifetimes;
use super::state::State;
use super::suppression::ToSuppress;

/// Which set of endpoints a plan was made with; grows with every change of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// One verified request and all that follows from it; or operational events, which follow from none.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// What to remember first, where the signature does not cover the body (Mailgun): the token, with each key that it is
    /// signed with.
    pub guards: Vec<ReplayGuard>,
    /// What was received, if anything was.
    pub raw: Option<RawRequest>,
    /// The endpoint set that the deliveries were planned with.
    pub generation: Generation,
    /// Its events; each is committed whole or not at all.
    pub units: Vec<Unit>,
    /// States that it tells and that are no events: they are remembered.
    pub states: Vec<Condition>,
}

impl Ingest {
    /// How long its request is kept. A later version may find more in what was not understood, the content of a mail is
    /// served out of it, or out of what was fetched of it: these live as long as events.
    pub fn request_life(&self, lifetimes: &Lifetimes) -> Duration {
        let brings_mail = || self.units.iter().any(Unit::brings_mail);
        let is_incomplete = self.raw.as_ref().is_some_and(RawRequest::is_incomplete);
        let is_part = || self.raw.as_ref().is_some_and(|raw| raw.provider == FETCHED);
        if is_incomplete || is_part() || brings_mail() { lifetimes.events } else { lifetimes.requests }
    }
}

/// A request as received, to be kept.
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// Hash of source and body.
    pub id: RequestId,
    /// The name of the provider that it was proven to come from: a source may have another one later.
    pub provider: &'static str,
    /// Headers (credentials removed) and body.
    pub request: Request,
    /// How many of its parts are none of the eleven events, and tell no state.
    pub unmapped: u32,
    /// How many of its parts could not be read.
    pub unreadable: u32,
}

impl RawRequest {
    /// Whether a later version may find more in it.
    pub fn is_incomplete(&self) -> bool {
        self.unmapped + self.unreadable > 0
    }
}

/// One event with everything that is committed with it, in one partition.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The event's id: its identity, so that a copy is found.
    pub id: EventId,
    /// What happened.
    pub kind: EventType,
    /// The mail it belongs to: decides the partition, and the order of deliveries.
    pub mail: MailKey,
    /// What a copy under another id has too.
    pub fingerprint: Option<Fingerprint>,
    /// The event as it is stored.
    pub event: Arc<StoredEvent>,
    /// The same as JSON.
    pub json: Bytes,
    /// One for each endpoint that subscribes to it.
    pub deliveries: Vec<PlannedDelivery>,
    /// The state that it tells, where that must be new at the moment of the commit for there to be an event at all.
    pub condition: Option<Condition>,
    /// Whom it puts on the suppression list, if it is new.
    pub suppresses: Option<ToSuppress>,
}

impl Unit {
    /// Whether content is served out of its request.
    pub fn brings_mail(&self) -> bool {
        self.kind.provider() == Some(Kind::Received)
    }
}

/// Tells copies of an event that a provider sends under another id. Both are of one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Equal for copies, at one source.
    pub bits: [u8; 16],
    /// What becomes of a copy that comes later.
    pub copies: Copies,
}

/// What becomes of copies under other ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// They are repeats: of one mail to one recipient such a thing happens once at a time.
    Repeat,
    /// They are kept and marked: a person may do it twice in one moment.
    Kept,
}

/// A delivery that begins with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDelivery {
    /// To whom.
    pub endpoint: EndpointId,
    /// How urgent.
    pub class: Class,
    /// The endpoint is disabled: the delivery is final at once, as `skipped`.
    pub skipped: bool,
}

/// A state that the commit compares with what it remembers of the same entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What has the state, hashed: a domain, a contact.
    pub entity: [u8; 16],
    /// The state it is in.
    pub state: State,
}

impl Condition {
    /// What is told of one entity is in one partition, and in order.
    pub fn mail(&self) -> MailKey {
        MailKey::of("entity", &hex::encode(self.entity))
    }
}

/// An event as stored. Immutable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When, as the provider tells it: RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// The `data` of the `drin` format, rendered once.
    pub data: Box<RawValue>,
    /// The source it came in at, or that it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// When its request came in, or an operational event was made.
    pub received_at: Timestamp,
    /// The request it was read from; none of an operational event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<RequestId>,
    /// The mail it belongs to.
    pub mail: MailKey,
    /// The first of the events that this may be a copy of, under another id of the provider's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub possible_duplicate_of: Option<EventId>,
    /// The endpoints it goes to. A delivery without a row of its own has not been tried.
    pub endpoints: Vec<EndpointId>,
}
