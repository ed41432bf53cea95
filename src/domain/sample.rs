//! Samples: an event of any type, made up, for an operator who wants to see what an endpoint does with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::value::RawValue;
use waypost_providers::Kind;
use waypost_providers::event::rfc3339_millis;

use super::delivery::Class;
use super::event_type::{EventType, Operational};
use super::fan_out::PlanError;
use super::id::{EndpointId, EventId, MailKey};
use super::plan::{Generation, Ingest, PlannedDelivery, StoredEvent, Unit};
use super::subscription::Subscription;

/// `data` by type; `provider.test` says that it is made up.
const SAMPLES: &str = include_str!("samples.json");

/// The type of a sample: the first of those that a subscription asks for.
pub fn kind(asked: &Subscription) -> Option<EventType> {
    let provider = Kind::ALL.into_iter().find(|kind| asked.wants(*kind)).map(EventType::from);
    let operational = || Operational::ALL.into_iter().find(|one| asked.wants_operational(*one)).map(EventType::from);
    provider.or_else(operational)
}

/// Plans the ingest of a sample for this endpoint alone. Like an operational event it belongs to no mail: it is in neither
/// the feed nor the lists of events, and suppresses nobody.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn plan(
    id: EventId,
    kind: EventType,
    endpoint: EndpointId,
    generation: Generation,
    at: Timestamp,
) -> Result<Ingest, PlanError> {
    let mut samples: BTreeMap<&str, Box<RawValue>> = serde_json::from_str(SAMPLES)?;
    let mail = MailKey::operational(id.as_str());
    let stored = StoredEvent {
        id: id.clone(),
        kind,
        created_at: rfc3339_millis(at),
        data: samples.remove(kind.as_str()).unwrap_or_default(),
        source: None,
        received_at: at,
        request_id: None,
        mail,
        possible_duplicate_of: None,
        endpoints: vec![endpoint.clone()],
    };
    let json = serde_json::to_vec(&stored)?.into();
    let deliveries = vec![PlannedDelivery { endpoint, class: Class::Normal, skipped: false }];
    let event = Arc::new(stored);
    let unit = Unit { id, kind, mail, fingerprint: None, event, json, deliveries, condition: None, suppresses: None };
    Ok(Ingest { guards: Vec::new(), raw: None, generation, units: vec![unit], states: Vec::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use waypost_providers::event::Data;

    use super::*;

    #[test]
    fn there_is_a_sample_of_each_type_with_fields_that_the_schema_knows() {
        let samples: BTreeMap<String, Value> = serde_json::from_str(SAMPLES).unwrap();
        let all = Kind::ALL.map(EventType::from).into_iter().chain(Operational::ALL.map(EventType::from));
        let names: Vec<_> = all.map(EventType::as_str).collect();
        assert_eq!(samples.len(), names.len());
        for name in names {
            let sample = &samples[name];
            if name.starts_with("waypost.") {
                assert!(sample.is_object(), "{name}");
                continue;
            }
            let data: Data = serde_json::from_value(sample.clone()).unwrap();
            assert!(data.provider.test && data.provider.kind == name, "{name}");
            assert_eq!(serde_json::to_value(&data).unwrap(), *sample, "{name} has a field that no event has");
        }
    }

    #[test]
    fn the_type_is_what_is_asked_for_first() {
        let of = |word: &str| kind(&Subscription::new(vec![word.to_owned()]).unwrap()).unwrap().as_str();
        assert_eq!((of("bounce"), of("*")), ("email.bounced", "email.sent"));
        assert_eq!((of("domain.verified"), of("waypost.*")), ("domain.verified", "waypost.endpoint.failing"));
    }
}
