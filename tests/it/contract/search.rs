//! Events that are searched for: by whom and what mail they are about, and by all else that they say.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use waypost::domain::address::Address;
use waypost::domain::delivery::Class;
use waypost::domain::id::{EventId, MailKey};
use waypost::domain::plan::{Generation, Ingest, StoredEvent, Unit};
use waypost::domain::retention::Lifetimes;
use waypost::domain::search::{MailId, Search};
use waypost::domain::subscription::Subscription;
use waypost::store::{LOOKED_AT_MAX, PageQuery, Store, StoreError};

use super::Harness;
use crate::support::{ingest, unit};

fn with(unit: Unit, change: impl FnOnce(&mut StoredEvent)) -> Unit {
    let mut stored = (*unit.event).clone();
    change(&mut stored);
    let json = serde_json::to_vec(&stored).unwrap().into();
    Unit { kind: stored.kind, mail: stored.mail, json, event: Arc::new(stored), ..unit }
}

/// An event that says this.
pub(crate) fn saying(identity: &str, data: &Value) -> Unit {
    let unit = unit("resend", identity, identity, Class::High, &[]);
    with(unit, |stored| stored.data = serde_json::value::to_raw_value(data).unwrap())
}

fn id(identity: &str) -> EventId {
    EventId::of("resend", identity)
}

async fn put(store: &dyn Store, units: Vec<Unit>) {
    store.ingest(ingest(Generation(0), units)).await.unwrap();
}

fn to(recipient: &str) -> Search {
    Search { recipient: Some(Address::parse(recipient).unwrap()), ..Search::default() }
}

fn of(mail: &str) -> Search {
    Search { mail: Some(MailId::parse(mail).unwrap()), ..Search::default() }
}

/// All of them, in parts of two.
async fn found(store: &dyn Store, search: &Search) -> Vec<EventId> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.search(search, &PageQuery { cursor, limit: 2 }).await.unwrap();
        assert!(part.items.len() <= 2);
        all.extend(part.items.into_iter().map(|event| event.id));
        match part.next {
            Some((next, _)) => cursor = Some(next),
            None => return all,
        }
    }
}

pub(crate) async fn each_recipient_and_either_id_finds_an_event(harness: &mut impl Harness) {
    let several = json!({"id": "1", "message_id": "<One@a.example>", "recipients": ["Nora <NORA@c.example>", "omar@c.example", "no address"]});
    put(&*harness.store(), vec![saying("a", &several), saying("b", &json!({"id": "2", "to": "nora@C.example"}))]).await;
    put(&*harness.store(), vec![saying("c", &json!({"to": "nora@c.example"})), saying("a", &several)]).await;
    for _ in 0..2 {
        let store = harness.store();
        assert_eq!(found(&*store, &to("<Nora@C.EXAMPLE>")).await, [id("c"), id("b"), id("a")]);
        assert_eq!(found(&*store, &to("omar@c.example")).await, [id("a")]);
        for mail in ["1", "<1>", "One@a.example", " <One@a.example> "] {
            assert_eq!(found(&*store, &of(mail)).await, [id("a")], "{mail}");
        }
        for nothing in [of("one@a.example"), of("3"), to("c@c.example"), of("nora@c.example")] {
            assert_eq!(found(&*store, &nothing).await, [], "{nothing:?}");
        }
        drop(store);
        harness.reopen().await;
    }
}

