//! Operational events: what Waypost tells of its own state, by the same deliveries as any event.
//!
//! Each is made of what is stored before or with it, and its id is derived from what makes its occasion the only one of
//! its kind. It is committed before what makes it true is recorded: a crash between the two makes it again, and storing
//! it again changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use waypost_providers::event::rfc3339_millis;

use super::breaker::Breaker;
use super::delivery::{Class, EndReason};
use super::endpoint::{Disabled, DisabledReason, Endpoint};
use super::event_type::Operational;
use super::fan_out::PlanError;
use super::id::{DeliveryId, EndpointId, EventId, MailKey};
use super::plan::{Generation, Ingest, PlannedDelivery, StoredEvent, Unit};

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    id: EventId,
    kind: Operational,
    at: Timestamp,
    mail: MailKey,
    data: Data,
}

/// The `data` object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OperationalData", extend("additionalProperties" = false))]
pub struct Data {
    /// The endpoint concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<EndpointId>,
    /// The source concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The delivery concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<DeliveryId>,
    /// What was to be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A delivery that ends as failed.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Its id.
    pub id: &'a DeliveryId,
    /// What was to be delivered.
    pub event: &'a EventId,
    /// The mail of that.
    pub mail: MailKey,
    /// By which source that came in, while it is kept.
    pub source: Option<&'a str>,
    /// To whom.
    pub endpoint: &'a EndpointId,
    /// Why it ends.
    pub reason: EndReason,
}

impl Occasion {
    /// An attempt failed that left the breaker so, answered with this status if at all. An open breaker says so at each
    /// probe, under one id: so it is told however far a crash let the first one come.
    pub fn failing(endpoint: &EndpointId, breaker: Breaker, status: Option<u16>, at: Timestamp) -> Option<Self> {
        let since = breaker.since.filter(|_| breaker.rest().is_some())?;
        // What kind of failure is for those who may read of the network behind an endpoint.
        let reason = Some(status.map_or_else(|| "no_answer".to_owned(), |status| format!("http_{status}")));
        let data = Data { reason, ..Data::default() };
        Some(Self::of_endpoint(Operational::EndpointFailing, endpoint, since, at, data))
    }

    /// An attempt succeeded, and the breaker had been so.
    pub fn recovered(endpoint: &EndpointId, before: Breaker, at: Timestamp) -> Option<Self> {
        let since = before.sick_since?;
        Some(Self::of_endpoint(Operational::EndpointRecovered, endpoint, since, at, Data::default()))
    }

    /// An endpoint is disabled. It is told where Waypost did that, and not the operator.
    pub fn disabled(endpoint: &EndpointId, disabled: &Disabled) -> Option<Self> {
        let reason = match disabled.reason {
            DisabledReason::Gone => "gone",
            DisabledReason::Failing => "failing",
            DisabledReason::Removed | DisabledReason::Operator | DisabledReason::Api => return None,
        };
        let data = Data { reason: Some(reason.to_owned()), ..Data::default() };
        Some(Self::of_endpoint(Operational::EndpointDisabled, endpoint, disabled.at, disabled.at, data))
    }

    /// A delivery ends as failed; not told of one that was itself of an operational event.
    pub fn exhausted(letter: DeadLetter<'_>, at: Timestamp) -> Option<Self> {
        if letter.mail.is_operational() {
            return None;
        }
        let kind = Operational::DeliveryExhausted;
        let data = Data {
            endpoint_id: Some(letter.endpoint.clone()),
            source: letter.source.map(str::to_owned),
            delivery_id: Some(letter.id.clone()),
            event_id: Some(letter.event.clone()),
            reason: Some(letter.reason.as_str().to_owned()),
        };
        let id = EventId::operational(&[kind.as_str().as_bytes(), letter.id.as_str().as_bytes()]);
        // One after another would take long when there are many.
        let mail = MailKey::operational(letter.id.as_str());
        Some(Self { id, kind, at, mail, data })
    }

