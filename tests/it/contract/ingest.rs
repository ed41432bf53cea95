//! What an ingest changes.

use std::collections::BTreeSet;

use waypost::domain::delivery::{Class, Status};
use waypost::domain::id::RequestId;
use waypost::domain::plan::{Generation, Ingest, Unit};
use waypost::store::{Committed, Fate, Ingested, PageQuery, Store};
use waypost_providers::ReplayGuard;
use xxhash_rust::xxh3::xxh3_64;

use super::{Harness, LONG, lease};
use crate::support::{DELIVERED, endpoint, finished, ingest, unit};

const NEW: Ingested = Ingested::Stored { new: 1, repeated: 0 };
const REPEATED: Ingested = Ingested::Stored { new: 0, repeated: 1 };
const NOTHING: Ingested = Ingested::Stored { new: 0, repeated: 0 };

fn one(identity: &str) -> Unit {
    unit("resend", identity, identity, Class::Normal, &["wh_a"])
}

async fn put(store: &dyn Store, unit: Unit) -> Ingested {
    store.ingest(ingest(Generation(0), vec![unit])).await.unwrap()
}

async fn count(store: &dyn Store) -> usize {
    store.events(&PageQuery { cursor: None, limit: 100 }).await.unwrap().items.len()
}

pub(crate) async fn a_copy_is_a_repeat(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, one("a")).await, NEW);
    assert_eq!(put(&*store, one("a")).await, REPEATED);
    let mixed = vec![one("a"), one("b"), one("b")];
    let answer = store.ingest(ingest(Generation(0), mixed)).await.unwrap();
    assert_eq!(answer, Ingested::Stored { new: 1, repeated: 2 });
    assert_eq!(count(&*store).await, 2);
    assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 2);
}

pub(crate) async fn two_sources_differ(harness: &mut impl Harness) {
    let store = harness.store();
    assert_eq!(put(&*store, one("a")).await, NEW);
    assert_eq!(put(&*store, unit("resend-eu", "a", "a", Class::Normal, &["wh_a"])).await, NEW);
}

