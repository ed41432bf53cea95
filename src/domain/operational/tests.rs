use super::*;
use crate::domain::endpoint::{EndpointSettings, Origin};
use crate::domain::event_type::EventType;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn asking(id: &str, words: &[&str], sources: &[&str]) -> Endpoint {
    let settings: EndpointSettings = serde_json::from_value(serde_json::json!({
        "url": "https://hooks.example/", "events": words, "sources": sources, "tags": ["billing"],
        "signatures": ["drin"], "retry": [], "timeout_s": 1, "max_in_flight": 1, "format": "drin", "active": true,
    }))
    .unwrap();
    Endpoint {
        id: id.into(),
        number: 1,
        settings,
        origin: Origin::File,
        disabled: None,
        enabled_at: None,
        created_at: NOW,
    }
}

fn open() -> Breaker {
    (0..10).fold(Breaker::default(), |breaker, _| breaker.after(false, at(1)))
}

fn letter(mail: MailKey) -> Option<Occasion> {
    let event = EventId::of("resend", "msg_1");
    let endpoint = EndpointId::from("wh_a");
    let id = DeliveryId::of(&event, &endpoint, None);
    let reason = EndReason::Exhausted;
    let source = Some("resend");
    Occasion::exhausted(DeadLetter { id: &id, event: &event, mail, source, endpoint: &endpoint, reason }, at(5))
}

fn dead() -> Occasion {
    letter(MailKey::of("mail", "1")).unwrap()
}

/// Who gets it.
fn told(occasion: &Occasion, endpoints: &[Endpoint]) -> Vec<String> {
    let ingest = plan(std::slice::from_ref(occasion), Generation(1), endpoints).unwrap();
    let deliveries = ingest.units.iter().flat_map(|unit| &unit.deliveries);
    deliveries.map(|delivery| delivery.endpoint.to_string()).collect()
}

fn json(occasion: &Occasion) -> serde_json::Value {
    serde_json::to_value(&occasion.data).unwrap()
}

#[test]
fn an_endpoint_fails_from_when_its_breaker_opens_and_each_probe_says_the_same() {
    let failing = |breaker, second| Occasion::failing(&"wh_a".into(), breaker, Some(500), at(second));
    assert_eq!(failing(Breaker { failures: 9, ..open() }, 2), None);
    let (first, probe) = (failing(open(), 2).unwrap(), failing(open().after(false, at(60)), 60).unwrap());
    assert_eq!(first.id, probe.id);
    assert_eq!(json(&first), serde_json::json!({"endpoint_id": "wh_a", "reason": "http_500"}));
    let again = Breaker { since: Some(at(9)), ..open() };
    assert_ne!(failing(again, 9).unwrap().id, first.id, "another spell");
    assert_ne!(Occasion::failing(&"wh_b".into(), open(), None, at(2)).unwrap().id, first.id);
    let silent = Occasion::failing(&"wh_a".into(), open(), None, at(2)).unwrap();
    assert_eq!(json(&silent)["reason"], "no_answer");
}

#[test]
fn an_endpoint_recovers_from_an_open_breaker_and_from_being_disabled() {
    let recovered = |before| Occasion::recovered(&"wh_a".into(), before, at(9));
    let few = (0..9).fold(Breaker::default(), |breaker, _| breaker.after(false, at(1)));
    assert_eq!(recovered(few), None);
    assert_eq!(json(&recovered(open()).unwrap()), serde_json::json!({"endpoint_id": "wh_a"}));
    let enabled = few.disabled(at(5)).after(false, at(6));
    assert_ne!(recovered(enabled).unwrap().id, recovered(open()).unwrap().id);
    assert_eq!(recovered(enabled), recovered(enabled.after(false, at(7))));
    assert_eq!(recovered(open().forgiven()), recovered(open()), "it was told that it fails");
}