    /// Whether it tells that a delivery ends as failed.
    pub fn is_exhausted(&self) -> bool {
        self.kind == Operational::DeliveryExhausted
    }

    /// Requests at a source have been refused in a row since then, the latest for this reason, which repeats nothing
    /// that was sent.
    pub fn rejecting(source: &str, since: Timestamp, reason: String, at: Timestamp) -> Self {
        let kind = Operational::SourceRejecting;
        let id = EventId::operational(&[kind.as_str().as_bytes(), source.as_bytes(), &nanos(since)]);
        let data = Data { source: Some(source.to_owned()), reason: Some(reason), ..Data::default() };
        Self { id, kind, at, mail: MailKey::operational(source), data }
    }

    fn of_endpoint(kind: Operational, endpoint: &EndpointId, since: Timestamp, at: Timestamp, data: Data) -> Self {
        let name = endpoint.as_str();
        let id = EventId::operational(&[kind.as_str().as_bytes(), name.as_bytes(), &nanos(since)]);
        // What is told of one endpoint arrives in its order.
        let mail = MailKey::operational(name);
        Self { id, kind, at, mail, data: Data { endpoint_id: Some(endpoint.clone()), ..data } }
    }

    /// Not to the endpoint that it is about. `sources` is held against what is of a source; no filter on the tags of
    /// mails can be.
    fn deliveries(&self, endpoints: &[Endpoint]) -> Vec<PlannedDelivery> {
        let wants = |endpoint: &&Endpoint| {
            let settings = &endpoint.settings;
            let is_of_source = |source: &String| settings.sources.is_empty() || settings.sources.contains(source);
            settings.events.wants_operational(self.kind)
                && self.data.endpoint_id.as_ref() != Some(&endpoint.id)
                && self.data.source.as_ref().is_none_or(is_of_source)
        };
        let planned = endpoints.iter().filter(wants).map(|endpoint| PlannedDelivery {
            endpoint: endpoint.id.clone(),
            class: Class::Normal,
            skipped: endpoint.disabled.is_some(),
        });
        planned.collect()
    }

    fn unit(&self, deliveries: Vec<PlannedDelivery>) -> Result<Unit, PlanError> {
        let (id, kind) = (self.id.clone(), self.kind.into());
        let stored = StoredEvent {
            id: id.clone(),
            kind,
            created_at: rfc3339_millis(self.at),
            data: serde_json::value::to_raw_value(&self.data)?,
            source: self.data.source.clone(),
            received_at: self.at,
            request_id: None,
            mail: self.mail,
            possible_duplicate_of: None,
            endpoints: deliveries.iter().map(|delivery| delivery.endpoint.clone()).collect(),
        };
        let json = serde_json::to_vec(&stored)?.into();
        let (mail, event) = (self.mail, Arc::new(stored));
        Ok(Unit { id, kind, mail, fingerprint: None, event, json, deliveries, condition: None, suppresses: None })
    }
}

/// Plans the ingest of what is to be told, against one generation of the endpoint set. What nobody asks for makes no
/// event: it is in no list, so nobody could find it.
///
/// # Errors
/// When an event cannot be written as JSON.
pub fn plan(occasions: &[Occasion], generation: Generation, endpoints: &[Endpoint]) -> Result<Ingest, PlanError> {
    let (mut units, mut seen) = (Vec::new(), HashSet::new());
    for occasion in occasions {
        let deliveries = occasion.deliveries(endpoints);
        if !deliveries.is_empty() && seen.insert(&occasion.id) {
            units.push(occasion.unit(deliveries)?);
        }
    }
    Ok(Ingest { guards: Vec::new(), raw: None, generation, units, states: Vec::new() })
}

fn nanos(at: Timestamp) -> [u8; 16] {
    at.as_nanosecond().to_be_bytes()
}

#[cfg(test)]
mod tests;
