//! Whom an event puts on the suppression list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use waypost::domain::address::Address;
use waypost::domain::delivery::Class;
use waypost::domain::plan::{Condition, Generation, Unit};
use waypost::domain::retention::Lifetimes;
use waypost::domain::state::State;
use waypost::domain::suppression::{Reason, Suppressed, Suppression, ToSuppress};
use waypost::store::{Ingested, PageQuery, Store, StoreError};

use super::Harness;
use crate::support::{at, endpoint, ingest, telling, unit};

const NEW: Ingested = Ingested::Stored { new: 1, repeated: 0 };

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// An event of a mail of its own that suppresses these.
fn suppressing(identity: &str, reason: Reason, second: i64, whom: &[&str]) -> Unit {
    let addresses = whom.iter().map(|one| address(one)).collect();
    let suppresses = Some(ToSuppress { reason, at: at(second), addresses });
    Unit { suppresses, ..unit("resend", identity, identity, Class::High, &["wh_a"]) }
}

fn listed(reason: Reason, identity: &str, second: i64) -> Suppression {
    Suppression { reason, event_id: Some(unit("resend", identity, "", Class::High, &[]).id), at: at(second) }
}

async fn put(store: &dyn Store, unit: Unit) -> Ingested {
    store.ingest(ingest(Generation(0), vec![unit])).await.unwrap()
}

async fn suppressions(store: &dyn Store, whom: &str) -> Vec<Suppression> {
    store.suppressions(&address(whom)).await.unwrap()
}

pub(crate) async fn an_event_suppresses_in_its_own_commit(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(suppressions(&*store, "nora@a.example").await, []);
    let event = suppressing("a", Reason::Bounce, 1, &["Nora <nora@a.example>"]);
    assert_eq!(put(&*store, event).await, NEW);
    let expected = [listed(Reason::Bounce, "a", 1)];
    for whom in ["nora@a.example", "NORA@A.example", "\"N\" <Nora@a.example>"] {
        assert_eq!(suppressions(&*store, whom).await, expected, "{whom}");
    }
    for other in ["omar@a.example", "nora@b.example", "nora+x@a.example"] {
        assert_eq!(suppressions(&*store, other).await, [], "{other}");
    }
    put(&*store, unit("resend", "b", "b", Class::High, &["wh_a"])).await;
    assert_eq!(suppressions(&*store, "nora@a.example").await, expected);
}

pub(crate) async fn each_of_several_is_suppressed(harness: &mut impl Harness) {
    let store = harness.store();
    let units = vec![
        unit("resend", "plain", "plain", Class::Normal, &["wh_a"]),
        suppressing("a", Reason::Complaint, 1, &["a@a.example", "b@a.example"]),
        suppressing("b", Reason::Unsubscribe, 2, &["c@a.example"]),
        unit("resend", "last", "last", Class::Normal, &["wh_a"]),
    ];
    let answer = store.ingest(ingest(Generation(0), units)).await.unwrap();
    assert_eq!(answer, Ingested::Stored { new: 4, repeated: 0 });
    for (whom, expected) in [
        ("a@a.example", listed(Reason::Complaint, "a", 1)),
        ("b@a.example", listed(Reason::Complaint, "a", 1)),
        ("c@a.example", listed(Reason::Unsubscribe, "b", 2)),
    ] {
        assert_eq!(suppressions(&*store, whom).await, [expected], "{whom}");
    }
}

pub(crate) async fn a_repeat_and_a_stale_plan_suppress_nobody(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, unit("resend", "a", "a", Class::High, &["wh_a"])).await, NEW);
    // The same identity, now with somebody to suppress: it changes nothing.
    let repeat = suppressing("a", Reason::Bounce, 1, &["nora@a.example"]);
    assert_eq!(put(&*store, repeat).await, Ingested::Stored { new: 0, repeated: 1 });
    store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap().unwrap();
    let stale = suppressing("b", Reason::Bounce, 1, &["nora@a.example"]);
    assert_eq!(put(&*store, stale).await, Ingested::Stale);
    assert_eq!(suppressions(&*store, "nora@a.example").await, []);
}

pub(crate) async fn an_event_that_is_none_suppresses_nobody(harness: &mut impl Harness) {
    let store = harness.store();
    let state = |identity, holds, second| {
        let condition = Condition { entity: [3; 16], state: State { at_ms: second * 1_000, holds } };
        telling(suppressing(identity, Reason::Unsubscribe, second, &["nora@a.example"]), condition)
    };
    put(&*store, state("a", false, 2)).await;
    put(&*store, state("b", true, 1)).await;
    assert_eq!(suppressions(&*store, "nora@a.example").await, []);
    assert_eq!(put(&*store, state("c", true, 3)).await, NEW);
    assert_eq!(suppressions(&*store, "nora@a.example").await, [listed(Reason::Unsubscribe, "c", 3)]);
}