#[test]
fn disabled_is_told_where_waypost_did_it() {
    let disabled = |reason| Occasion::disabled(&"wh_a".into(), &Disabled { reason, at: at(5) });
    assert_eq!(json(&disabled(DisabledReason::Gone).unwrap())["reason"], "gone");
    assert_eq!(json(&disabled(DisabledReason::Failing).unwrap())["reason"], "failing");
    for reason in [DisabledReason::Removed, DisabledReason::Operator, DisabledReason::Api] {
        assert_eq!(disabled(reason), None);
    }
}

#[test]
fn a_dead_letter_is_told_unless_it_was_an_operational_event() {
    let told = dead();
    assert_eq!(
        json(&told),
        serde_json::json!({"endpoint_id": "wh_a", "source": "resend", "reason": "exhausted",
            "event_id": EventId::of("resend", "msg_1"),
            "delivery_id": DeliveryId::of(&EventId::of("resend", "msg_1"), &"wh_a".into(), None)})
    );
    assert_eq!(letter(told.mail), None);
}

#[test]
fn a_spell_of_refusals_is_one_event() {
    let rejecting = |since, reason: &str, now| Occasion::rejecting("resend", at(since), reason.into(), at(now));
    assert_eq!(rejecting(1, "a", 2).id, rejecting(1, "b", 3).id);
    assert_ne!(rejecting(1, "a", 2).id, rejecting(2, "a", 2).id);
    assert_eq!(json(&rejecting(1, "a", 2)), serde_json::json!({"source": "resend", "reason": "a"}));
}

#[test]
fn it_goes_to_those_who_ask_for_it_but_for_the_endpoint_it_is_about() {
    let all = ["wh_a", "wh_b", "wh_c"].map(|id| asking(id, &["*", "waypost.*"], &[]));
    let others = [asking("wh_d", &["*"], &[]), asking("wh_e", &["waypost.delivery.exhausted"], &[])];
    let all = [&all[..], &others].concat();
    assert_eq!(told(&dead(), &all), ["wh_b", "wh_c", "wh_e"]);
    assert_eq!(told(&Occasion::recovered(&"wh_b".into(), open(), NOW).unwrap(), &all), ["wh_a", "wh_c"]);
    assert_eq!(told(&Occasion::rejecting("resend", NOW, "a".into(), NOW), &all), ["wh_a", "wh_b", "wh_c"]);
}

#[test]
fn a_filter_on_sources_is_held_against_what_is_of_a_source() {
    let all = [asking("wh_b", &["waypost.*"], &["mailgun"]), asking("wh_c", &["waypost.*"], &["resend", "mailgun"])];
    assert_eq!(told(&dead(), &all), ["wh_c"]);
    assert_eq!(told(&Occasion::failing(&"wh_a".into(), open(), None, NOW).unwrap(), &all), ["wh_b", "wh_c"]);
}

#[test]
fn a_plan_has_each_once_and_none_that_nobody_asks_for() {
    let endpoints = [asking("wh_b", &["waypost.delivery.exhausted"], &[])];
    let failing = Occasion::failing(&"wh_a".into(), open(), None, NOW).unwrap();
    let ingest = plan(&[dead(), failing, dead()], Generation(7), &endpoints).unwrap();
    assert!(ingest.raw.is_none() && ingest.guards.is_empty() && ingest.generation == Generation(7));
    let [unit] = &ingest.units[..] else { panic!("{:?}", ingest.units) };
    assert_eq!(unit.kind, EventType::Operational(Operational::DeliveryExhausted));
    let stored: StoredEvent = serde_json::from_slice(&unit.json).unwrap();
    assert_eq!((stored.id, stored.created_at.as_str()), (unit.id.clone(), "1970-01-01T00:00:05.000Z"));
    assert_eq!((stored.request_id, stored.source.as_deref()), (None, Some("resend")));
}

#[test]
fn a_disabled_endpoint_skips_it() {
    let disabled = Some(Disabled { reason: DisabledReason::Gone, at: NOW });
    let endpoint = Endpoint { disabled, ..asking("wh_b", &["waypost.*"], &[]) };
    let ingest = plan(&[dead()], Generation(1), &[endpoint]).unwrap();
    assert!(ingest.units[0].deliveries[0].skipped);
}