pub(crate) async fn all_that_is_asked_for_holds(harness: &mut impl Harness) {
    let store = harness.store();
    let tagged = saying("tagged", &json!({"id": "1", "to": "nora@c.example", "tags": ["a", "b"]}));
    let opened = unit("sendgrid", "opened", "opened", Class::Normal, &[]);
    let opened = with(opened, |stored| stored.data = tagged.event.data.clone());
    let other = saying("other", &json!({"id": "2", "to": "nora@c.example", "tags": ["b"]}));
    put(&*store, vec![tagged]).await;
    put(&*store, vec![opened.clone(), other]).await;
    let tag = |tag: &str, search: Search| Search { tag: Some(tag.into()), ..search };
    let kind = |kind: &str, search| Search { types: Subscription::new(vec![kind.into()]).ok(), ..search };
    let source = Search { source: Some("resend".into()), ..to("nora@c.example") };
    let [tagged, opened, other] = [id("tagged"), opened.id, id("other")];
    let sorted = async |search| {
        let mut ids = found(&*store, &search).await;
        ids.sort();
        ids
    };
    let ids = |mut ids: Vec<&EventId>| {
        ids.sort();
        ids.into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(sorted(tag("a", Search::default())).await, ids(vec![&tagged, &opened]));
    assert_eq!(sorted(tag("b", kind("email.bounced", Search::default()))).await, ids(vec![&tagged, &other]));
    assert_eq!(sorted(source.clone()).await, ids(vec![&tagged, &other]));
    assert_eq!(sorted(tag("a", source)).await, ids(vec![&tagged]));
    assert_eq!(sorted(Search { mail: MailId::parse("2"), ..to("nora@c.example") }).await, ids(vec![&other]));
    assert_eq!(sorted(kind("email.opened", of("1"))).await, ids(vec![&opened]));
    assert_eq!(sorted(Search { mail: MailId::parse("1"), ..to("omar@c.example") }).await, ids(vec![]));
}

pub(crate) async fn what_expired_is_not_found(harness: &mut impl Harness) {
    let second = Duration::from_secs(1);
    harness.reopen_for(Lifetimes { events: second, requests: second, tokens: second }).await;
    let store = harness.store();
    let event = || saying("a", &json!({"id": "1", "to": "nora@c.example"}));
    for _ in 0..2 {
        put(&*store, vec![event()]).await;
        assert_eq!(found(&*store, &to("nora@c.example")).await, [id("a")], "once, though it came again");
        while store.event(&id("a")).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(found(&*store, &to("nora@c.example")).await, []);
        assert_eq!(store.events_of_mail(&[MailId::parse("1").unwrap()], &first(9)).await.unwrap().items.len(), 0);
    }
}

fn first(limit: usize) -> PageQuery {
    PageQuery { cursor: None, limit }
}

pub(crate) async fn pages_skip_and_double_nothing_while_more_come(harness: &mut impl Harness) {
    let store = harness.store();
    let event =
        |number: usize| saying(&format!("{number}"), &json!({"id": "1", "to": "nora@c.example", "tags": ["t"]}));
    // Each mail in a partition of its own, and all of one in one.
    for number in 0..25 {
        let mail = event(number).mail;
        let apart =
            with(event(number), |stored| stored.mail = if number < 12 { MailKey::of("mail", "1") } else { mail });
        put(&*store, vec![apart]).await;
    }
    let mut before: Vec<_> = (0..25).rev().map(|number| id(&number.to_string())).collect();
    let searches = [to("nora@c.example"), of("1"), Search { tag: Some("t".into()), ..Search::default() }];
    let mut next = 25;
    for search in &searches {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let part = store.search(search, &PageQuery { cursor, limit: 4 }).await.unwrap();
            seen.extend(part.items.into_iter().map(|event| event.id));
            let Some((goes_on, _)) = part.next else { break };
            cursor = Some(goes_on);
            put(&*store, vec![event(next)]).await;
            before.insert(0, id(&next.to_string()));
            next += 1;
        }
        assert_eq!(seen, before[before.len() - seen.len()..], "{search:?}");
        assert!(seen.len() >= 25, "{} of {}", seen.len(), before.len());
    }
    // In the order of commits, so what comes meanwhile comes last.
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.events_of_mail(&[MailId::parse("1").unwrap()], &PageQuery { cursor, limit: 4 }).await.unwrap();
        seen.extend(part.items.into_iter().map(|event| event.id));
        if next < 50 {
            put(&*store, vec![event(next)]).await;
            before.insert(0, id(&next.to_string()));
            next += 1;
        }
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, before[before.len() - seen.len()..]);
    assert!(seen.len() >= 45, "{}", seen.len());
}

