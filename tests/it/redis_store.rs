//! The store's contract on Redis.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use waypost::domain::breaker::Breaker;
use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{EndpointId, EventId, GatewayId, MailKey, RequestId, hash64};
use waypost::domain::ownership::Shards;
use waypost::domain::plan::{Generation, Ingest, RawRequest, Unit};
use waypost::store::blobs::Blobs;
use waypost::store::{Finished, Ingested, LaneState, Lease, Store, StoreError, Then, Want};
use waypost_providers::{Kind, ReplayGuard, Request};

use crate::redis_fixture::*;
use crate::redis_harness::Server;
use crate::support::TestClock;

#[tokio::test]
async fn a_copy_is_a_repeat_and_is_delivered_once() {
    let server = Server::start().await;
    let store = server.store().await;
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1"), unit("a", "m", "wh_1")]).await, stored(1, 1));
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1"), unit("b", "n", "wh_1")]).await, stored(1, 1));
    assert_eq!(take(&store, "wh_1", 10, LONG).await.len(), 2);
    let event = store.event(&EventId::of("main", "a")).await.unwrap().unwrap();
    assert_eq!(event.data.get(), r#"{"name":"a"}"#);
}

#[tokio::test]
async fn a_token_may_be_used_again_with_the_same_content_only() {
    let server = Server::start().await;
    let store = server.store().await;
    let guarded = |digest, name: &str| Ingest {
        guards: vec![ReplayGuard { token: [1; 32], digest: [digest; 32] }],
        ..ingest_of(name.as_bytes(), vec![unit(name, "m", "wh_1")])
    };
    assert_eq!(store.ingest(guarded(1, "a")).await.unwrap(), stored(1, 0));
    assert_eq!(store.ingest(guarded(1, "a")).await.unwrap(), stored(0, 1));
    assert_eq!(store.ingest(guarded(2, "b")).await.unwrap(), Ingested::Forged);
    assert!(store.request(&RequestId::of("main", b"b")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_plan_for_another_set_of_endpoints_is_stale() {
    let server = Server::start().await;
    let store = server.store().await;
    let base = store.endpoints().await.unwrap();
    assert_eq!((base.generation, base.all.len()), (Generation(0), 0));
    let raised = store.change_endpoints(Generation(0), &[endpoint("b"), endpoint("a")]).await.unwrap().unwrap();
    assert!(raised > Generation(0));
    assert_eq!(store.change_endpoints(Generation(0), &[endpoint("c")]).await.unwrap(), None);
    let set = store.endpoints().await.unwrap();
    assert_eq!((set.generation, set.all), (raised, vec![endpoint("a"), endpoint("b")]));
    assert_eq!(put(&store, vec![unit("a", "m", "a")]).await, Ingested::Stale);
    assert!(store.event(&EventId::of("main", "a")).await.unwrap().is_none());
    let planned = Ingest { generation: raised, ..ingest_of(b"{}", vec![unit("a", "m", "a")]) };
    assert_eq!(store.ingest(planned).await.unwrap(), stored(1, 0));
    assert_eq!(store.lease(&[]).await.unwrap().generation, raised);
}

#[tokio::test]
async fn a_lost_lease_changes_nothing_and_what_was_begun_is_visible() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1")]).await;
    let first = take(&store, "wh_1", 1, Duration::ZERO).await.remove(0);
    let second = take(&store, "wh_1", 1, LONG).await.remove(0);
    assert_eq!((first.number, second.number), (1, 2));
    assert!(second.token > first.token);
    assert!(take(&store, "wh_1", 1, LONG).await.is_empty());
    assert_eq!(finish(&store, &first, LANDED).await, 1);
    let seen = store.deliveries_of(&first.event_id).await.unwrap().remove(0);
    assert_eq!((seen.status, seen.begun, seen.attempts.len()), (Status::Pending, 2, 0));
    assert!(seen.begun_at.is_some() && seen.due_at.is_some());
    assert_eq!(finish(&store, &second, LANDED).await, 0);
    assert_eq!(finish(&store, &second, LANDED).await, 1);
    let seen = store.deliveries_of(&first.event_id).await.unwrap().remove(0);
    assert_eq!((seen.status, seen.begun, seen.attempts.len()), (Status::Delivered, 2, 1));
    assert!(seen.ended_at.is_some() && seen.due_at.is_none());
    assert_eq!(seen.attempts[0].answer.as_deref(), Some("\"no/\u{e9}\n"));
    assert_eq!((seen.attempts[0].split.tls_ms, seen.attempts[0].sent.as_str()), (Some(2), "webhook-id: evt_1\n"));
}

#[tokio::test]
async fn one_mail_goes_in_order_and_a_retry_does_not_hold_the_next() {
    let server = Server::start().await;
    let store = server.store().await;
    for name in ["a", "b", "c"] {
        put(&store, vec![unit(name, "m", "wh_1")]).await;
    }
    let mut seen = Vec::new();
    for then in [Then::Retry(LONG), Then::End(Status::Canceled, Some(EndReason::Deleted)), LANDED] {
        let leases = take(&store, "wh_1", 10, LONG).await;
        assert_eq!(leases.len(), 1);
        seen.push(leases[0].event_id.clone());
        let attempted = !matches!(then, Then::End(Status::Canceled, _));
        assert!(store.finish(vec![finished(&leases[0], attempted, then)]).await.unwrap().is_empty());
    }
    assert_eq!(seen, ["a", "b", "c"].map(|name| EventId::of("main", name)));
    assert!(take(&store, "wh_1", 10, LONG).await.is_empty());
    let due = store.due(Shards::ALL).await.unwrap();
    assert!(due.lanes.is_empty() && due.next.unwrap() > LONG / 2);
}

#[tokio::test]
async fn the_urgent_go_first_and_nobody_starves() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut units = Vec::new();
    for number in 0..12 {
        let name = format!("{number}");
        units.push(unit_of(&format!("h{name}"), &name, &[("wh_1", Class::High, false)]));
        units.push(unit_of(&format!("n{name}"), &name, &[("wh_1", Class::Normal, false)]));
    }
    put(&store, units).await;
    let classes = |leases: Vec<Lease>| leases.into_iter().map(|lease| lease.class).collect::<Vec<_>>();
    let four = classes(take(&store, "wh_1", 4, LONG).await);
    assert_eq!(four, [Class::High, Class::High, Class::High, Class::Normal]);
    let mut singles = Vec::new();
    for _ in 0..4 {
        singles.extend(classes(take(&store, "wh_1", 1, LONG).await));
    }
    assert!(singles.contains(&Class::Normal) && singles[0] == Class::High);
}

#[tokio::test]
async fn skipped_deliveries_are_final_and_lists_follow_the_status() {
    let server = Server::start().await;
    let store = server.store().await;
    let to = [("wh_1", Class::Normal, false), ("wh_2", Class::Normal, true)];
    put(&store, vec![unit_of("a", "m", &to), unit_of("b", "m", &to[..1])]).await;
    assert!(take(&store, "wh_2", 10, LONG).await.is_empty());
    let list = async |status| store.deliveries(status, &page(10, None)).await.unwrap().items;
    let skipped = list(Status::Skipped).await;
    assert_eq!((skipped.len(), skipped[0].reason), (1, Some(EndReason::Disabled)));
    let pending = list(Status::Pending).await;
    assert_eq!(pending.len(), 2);
    assert_eq!(pending[0].event_id, EventId::of("main", "b"));
    assert!(pending[0].due_at > pending[1].due_at && pending[1].due_at.is_some(), "since they were committed");
    let lease = take(&store, "wh_1", 1, LONG).await.remove(0);
    finish(&store, &lease, Then::End(Status::Failed, Some(EndReason::Exhausted))).await;
    assert_eq!(list(Status::Failed).await[0].reason, Some(EndReason::Exhausted));
    assert_eq!(list(Status::Pending).await.len(), 1);
    let of = store.deliveries_of(&lease.event_id).await.unwrap();
    assert_eq!(of.iter().map(|one| one.status).collect::<Vec<_>>(), [Status::Failed, Status::Skipped]);
}

#[tokio::test]
async fn lists_are_paged_latest_first_without_gaps_or_copies() {
    let server = Server::start().await;
    let store = server.store().await;
    let names: Vec<String> = (0..25).map(|number| format!("e{number}")).collect();
    for name in &names {
        put(&store, vec![unit(name, name, "wh_1")]).await;
    }
    let wanted: Vec<EventId> = names.iter().rev().map(|name| EventId::of("main", name)).collect();
    let (mut events, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.events(&page(4, cursor)).await.unwrap();
        events.extend(part.items.into_iter().map(|event| event.id));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(events, wanted);
    let (mut deliveries, mut cursor) = (Vec::new(), None);
    loop {
        let part = store.deliveries(Status::Pending, &page(4, cursor)).await.unwrap();
        deliveries.extend(part.items.into_iter().map(|delivery| delivery.event_id));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(deliveries, wanted);
    assert!(matches!(store.events(&page(4, Some("what".into()))).await, Err(StoreError::BadCursor)));
}

#[tokio::test]
async fn a_resting_lane_is_left_alone_until_its_rest_ends() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1"), unit("b", "n", "wh_2")]).await;
    let rest = |rest| [Want { endpoint: "wh_1".into(), limit: 0, replays: 0, hold: LONG, rest: Some(rest) }];
    assert!(store.lease(&rest(LONG)).await.unwrap().leases.is_empty());
    put(&store, vec![unit("c", "o", "wh_1")]).await;
    let due = store.due(Shards::ALL).await.unwrap();
    assert_eq!(due.lanes, [EndpointId::from("wh_2")]);
    assert!(due.next.unwrap() > LONG / 2);
    store.lease(&rest(Duration::ZERO)).await.unwrap();
    assert_eq!(store.due(Shards::ALL).await.unwrap().lanes.len(), 2);
    assert_eq!(store.due(Shards::default()).await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_request_comes_back_byte_for_byte() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut noise: u64 = 1;
    let mut random = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(noise >> 56).unwrap()
    };
    let large: Vec<u8> = (0..1 << 20).map(|_| random()).collect();
    for body in [b"\n{}\n".to_vec(), b"x".repeat(9_000), b"y".repeat(900_000), large] {
        for _ in 0..2 {
            store.ingest(ingest_of(&body, vec![])).await.unwrap();
        }
        let id = RequestId::of("main", &body);
        let read = store.request(&id).await.unwrap().unwrap();
        assert_eq!((read.id, &read.request.source[..]), (id, "main"));
        assert!(read.request.body == body);
    }
}

#[tokio::test]
async fn lanes_remember_the_latest_and_nothing_of_health() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1"), unit("b", "n", "wh_1"), unit("c", "o", "wh_1")]).await;
    let leases = take(&store, "wh_1", 3, LONG).await;
    let states = async || store.lane_states(&["wh_1".into(), "wh_2".into()]).await.unwrap();
    for (lease, failures, second, known) in [(0, 3, 50, 1), (1, 9, 40, 1), (2, 0, 60, 0)] {
        let lane = LaneState {
            breaker: Breaker { failures, since: (failures > 0).then(|| at(second)), sick_since: None },
            at: at(second),
        };
        let one = Finished { lane: Some(lane), ..finished(&leases[lease], true, LANDED) };
        store.finish(vec![one]).await.unwrap();
        let states = states().await;
        assert_eq!(states.len(), known);
        assert!(states.iter().all(|(_, state)| state.breaker.failures == 3));
    }
}

#[tokio::test]
async fn gateways_know_of_each_other_until_they_leave() {
    let server = Server::start().await;
    let store = server.store().await;
    let [one, two] = [GatewayId::from("gw_1"), GatewayId::from("gw_2")];
    assert_eq!(store.heartbeat(&one, LONG).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(store.heartbeat(&two, Duration::ZERO).await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(store.heartbeat(&one, LONG).await.unwrap(), std::slice::from_ref(&one));
    store.heartbeat(&two, LONG).await.unwrap();
    store.leave(&one).await.unwrap();
    assert_eq!(store.heartbeat(&two, LONG).await.unwrap(), [two]);
}

/// Names of mails that are all in the first partition.
fn in_one_partition() -> impl Iterator<Item = String> {
    (0..).map(|number| format!("e{number}")).filter(|name| MailKey::of("mail", name).partition(4) == 0)
}

#[tokio::test]
async fn a_retry_is_due_before_what_is_held_for_longer() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, in_one_partition().take(2).map(|name| unit(&name, &name, "wh_1")).collect()).await;
    take(&store, "wh_1", 1, LONG).await;
    let second = take(&store, "wh_1", 1, LONG * 2).await.remove(0);
    finish(&store, &second, Then::Retry(LONG / 2)).await;
    let next = store.due(Shards::ALL).await.unwrap().next.unwrap();
    assert!(next <= LONG / 2 && next > LONG / 4, "{next:?}");
}

#[tokio::test]
async fn what_has_ended_leaves_the_pages_of_what_is_pending() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, in_one_partition().take(400).map(|name| unit(&name, &name, "wh_1")).collect()).await;
    let mut left = take(&store, "wh_1", 400, LONG).await;
    // Close together, then so far apart that there are more pages between them than there are of them.
    for (step, count) in [(1, 50), (6, 40), (100, 2), (90, 3), (2, 100), (1, 400)] {
        let mut ended = Vec::new();
        for place in (0..count).rev().map(|place| place * step) {
            ended.extend((place < left.len()).then(|| left.remove(place)));
        }
        assert!(store.finish(ended.iter().map(|one| finished(one, true, LANDED)).collect()).await.unwrap().is_empty());
        let pending = store.deliveries(Status::Pending, &page(1_000, None)).await.unwrap().items;
        let mut found: Vec<_> = pending.into_iter().map(|delivery| delivery.event_id).collect();
        let mut expected: Vec<_> = left.iter().map(|lease| lease.event_id.clone()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    assert!(left.is_empty());
    let pages = server.command(&["ZCARD", "{wp:0}:st:pending"]).await;
    assert_eq!(pages, redis::Value::Int(1), "only the page that new ones go to is left");
}

#[tokio::test]
async fn what_is_not_in_the_feed_is_before_all_that_comes_after_it() {
    let server = Server::start().await;
    let store = server.store().await;
    // Later than the clock, as stamps are after a call with many deliveries.
    for partition in 0..4 {
        server.command(&["SET", &format!("{{wp:{partition}}}:stamp"), "4000000000000000"]).await;
    }
    put(&store, vec![operational("o", "wh_1")]).await;
    let mail = MailKey::operational("o").partition(4);
    let last = server.command(&["GET", &format!("{{wp:{mail}}}:stamp")]).await;
    assert_eq!(redis::from_redis_value::<u64>(last).unwrap(), 4_000_000_000_000_001);
    let event = Unit { mail: MailKey((1 << 40) + u64::from(mail)), ..unit("a", "a", "wh_1") };
    put(&store, vec![event]).await;
    let feed = server.command(&["XREVRANGE", &format!("{{wp:{mail}}}:feed"), "+", "-"]).await;
    let feed = redis::from_redis_value::<redis::streams::StreamRangeReply>(feed).unwrap();
    assert_eq!(feed.ids.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["4000000000000-2"]);
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_request_outlives_the_mail_that_could_not_be_committed_with_it() {
    let (server, dir, clock) = (Server::start().await, TempDir::new().unwrap(), TestClock::new());
    let blobs = Blobs::open(dir.path(), Arc::clone(&clock) as _).unwrap();
    let stores = [server.store().await, server.store().await.with_blobs(blobs)];
    let noise: String = (0..40_000_u64).map(|number| format!("{:016x}", hash64(&[&number.to_be_bytes()]))).collect();
    for (store, body) in
        [(&stores[0], "small".as_bytes()), (&stores[0], noise.as_bytes()), (&stores[1], &noise.as_bytes()[1..])]
    {
        let mail = || Unit { kind: Kind::Received.into(), ..unit(&body.len().to_string(), "m", "wh_1") };
        let late = Ingest { generation: Generation(7), ..ingest_of(body, vec![mail()]) };
        assert_eq!(store.ingest(late).await.unwrap(), Ingested::Stale);
        let id = RequestId::of("main", body);
        let keys = server.command(&["KEYS", &format!("*r:{id}*")]).await;
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        // As after most of a month, at the end of which it comes again.
        for again in [stored(1, 0), stored(0, 1)] {
            for key in &keys {
                server.command(&["EXPIRE", key, "100"]).await;
            }
            clock.step(3 * 24 * 3600 * 1_000_000);
            assert_eq!(store.ingest(ingest_of(body, vec![mail()])).await.unwrap(), again);
            for key in &keys {
                let left: u64 = redis::from_redis_value(server.command(&["TTL", key]).await).unwrap();
                // A repeat does not begin anew what was kept.
                let is_renewed = again == stored(1, 0);
                assert_eq!(left > 29 * DAY.as_secs(), is_renewed, "{} bytes: {key} has {left} s", body.len());
            }
        }
        assert_eq!(store.request(&id).await.unwrap().unwrap().request.body, body);
    }
    let days = std::fs::read_dir(dir.path()).unwrap().map(|day| day.unwrap().file_name().into_string().unwrap());
    let mut days: Vec<u64> = days.filter_map(|day| day.parse().ok()).collect();
    days.sort_unstable();
    assert!(matches!(days[..], [first, renewed] if renewed == first + 3), "{days:?}");

    // The same fields between other boundaries: what is kept is of one of the two.
    let composed = |boundary: &str| {
        let raw = ingest_of(format!("{boundary}{noise}").as_bytes(), Vec::new()).raw.unwrap();
        let headers = [("content-type", boundary)].into_iter().collect();
        let request = Request { headers, ..raw.request };
        let units = vec![Unit { kind: Kind::Received.into(), ..unit("composed", "m", "wh_1") }];
        let raw = RawRequest { id: RequestId::of("main", b"composed"), request, ..raw };
        Ingest { raw: Some(raw), ..ingest_of(b"", units) }
    };
    let late = Ingest { generation: Generation(7), ..composed("one") };
    assert_eq!(stores[1].ingest(late).await.unwrap(), Ingested::Stale);
    clock.step(3 * 24 * 3600 * 1_000_000);
    assert_eq!(stores[1].ingest(composed("another")).await.unwrap(), stored(1, 0));
    let kept = stores[1].request(&RequestId::of("main", b"composed")).await.unwrap().unwrap().request;
    assert_eq!(kept.headers.get("content-type"), Some("another"));
    assert!(kept.body.starts_with(b"another"), "{:?}", &kept.body[..10]);
}