pub(crate) async fn what_was_stored_survives_a_reopen(harness: &mut impl Harness) {
    let store = harness.store();
    let generation = store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap().unwrap();
    let plan = |identity| ingest(generation, vec![one(identity)]);
    store.ingest(plan("a")).await.unwrap();
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    assert_eq!(store.finish(vec![finished(&leases[0], DELIVERED)]).await.unwrap(), []);
    store.ingest(plan("b")).await.unwrap();
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(store.endpoints().await.unwrap().generation, generation);
    assert_eq!(store.endpoints().await.unwrap().all, [endpoint("wh_a")]);
    assert_eq!(store.ingest(plan("a")).await.unwrap(), REPEATED);
    let event = store.event(&one("a").id).await.unwrap().unwrap();
    assert_eq!(event.data.get(), r#"{"identity":"a"}"#);
    let deliveries = store.deliveries_of(&event.id).await.unwrap();
    assert_eq!((deliveries[0].status, deliveries[0].attempts.len()), (Status::Delivered, 1));
    let left = lease(&*store, "wh_a", 10, LONG).await;
    assert!(matches!(&left[..], [lease] if lease.event_id == one("b").id && lease.number == 1), "{left:?}");
}

pub(crate) async fn a_stale_plan_changes_nothing(harness: &mut impl Harness) {
    let store = harness.store();
    let generation = store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap().unwrap();
    assert_eq!(put(&*store, one("a")).await, Ingested::Stale);
    assert!(store.event(&one("a").id).await.unwrap().is_none());
    assert_eq!(count(&*store).await, 0);
    assert_eq!(lease(&*store, "wh_a", 10, LONG).await.len(), 0);
    assert_eq!(store.ingest(ingest(generation, vec![one("a")])).await.unwrap(), NEW);
}

pub(crate) async fn each_of_a_call_has_its_own_fate(harness: &mut impl Harness) {
    let store = harness.store();
    let generation = store.change_endpoints(Generation(0), &[endpoint("wh_a")]).await.unwrap().unwrap();
    let guarded = |identity, tokens: &[u8], digest| {
        let guards = tokens.iter().map(|token| ReplayGuard { token: [*token; 32], digest: [digest; 32] }).collect();
        Ingest { guards, ..ingest(generation, vec![one(identity)]) }
    };
    assert_eq!(store.ingest(guarded("old", &[8, 9], 1)).await.unwrap(), NEW);
    let call = [
        (guarded("a", &[7], 1), NEW),
        (guarded("forged", &[7], 2), Ingested::Forged),
        (ingest(Generation(0), vec![one("stale")]), Ingested::Stale),
        (guarded("a", &[7], 1), REPEATED),
        (guarded("forged too", &[6, 9], 2), Ingested::Forged),
        (ingest(generation, vec![one("b"), one("a")]), Ingested::Stored { new: 1, repeated: 1 }),
        (ingest(generation, vec![]), NOTHING),
        (ingest(generation, vec![one("stale")]), NEW),
    ];
    let (ingests, expected): (Vec<_>, Vec<_>) = call.into_iter().unzip();
    let raws: Vec<_> = ingests.iter().map(|ingest| ingest.raw.as_ref().unwrap().id.clone()).collect();
    let answers: Vec<_> = store.ingest_all(ingests).await.into_iter().map(Result::unwrap).collect();
    // What became of each event, in order.
    assert_eq!(answers[5], Committed::Stored(vec![Fate::New, Fate::Repeated]));
    assert_eq!(answers.into_iter().map(Ingested::from).collect::<Vec<_>>(), expected);
    for (raw, expected) in raws.into_iter().zip(expected) {
        assert_eq!(store.request(&raw).await.unwrap().is_none(), expected == Ingested::Forged, "{expected:?}");
    }
    let leased = lease(&*store, "wh_a", 10, LONG).await;
    let leased: BTreeSet<_> = leased.into_iter().map(|lease| lease.event_id).collect();
    assert_eq!(leased, ["old", "a", "b", "stale"].map(|identity| one(identity).id).into());
    // What the forgery brought along is not remembered of it.
    assert_eq!(store.ingest(guarded("c", &[6], 3)).await.unwrap(), NEW);
    assert!(store.ingest_all(vec![]).await.is_empty());
}

pub(crate) async fn a_forged_token_stores_nothing(harness: &mut impl Harness) {
    let store = harness.store();
    let guarded = |identity, digest| {
        let guards = vec![ReplayGuard { token: [7; 32], digest: [digest; 32] }];
        Ingest { guards, ..ingest(Generation(0), vec![one(identity)]) }
    };
    assert_eq!(store.ingest(guarded("a", 1)).await.unwrap(), NEW);
    let forged = guarded("b", 2);
    let raw = forged.raw.as_ref().unwrap().id.clone();
    assert_eq!(store.ingest(forged).await.unwrap(), Ingested::Forged);
    assert!(store.event(&one("b").id).await.unwrap().is_none());
    assert!(store.request(&raw).await.unwrap().is_none());
    assert_eq!(store.ingest(guarded("a", 1)).await.unwrap(), REPEATED);
}

pub(crate) async fn a_token_is_remembered_under_each_key_that_signed_it(harness: &mut impl Harness) {
    let store = harness.store();
    let guarded = |identity, tokens: &[u8], digest| {
        let guards = tokens.iter().map(|token| ReplayGuard { token: [*token; 32], digest: [digest; 32] }).collect();
        Ingest { guards, ..ingest(Generation(0), vec![one(identity)]) }
    };
    assert_eq!(store.ingest(guarded("a", &[1, 2], 1)).await.unwrap(), NEW);
    for tokens in [&[1][..], &[2], &[1, 2], &[2, 1], &[2, 3], &[3, 2], &[3, 4, 1]] {
        assert_eq!(store.ingest(guarded("b", tokens, 2)).await.unwrap(), Ingested::Forged, "{tokens:?}");
    }
    for tokens in [&[1][..], &[2], &[1, 2]] {
        assert_eq!(store.ingest(guarded("a", tokens, 1)).await.unwrap(), REPEATED, "{tokens:?}");
    }
    // What a forgery brought along is not remembered of it.
    assert_eq!(store.ingest(guarded("c", &[3, 4], 3)).await.unwrap(), NEW);
    assert_eq!(count(&*store).await, 2);
}

pub(crate) async fn the_generation_grows(harness: &mut impl Harness) {
    let store = harness.store();
    let fresh = store.endpoints().await.unwrap();
    assert_eq!((fresh.generation, fresh.all.len()), (Generation(0), 0));
    let first = store.change_endpoints(Generation(0), &[endpoint("wh_b")]).await.unwrap().unwrap();
    let second = store.change_endpoints(first, &[endpoint("wh_a")]).await.unwrap().unwrap();
    assert!(second > first && first > Generation(0));
    assert_eq!(store.change_endpoints(first, &[endpoint("wh_c")]).await.unwrap(), None);
    let set = store.endpoints().await.unwrap();
    assert_eq!((set.generation, set.all), (second, vec![endpoint("wh_a"), endpoint("wh_b")]));
    assert_eq!(store.lease(&[]).await.unwrap().generation, second);
}

pub(crate) async fn an_endpoint_that_was_removed_stays_away(harness: &mut impl Harness) {
    let store = harness.store();
    let (a, b, c) = (endpoint("wh_a"), endpoint("wh_b"), endpoint("wh_c"));
    let first = store.change_endpoints(Generation(0), &[a.clone(), b]).await.unwrap().unwrap();
    let removed = ["wh_b".into(), "wh_never".into()];
    assert_eq!(store.replace_endpoints(Generation(0), &[], &removed, &[]).await.unwrap(), None);
    let second = store.replace_endpoints(first, std::slice::from_ref(&c), &removed, &[]).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(store.endpoints().await.unwrap().all, [a, c]);
    drop(store);
    harness.reopen().await;
    let store = harness.store();
    let all = store.endpoints().await.unwrap().all;
    assert_eq!(all.iter().map(|endpoint| endpoint.id.as_str()).collect::<Vec<_>>(), ["wh_a", "wh_c"]);
    // The last one too.
    let third = store.replace_endpoints(second, &[], &["wh_a".into(), "wh_c".into()], &[]).await.unwrap().unwrap();
    let set = store.endpoints().await.unwrap();
    assert_eq!((set.generation, set.all.len()), (third, 0));
}

pub(crate) async fn a_raw_request_comes_back(harness: &mut impl Harness) {
    let store = harness.store();
    let mut plan = ingest(Generation(0), vec![]);
    let mut raw = plan.raw.take().unwrap();
    raw.request.body = vec![0, 255, 10, 13].into();
    raw.unmapped = 2;
    plan.raw = Some(raw.clone());
    assert_eq!(store.ingest(plan).await.unwrap(), NOTHING);
    let stored = store.request(&raw.id).await.unwrap().unwrap();
    assert_eq!((stored.id, stored.unmapped, stored.unreadable), (raw.id, 2, 0));
    assert_eq!(stored.request.body, raw.request.body);
    assert_eq!(stored.request.headers, raw.request.headers);
    assert_eq!(stored.request.source, raw.request.source);
    assert_eq!(stored.request.received_at, raw.request.received_at);
}

/// Without its body, which is in the row, in chunks or in a file.
pub(crate) async fn the_length_of_a_request_is_told(harness: &mut impl Harness) {
    let noise = |len: u32| (0..len).map(|at| xxh3_64(&at.to_be_bytes()) as u8).collect::<Vec<_>>();
    let store = harness.store();
    for body in [Vec::new(), vec![7; 5_000], noise(100_000), noise(900_000)] {
        let mut plan = ingest(Generation(0), vec![]);
        let raw = plan.raw.as_mut().unwrap();
        (raw.id, raw.request.body) = (RequestId::of("resend", &body), body.clone().into());
        let id = raw.id.clone();
        assert_eq!(store.request_len(&id).await.unwrap(), None);
        assert_eq!(store.ingest(plan).await.unwrap(), NOTHING);
        assert_eq!(store.request_len(&id).await.unwrap(), Some(body.len()));
        assert!(store.request(&id).await.unwrap().unwrap().request.body == body);
    }
}