/// The store's time.
async fn now(store: &dyn Store) -> Timestamp {
    put(store, vec![saying("now", &json!({})), saying("after", &json!({}))]).await;
    store.search(&Search::default(), &first(1)).await.unwrap().next.unwrap().1
}

pub(crate) async fn a_span_is_of_receipts(harness: &mut impl Harness) {
    let store = harness.store();
    let now = now(&*store).await;
    let at = |seconds| now + SignedDuration::from_secs(seconds);
    // Out of order, as gateways and providers are.
    for second in [3, 1, 2, 0, -40, -50] {
        let event = saying(&second.to_string(), &json!({"to": "nora@c.example", "tags": ["t"]}));
        put(&*store, vec![with(event, |stored| stored.received_at = at(second))]).await;
    }
    for search in [to("nora@c.example"), Search { tag: Some("t".into()), ..Search::default() }] {
        let within = async |since: Option<i64>, until: Option<i64>| {
            let (since, until) = (since.map(at), until.map(at));
            found(&*store, &Search { since, until, ..search.clone() }).await
        };
        assert_eq!(within(Some(1), Some(3)).await, [id("2"), id("1")], "the end is not included");
        assert_eq!(within(Some(2), None).await, [id("2"), id("3")]);
        assert_eq!(within(None, Some(0)).await, [id("-50"), id("-40")]);
        assert_eq!(within(Some(4), Some(5)).await, []);
        assert_eq!(within(Some(-90_000), Some(-80_000)).await, []);
        assert_eq!(within(Some(80_000), None).await, []);
        assert_eq!(within(Some(-90_000), Some(80_000)).await.len(), 6);
    }
}

pub(crate) async fn what_was_reprocessed_is_found_by_its_receipt(harness: &mut impl Harness) {
    let store = harness.store();
    let now = now(&*store).await;
    let day = SignedDuration::from_hours(24);
    let event = |identity: &str, received_at| {
        let event = saying(identity, &json!({"to": "nora@c.example", "tags": ["t"]}));
        with(event, |stored| stored.received_at = received_at)
    };
    let request = |lacks, units| {
        let mut plan = ingest(Generation(0), vec![event("late", now - day)]);
        let raw = plan.raw.as_mut().unwrap();
        (raw.unmapped, raw.request.received_at) = (lacks, now - day);
        Ingest { units, ..plan }
    };
    store.ingest(request(1, vec![])).await.unwrap();
    assert!(store.reprocess(request(0, vec![event("late", now - day)])).await.unwrap().is_some());
    put(&*store, vec![event("live", now)]).await;
    for search in [to("nora@c.example"), Search { tag: Some("t".into()), ..Search::default() }] {
        let of_yesterday = Search { since: Some(now - day * 2), until: Some(now - day / 2), ..search.clone() };
        assert_eq!(found(&*store, &of_yesterday).await, [id("late")]);
        assert_eq!(found(&*store, &Search { since: Some(now - day / 2), ..search }).await, [id("live")]);
    }
}

pub(crate) async fn a_scan_tells_how_far_it_got_and_goes_on(harness: &mut impl Harness) {
    let store = harness.store();
    let now = now(&*store).await;
    put(&*store, vec![saying("first", &json!({"tags": ["t"], "to": "nora@c.example"}))]).await;
    for part in 0..3 {
        let many = (0..700).map(|number| saying(&format!("{part}-{number}"), &json!({})));
        put(&*store, many.collect()).await;
    }
    let tagged = Search { tag: Some("t".into()), ..Search::default() };
    let part = store.search(&tagged, &first(10)).await.unwrap();
    let (cursor, scanned_to) = part.next.unwrap();
    assert!(part.items.is_empty() && scanned_to >= now, "{scanned_to}, {now}");
    let rest = store.search(&tagged, &PageQuery { cursor: Some(cursor), limit: 10 }).await.unwrap();
    assert!(rest.next.is_none() && rest.items.len() == 1);
    const { assert!(2_100 > LOOKED_AT_MAX, "so one look is not enough") };
    // An index leads there at once, and what is outside of a span is not looked at.
    let part = store.search(&to("nora@c.example"), &first(10)).await.unwrap();
    assert_eq!((part.items.len(), part.next), (1, None));
    let hour = SignedDuration::from_hours(1);
    for (since, until) in [(None, Some(now - hour)), (Some(now + hour), None)] {
        let part = store.search(&Search { since, until, ..tagged.clone() }, &first(10)).await.unwrap();
        assert_eq!((part.items.len(), part.next), (0, None));
    }
}

