//! From what a provider said to what an ingest is to change.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use waypost_providers::event::{BounceClass, Data, rfc3339_millis};
use waypost_providers::{Found, Kind, Parsed, Provider, Request, Verified};

use super::content;
use super::delivery::Class;
use super::endpoint::Endpoint;
use super::id::{EventId, MailKey, RequestId, hash128};
use super::plan::{Condition, Copies, Fingerprint, Generation, Ingest, PlannedDelivery, RawRequest, StoredEvent, Unit};
use super::state::State;
use super::subscription::Happened;
use super::suppression;

/// An event that cannot be written as JSON; no provider's adapter makes one.
#[derive(Debug, thiserror::Error)]
#[error("an event cannot be written as JSON: {0}")]
pub struct PlanError(#[from] serde_json::Error);

/// Plans the ingest of one request that `provider` verified, against one generation of the endpoint set; bounces of the
/// classes of `suppress_on` put addresses on the suppression list.
///
/// # Errors
/// When an event cannot be written as JSON.
pub fn plan(
    provider: &dyn Provider,
    verified: &Verified,
    parsed: &[Parsed],
    generation: Generation,
    endpoints: &[Endpoint],
    suppress_on: &[BounceClass],
) -> Result<Ingest, PlanError> {
    let request = verified.request();
    let said = verified.digest().map_or(&request.body[..], |digest| digest);
    let id = RequestId::of(&request.source, said);
    plan_again(id, provider, verified, parsed, generation, endpoints, suppress_on)
}

/// The same for a request that is kept under this id: its bytes alone may not tell it.
///
/// # Errors
/// As those of [`plan`].
pub fn plan_again(
    id: RequestId,
    provider: &dyn Provider,
    verified: &Verified,
    parsed: &[Parsed],
    generation: Generation,
    endpoints: &[Endpoint],
    suppress_on: &[BounceClass],
) -> Result<Ingest, PlanError> {
    let guards = verified.guards().to_vec();
    let received = verified.request();
    let request = Request {
        source: Arc::clone(&received.source),
        received_at: received.received_at,
        headers: received.headers.without_credentials(),
        // Shared, not copied.
        body: received.body.clone(),
    };
    let mut raw = RawRequest { id, provider: provider.name(), request, unmapped: 0, unreadable: 0 };
    let (mut units, mut states) = (Vec::with_capacity(parsed.len()), Vec::new());
    for part in parsed {
        match part {
            Parsed::Event(found) => {
                let found = content::linked(found, provider, received, endpoints);
                units.push(unit(&found, &raw, endpoints, suppress_on)?);
            }
            // Understood: no later version finds more in it.
            Parsed::Snapshot { state, .. } => states.push(condition(state, &raw.request.source)),
            Parsed::Unmapped { .. } => raw.unmapped += 1,
            Parsed::Unreadable { .. } => raw.unreadable += 1,
        }
    }
    Ok(Ingest { guards, raw: Some(raw), generation, units, states })
}

fn unit(
    found: &Found,
    raw: &RawRequest,
    endpoints: &[Endpoint],
    suppress_on: &[BounceClass],
) -> Result<Unit, PlanError> {
    let event = &found.event;
    let id = EventId::of(&raw.request.source, &found.identity);
    let condition = found.state.as_ref().map(|state| condition(state, &raw.request.source));
    let fingerprint = fingerprint(found, &raw.request.source);
    let mail =
        condition.map_or_else(|| mail_key(&event.data, &found.identity, fingerprint), |condition| condition.mail());
    let deliveries =
        deliveries(Happened::of(event.kind, &event.data), &raw.request.source, &event.data.tags, endpoints);
    let kind = event.kind.into();
    let stored = StoredEvent {
        id: id.clone(),
        kind,
        created_at: rfc3339_millis(event.created_at),
        data: to_raw(&event.data)?,
        source: Some(raw.request.source.to_string()),
        received_at: raw.request.received_at,
        request_id: Some(raw.id.clone()),
        mail,
        possible_duplicate_of: None,
        endpoints: deliveries.iter().map(|delivery| delivery.endpoint.clone()).collect(),
    };
    let json = serde_json::to_vec(&stored)?.into();
    let (event, suppresses) = (Arc::new(stored), suppression::of(event, suppress_on));
    Ok(Unit { id, kind, mail, fingerprint, event, json, deliveries, condition, suppresses })
}

fn condition(told: &waypost_providers::State, source: &str) -> Condition {
    let entity = hash128(&[source.as_bytes(), told.entity.as_bytes()]);
    Condition { entity, state: State { at_ms: told.at.as_millisecond(), holds: told.holds } }
}

/// Without the provider's own time two events of one moment would look alike. Copies of a state are told by that.
fn fingerprint(found: &Found, source: &str) -> Option<Fingerprint> {
    if found.untimed || found.state.is_some() {
        return None;
    }
    let copies = match found.event.kind {
        Kind::Sent
        | Kind::Delivered
        | Kind::DeliveryDelayed
        | Kind::Bounced
        | Kind::Complained
        | Kind::Failed
        | Kind::Unsubscribed => Copies::Repeat,
        Kind::Opened | Kind::Clicked => Copies::Kept,
        Kind::Received | Kind::DomainVerified => return None,
    };
    Some(Fingerprint { bits: hash128(&[source.as_bytes(), &found.event.fingerprint()]), copies })
}

fn to_raw(data: &impl Serialize) -> Result<Box<RawValue>, PlanError> {
    Ok(serde_json::value::to_raw_value(data)?)
}

/// One mail's events, copies and fingerprints meet in one partition: its id, else its recipient, else the fingerprint or
/// the identity.
fn mail_key(data: &Data, identity: &str, fingerprint: Option<Fingerprint>) -> MailKey {
    match (&data.id, &data.to, fingerprint) {
        (Some(id), ..) => MailKey::of("mail", id),
        (None, Some(to), _) => MailKey::of("recipient", &to.to_lowercase()),
        (None, None, Some(fingerprint)) => MailKey::of("fingerprint", &hex::encode(fingerprint.bits)),
        (None, None, None) => MailKey::of("identity", identity),
    }
}

/// One delivery for each endpoint that subscribes to this event; final at once where the endpoint is disabled.
fn deliveries(happened: Happened, source: &str, tags: &[String], endpoints: &[Endpoint]) -> Vec<PlannedDelivery> {
    let wants = |endpoint: &&Endpoint| {
        let settings = &endpoint.settings;
        settings.events.wants_as(settings.format, happened)
            && (settings.sources.is_empty() || settings.sources.iter().any(|name| name == source))
            && (settings.tags.is_empty() || settings.tags.iter().any(|tag| tags.contains(tag)))
    };
    let planned = endpoints.iter().filter(wants).map(|endpoint| PlannedDelivery {
        endpoint: endpoint.id.clone(),
        class: Class::of(happened.kind),
        skipped: endpoint.disabled.is_some(),
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::endpoint::{Disabled, DisabledReason, Origin};
    use super::*;

    fn endpoint(id: &str, more: &Value) -> Endpoint {
        let mut settings = json!({
            "url": "https://a.example/", "events": [], "signatures": ["drin"], "retry": [5], "timeout_s": 15,
            "max_in_flight": 32, "active": true,
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Endpoint {
            id: id.into(),
            number: 1,
            settings: serde_json::from_value(settings).unwrap(),
            origin: Origin::File,
            disabled: None,
            enabled_at: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn planned(source: &str, tags: &[&str]) -> Vec<(String, bool)> {
        let disabled = Some(Disabled { reason: DisabledReason::Gone, at: Timestamp::UNIX_EPOCH });
        let endpoints = [
            endpoint("all", &json!({})),
            endpoint("source", &json!({ "sources": ["eu", "us"] })),
            endpoint("tag", &json!({ "tags": ["a", "b"] })),
            endpoint("both", &json!({ "sources": ["eu"], "tags": ["a"] })),
            endpoint("bounces", &json!({ "events": ["email.bounced"] })),
            Endpoint { disabled, ..endpoint("disabled", &json!({})) },
        ];
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let happened = Happened::of(Kind::Delivered, &Data::default());
        let planned = deliveries(happened, source, &tags, &endpoints).into_iter();
        planned.map(|one| (one.endpoint.to_string(), one.skipped)).collect()
    }

    fn reported(identity: &str, kind: Kind, untimed: bool, data: &Data, source: &str) -> Unit {
        let event = waypost_providers::Event { kind, created_at: Timestamp::UNIX_EPOCH, data: data.clone() };
        let found = Found { identity: identity.into(), untimed, state: None, event };
        let (received_at, headers) = (Timestamp::UNIX_EPOCH, [("a", "b")].into_iter().collect());
        let request = Request { source: source.into(), received_at, headers, body: "{}".into() };
        let id = RequestId::of(source, b"{}");
        let raw = RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 };
        unit(&found, &raw, &[], &[]).unwrap()
    }

    #[test]
    fn copies_under_other_ids_have_one_fingerprint_and_are_of_one_mail() {
        let (id, to) = (Some("m".to_owned()), Some("a@a.example".to_owned()));
        let several = vec!["a@a.example".to_owned(), "b@b.example".to_owned()];
        for data in [
            Data { id, to: to.clone(), ..Data::default() },
            Data { to, ..Data::default() },
            Data { recipients: several, ..Data::default() },
        ] {
            let [a, b] = ["a", "b"].map(|identity| reported(identity, Kind::Bounced, false, &data, "one"));
            assert!(a.id != b.id && a.fingerprint.is_some(), "{data:?}");
            assert_eq!((a.fingerprint, a.mail), (b.fingerprint, b.mail), "{data:?}");
            assert_ne!(reported("a", Kind::Bounced, false, &data, "two").fingerprint, a.fingerprint);
        }
    }

    #[test]
    fn openings_are_kept_and_what_has_no_time_of_its_own_is_like_nothing_else() {
        let data = Data { id: Some("m".into()), ..Data::default() };
        let copies = |kind, untimed| reported("a", kind, untimed, &data, "one").fingerprint.map(|one| one.copies);
        assert_eq!(copies(Kind::Unsubscribed, false), Some(Copies::Repeat));
        assert_eq!(copies(Kind::Clicked, false), Some(Copies::Kept));
        assert_eq!(copies(Kind::Clicked, true), None);
        assert_eq!(copies(Kind::Received, false), None);
    }

    #[test]
    fn a_state_is_of_one_entity_at_one_source() {
        let told = |entity: &str, second: i64| waypost_providers::State {
            entity: entity.into(),
            holds: true,
            at: Timestamp::from_second(second).unwrap(),
        };
        let (one, later) = (condition(&told("contact:1", 1), "one"), condition(&told("contact:1", 2), "one"));
        assert_eq!((one.entity, one.mail()), (later.entity, later.mail()));
        assert!(one.state < later.state);
        for other in [condition(&told("contact:1", 1), "two"), condition(&told("contact:2", 1), "one")] {
            assert_ne!(other.entity, one.entity);
        }
    }

    #[test]
    fn an_event_goes_to_who_wants_its_type_source_and_one_of_its_tags() {
        let served = |source, tags| {
            let all = planned(source, tags).into_iter();
            all.filter(|(_, skipped)| !skipped).map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(served("eu", &["b", "a"]), ["all", "source", "tag", "both"]);
        assert_eq!(served("us", &["b"]), ["all", "source", "tag"]);
        assert_eq!(served("eu", &[]), ["all", "source"]);
        assert_eq!(served("EU", &["A"]), ["all"]);
    }

    #[test]
    fn a_disabled_endpoint_has_its_delivery_which_is_skipped() {
        assert!(planned("eu", &[]).contains(&("disabled".to_owned(), true)));
    }
}