pub(crate) async fn of_each_reason_the_earliest_event_stays(harness: &mut impl Harness) {
    let store = harness.store();
    let whom = ["nora@a.example"];
    // One mail, so that they meet wherever the engine keeps them.
    let of_one_mail = |identity, reason, second| {
        let unit = suppressing(identity, reason, second, &whom);
        Unit { mail: suppressing("mail", Reason::Bounce, 0, &[]).mail, ..unit }
    };
    for (reason, call) in [
        (Reason::Bounce, &[("a", 10)][..]),
        (Reason::Bounce, &[("later", 20), ("older", 5)]),
        (Reason::Complaint, &[("late", 9), ("b", 7), ("again", 7)]),
        (Reason::Complaint, &[("once more", 7)]),
    ] {
        let units: Vec<_> = call.iter().map(|(identity, second)| of_one_mail(identity, reason, *second)).collect();
        let new = u32::try_from(units.len()).unwrap();
        let answer = store.ingest(ingest(Generation(0), units)).await.unwrap();
        assert_eq!(answer, Ingested::Stored { new, repeated: 0 });
    }
    let expected = [listed(Reason::Bounce, "older", 5), listed(Reason::Complaint, "b", 7)];
    assert_eq!(suppressions(&*store, whom[0]).await, expected);
    // Events of many mails, in no order: of one reason all later than that, of the other the 13th is the earliest.
    for number in 0..20 {
        let reason = if number % 2 == 0 { Reason::Complaint } else { Reason::Unsubscribe };
        put(&*store, suppressing(&format!("m{number}"), reason, 100 + (number * 3 + 1) % 20, &whom)).await;
    }
    let all = suppressions(&*store, whom[0]).await;
    assert_eq!(all, [&expected[..], &[listed(Reason::Unsubscribe, "m13", 100)]].concat());
}

pub(crate) async fn a_suppression_outlives_its_event_and_a_reopen(harness: &mut impl Harness) {
    let moment = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: moment, requests: moment, tokens: moment }).await;
    let store = harness.store();
    let event = suppressing("a", Reason::Bounce, 1, &["nora@a.example"]);
    assert_eq!(put(&*store, event.clone()).await, NEW);
    for _ in 0..1_000 {
        if store.event(&event.id).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(store.event(&event.id).await.unwrap().is_none());
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(suppressions(&*store, "nora@a.example").await, [listed(Reason::Bounce, "a", 1)]);
    // The identity is new again, and the earliest event stays.
    let again = ToSuppress { at: at(9), ..event.suppresses.clone().unwrap() };
    assert_eq!(put(&*store, Unit { suppresses: Some(again), ..event }).await, NEW);
    assert_eq!(suppressions(&*store, "nora@a.example").await, [listed(Reason::Bounce, "a", 1)]);
}

pub(crate) async fn an_address_is_put_on_the_list_and_taken_off_by_hand(harness: &mut impl Harness) {
    let (store, nora) = (harness.store(), address("Nora <NORA@a.example>"));
    assert!(!store.unsuppress(&nora).await.unwrap(), "it is not on it");
    assert!(store.suppress(&nora, Reason::Manual, at(5)).await.unwrap());
    assert!(!store.suppress(&nora, Reason::Manual, at(6)).await.unwrap(), "it is there");
    assert!(store.suppress(&nora, Reason::Bounce, at(7)).await.unwrap());
    // An event that happened before takes the place of what was put there for its reason, a later one does not.
    let event = suppressing("a", Reason::Bounce, 1, &["nora@a.example"]);
    assert_eq!(put(&*store, event.clone()).await, NEW);
    put(&*store, suppressing("b", Reason::Complaint, 9, &["nora@a.example"])).await;
    let by_hand = Suppression { reason: Reason::Manual, event_id: None, at: at(5) };
    let expected = [listed(Reason::Bounce, "a", 1), by_hand, listed(Reason::Complaint, "b", 9)];
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(suppressions(&*store, "nora@a.example").await, expected);
    assert!(store.suppress(&address("omar@a.example"), Reason::Manual, at(5)).await.unwrap());
    assert!(store.unsuppress(&nora).await.unwrap());
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(suppressions(&*store, "nora@a.example").await, []);
    assert_eq!(suppressions(&*store, "omar@a.example").await.len(), 1, "another stays");
    // What is sent again suppresses nobody again; what is new does.
    assert_eq!(put(&*store, event).await, Ingested::Stored { new: 0, repeated: 1 });
    assert_eq!(suppressions(&*store, "nora@a.example").await, []);
    put(&*store, suppressing("c", Reason::Bounce, 2, &["nora@a.example"])).await;
    assert_eq!(suppressions(&*store, "nora@a.example").await, [listed(Reason::Bounce, "c", 2)]);
}