pub(crate) async fn a_mails_events_come_in_order_by_any_of_its_ids(harness: &mut impl Harness) {
    let store = harness.store();
    let both = json!({"id": "1", "message_id": "<one@a.example>"});
    let all = ["sent", "delivered", "opened"];
    for (identity, data) in all.into_iter().zip([both.clone(), both, json!({"id": "1"})]) {
        put(&*store, vec![with(saying(identity, &data), |stored| stored.mail = MailKey::of("mail", "1"))]).await;
    }
    put(&*store, vec![saying("received", &json!({"message_id": "<one@a.example>"}))]).await;
    let told = async |ids: &[&str], limit| {
        let ids: Vec<_> = ids.iter().map(|id| MailId::parse(id).unwrap()).collect();
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let part = store.events_of_mail(&ids, &PageQuery { cursor, limit }).await.unwrap();
            all.extend(part.items.into_iter().map(|event| event.id));
            cursor = part.next;
            if cursor.is_none() {
                return all;
            }
        }
    };
    for limit in [1, 2, 100] {
        assert_eq!(told(&["1"], limit).await, all.map(id));
        assert_eq!(told(&["one@a.example"], limit).await, ["sent", "delivered", "received"].map(id));
        assert_eq!(told(&["one@a.example", "1"], limit).await, ["sent", "delivered", "opened", "received"].map(id));
        assert!(told(&["2"], limit).await.is_empty());
    }
}

pub(crate) async fn what_waypost_made_is_found_by_nothing(harness: &mut impl Harness) {
    let store = harness.store();
    let data = json!({"id": "1", "to": "nora@c.example", "tags": ["t"]});
    let sample = with(saying("sample", &data), |stored| stored.mail = MailKey::operational("sample"));
    put(&*store, vec![sample, saying("live", &data)]).await;
    for search in [to("nora@c.example"), of("1"), Search { tag: Some("t".into()), ..Search::default() }] {
        assert_eq!(found(&*store, &search).await, [id("live")]);
    }
    let story = store.events_of_mail(&[MailId::parse("1").unwrap()], &first(9)).await.unwrap();
    assert_eq!(story.items.len(), 1);
}

pub(crate) async fn a_cursor_is_a_place_and_nobodys_is_refused(harness: &mut impl Harness) {
    let store = harness.store();
    for number in 0..6 {
        put(&*store, vec![saying(&number.to_string(), &json!({"id": "1", "to": "nora@c.example"}))]).await;
    }
    // After the latest three.
    let part = store.search(&Search::default(), &first(3)).await.unwrap();
    let on = PageQuery { cursor: part.next.map(|(cursor, _)| cursor), limit: 10 };
    let rest = store.search(&to("nora@c.example"), &on).await.unwrap().items;
    assert_eq!(rest.into_iter().map(|event| event.id).collect::<Vec<_>>(), ["2", "1", "0"].map(id));
    let rest = store.events_of_mail(&[MailId::parse("1").unwrap()], &on).await.unwrap().items;
    assert_eq!(rest.into_iter().map(|event| event.id).collect::<Vec<_>>(), ["4", "5"].map(id));
    for cursor in ["", "what", "00", "1-2", "1-2-3-4", "MXxh", "\u{e9}"] {
        let page = PageQuery { cursor: Some(cursor.into()), limit: 1 };
        let refused = store.search(&to("nora@c.example"), &page).await;
        assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}: {refused:?}");
        let refused = store.events_of_mail(&[MailId::parse("1").unwrap()], &page).await;
        assert!(matches!(refused, Err(StoreError::BadCursor)), "{cursor}: {refused:?}");
    }
}