async fn page(store: &dyn Store, cursor: Option<String>, limit: usize) -> (Vec<Suppressed>, Option<String>) {
    let page = store.suppressed(&PageQuery { cursor, limit }).await.unwrap();
    assert!(page.items.len() <= limit);
    (page.items, page.next)
}

pub(crate) async fn the_list_is_read_in_pages_while_it_changes(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(page(&*store, None, 10).await, (vec![], None));
    // Events of many mails; all of them suppress one address too.
    for number in 0..30 {
        let whom = [format!("n{number}@a.example"), "all@a.example".to_owned()];
        let event = suppressing(&whom[0], Reason::Bounce, number, &[&whom[0], &whom[1]]);
        put(&*store, naming(event, &serde_json::json!({ "recipients": whom }))).await;
    }
    assert!(store.suppress(&address("hand@a.example"), Reason::Manual, at(5)).await.unwrap());
    let (all, end) = page(&*store, None, 1_000).await;
    assert_eq!((all.len(), end), (32, None));
    assert!(all.iter().all(|one| one.reasons.len() == 1), "of each reason the earliest alone is told");
    let (mut seen, mut cursor) = page(&*store, None, 7).await;
    assert_eq!(&seen[..], &all[..7]);
    // One that was shown goes, one that was not goes, others come.
    let gone = all[7..].iter().rfind(|one| one.address.is_some()).unwrap();
    let shown = seen.iter().find(|one| one.address.is_some()).unwrap();
    for one in [shown, gone] {
        assert!(store.unsuppress(one.address.as_ref().unwrap()).await.unwrap());
    }
    while cursor.is_some() {
        let (items, next) = page(&*store, cursor, 7).await;
        seen.extend(items);
        cursor = next;
        put(&*store, suppressing(&format!("later{}", seen.len()), Reason::Complaint, 1, &["later@a.example"])).await;
    }
    let distinct: BTreeSet<_> = seen.iter().map(|one| &one.id).collect();
    assert_eq!(distinct.len(), seen.len(), "one was shown twice");
    assert!(all.iter().all(|one| distinct.contains(&one.id) == (one.id != gone.id)), "one that stays was left out");
    for wrong in ["what", "00", &"f".repeat(34)] {
        let asked = PageQuery { cursor: Some(wrong.into()), limit: 1 };
        assert!(matches!(store.suppressed(&asked).await, Err(StoreError::BadCursor)), "{wrong}");
    }
}

/// The event as it is kept names these.
fn naming(event: Unit, data: &serde_json::Value) -> Unit {
    let mut stored = (*event.event).clone();
    stored.data = serde_json::value::to_raw_value(data).unwrap();
    Unit { json: serde_json::to_vec(&stored).unwrap().into(), event: Arc::new(stored), ..event }
}

pub(crate) async fn an_address_is_listed_while_an_event_names_it(harness: &mut impl Harness) {
    let moment = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: moment, requests: moment, tokens: moment }).await;
    let store = harness.store();
    let to = serde_json::json!({"to": "Nora <Nora@a.example>"});
    let several = serde_json::json!({"recipients": ["x@a.example", "OMAR@a.example"]});
    let one = naming(suppressing("a", Reason::Bounce, 1, &["nora@a.example"]), &to);
    put(&*store, one.clone()).await;
    put(&*store, naming(suppressing("b", Reason::Complaint, 2, &["omar@a.example"]), &several)).await;
    // Who is named by no event that suppresses it, and who was put there by hand.
    put(&*store, suppressing("c", Reason::Bounce, 3, &["pia@a.example"])).await;
    store.suppress(&address("hand@a.example"), Reason::Manual, at(5)).await.unwrap();
    let listed_now = page(&*store, None, 10).await.0;
    let named: BTreeSet<_> = listed_now.iter().filter_map(|one| one.address.as_ref()?.as_str().into()).collect();
    assert_eq!((listed_now.len(), named), (4, ["nora@a.example", "omar@a.example"].into()));
    for item in &listed_now {
        if let Some(address) = &item.address {
            assert_eq!(store.suppressions(address).await.unwrap(), item.reasons);
        }
    }
    while store.event(&one.id).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(store);
    harness.reopen().await;
    let later = page(&*harness.store(), None, 10).await.0;
    assert!(later.iter().all(|one| one.address.is_none()), "{later:?}");
    let same = |one: &Suppressed, other: &Suppressed| (&one.id, &one.reasons) == (&other.id, &other.reasons);
    assert!(later.len() == 4 && later.iter().zip(&listed_now).all(|(one, other)| same(one, other)));
}
