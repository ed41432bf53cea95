//! What only Redis can do to a store: flushes, restarts, hangs, settings that lose data, other gateways.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use waypost::app::App;
use waypost::clock::{Clock, SystemClock};
use waypost::config::Settings;
use waypost::domain::address::Address;
use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{EventId, MailKey, RequestId};
use waypost::domain::job::Job;
use waypost::domain::plan::{Generation, Ingest};
use waypost::domain::retention::Lifetimes;
use waypost::domain::risk::Risk;
use waypost::domain::suppression::Reason;
use waypost::store::redis::RedisStore;
use waypost::store::{Committed, Fate, Replays, Store, StoreError, Then};
use waypost_providers::ReplayGuard;

use crate::contract::replays::job;
use crate::redis_fixture::*;
use crate::redis_harness::Server;

#[tokio::test]
async fn many_callers_at_once_are_gathered_and_each_is_answered() {
    let server = Server::start().await;
    let store = server.store().await;
    let calls = (0..300).map(|number| {
        let (store, name) = (&store, format!("e{}", number % 200));
        async move { put(store, vec![unit(&name, &name, "wh_1")]).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| **answer == stored(1, 0)).count(), 200);
    assert_eq!(take(&store, "wh_1", 1_000, LONG).await.len(), 200);
}

#[tokio::test]
async fn a_change_whose_writer_died_before_it_raised_every_partition_is_completed() {
    let server = Server::start().await;
    let store = server.store().await;
    server.command(&["SET", "{wp:0}:generation", "77"]).await;
    server.command(&["SET", "{wp:3}:gen", "5"]).await;
    assert_eq!(store.endpoints().await.unwrap().generation, Generation(77));
    for partition in 0..4 {
        let gen_of = server.command(&["GET", &format!("{{wp:{partition}}}:gen")]).await;
        assert_eq!(gen_of, redis::Value::BulkString(b"77".to_vec()));
    }
}

#[tokio::test]
async fn an_expired_event_is_leased_without_its_content_and_can_be_ended() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1"), unit("b", "m", "wh_1")]).await;
    let partition = MailKey::of("mail", "m").partition(4);
    server.command(&["DEL", &format!("{{wp:{partition}}}:e:{}", EventId::of("main", "a"))]).await;
    let lease = take(&store, "wh_1", 1, LONG).await.remove(0);
    assert!(lease.event.is_none());
    let end = Then::End(Status::Failed, Some(EndReason::Expired));
    assert!(store.finish(vec![finished(&lease, false, end)]).await.unwrap().is_empty());
    assert_eq!(take(&store, "wh_1", 1, LONG).await[0].event_id, EventId::of("main", "b"));
    assert_eq!(store.events(&page(10, None)).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_identity_that_is_new_again_is_delivered_again_and_holds_back_nobody() {
    let server = Server::start().await;
    let short = Duration::from_secs(2);
    let lifetimes = Lifetimes { events: short, requests: short, tokens: short };
    let store = server.connect_for(lifetimes, &[]).await.unwrap();
    let both = || vec![unit("a", "m", "wh_1"), unit("b", "m", "wh_1")];
    put(&store, both()).await;
    // While both are pending, and when they have ended.
    for _ in 0..2 {
        while store.event(&EventId::of("main", "b")).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(put(&store, both()).await, stored(2, 0));
        for name in ["a", "b"] {
            let leases = take(&store, "wh_1", 10, LONG).await;
            assert!(matches!(&leases[..], [lease] if lease.event_id == EventId::of("main", name)), "{leases:?}");
            assert_eq!((leases[0].number, leases[0].event.is_some()), (1, true));
            assert_eq!(finish(&store, &leases[0], LANDED).await, 0);
        }
        assert!(take(&store, "wh_1", 10, LONG).await.is_empty());
    }
    put(&store, vec![unit("c", "m", "wh_1")]).await;
    assert_eq!(take(&store, "wh_1", 10, LONG).await[0].event_id, EventId::of("main", "c"));
    assert_eq!(store.deliveries(Status::Pending, &page(10, None)).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_flush_of_scripts_or_of_everything_heals_by_itself() {
    let server = Server::start().await;
    let store = server.store().await;
    let raised = store.change_endpoints(Generation(0), &[endpoint("wh_1")]).await.unwrap().unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await;
    let planned = Ingest { generation: raised, ..ingest_of(b"{}", vec![unit("a", "m", "wh_1")]) };
    assert_eq!(store.ingest(planned).await.unwrap(), stored(1, 0));
    let lease = take(&store, "wh_1", 1, LONG).await.remove(0);
    server.command(&["FLUSHALL"]).await;
    assert_eq!(finish(&store, &lease, LANDED).await, 1);
    assert_eq!(store.endpoints().await.unwrap().generation, Generation(0));
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
    assert_eq!(take(&store, "wh_1", 1, LONG).await.len(), 1);
}

#[tokio::test]
async fn two_gateways_on_one_server_wake_each_other() {
    let server = Server::start().await;
    let (one, two) = (server.store().await, server.store().await);
    let quiet = async || while tokio::time::timeout(Duration::from_millis(300), two.work()).await.is_ok() {};
    let woken = async || tokio::time::timeout(Duration::from_secs(5), two.work()).await.unwrap();
    quiet().await;
    put(&one, vec![unit("a", "m", "wh_1")]).await;
    woken().await;
    quiet().await;
    put(&one, vec![operational("o", "wh_1")]).await;
    woken().await;
    quiet().await;
    let lease = take(&one, "wh_1", 1, LONG).await.remove(0);
    finish(&one, &lease, Then::Retry(Duration::ZERO)).await;
    woken().await;
}

#[tokio::test]
async fn a_server_that_loses_data_is_refused_unless_the_risk_is_accepted() {
    let server = Server::start_with("allkeys-lru", "no").await;
    let refused = server.connect(&[]).await.err().unwrap();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    let refused = refused.to_string();
    for part in ["maxmemory-policy", "allkeys-lru", "noeviction", "appendonly", "`no`", "no_aof"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(server.connect(&[Risk::Eviction]).await.is_err());
    assert!(server.connect(&[Risk::Eviction, Risk::NoAof]).await.is_ok());
}

/// Waits until the store says so.
async fn until_ready(store: &RedisStore, is_so: impl Fn(&waypost::store::Result<()>) -> bool) {
    let wait = async {
        while !is_so(&store.ready().await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
}

#[tokio::test]
async fn a_server_that_loses_data_is_refused_whenever_it_comes_up() {
    let mut server = Server::stopped("allkeys-lru", "no");
    let store = server.store().await;
    let accepting = server.connect(&[Risk::Eviction, Risk::NoAof]).await.unwrap();
    server.up().await;
    let event = |name| ingest_of(b"{}", vec![unit(name, "m", "wh_1")]);
    // The very first call after the outage already knows.
    let refused = store.ingest(event("a")).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("allkeys-lru")), "{refused:?}");
    assert!(matches!(store.ready().await, Err(StoreError::Refused(_))));
    let nora = Address::parse("nora@customer.example").unwrap();
    let refused = store.suppress(&nora, Reason::Manual, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(matches!(store.unsuppress(&nora).await, Err(StoreError::Refused(_))));
    assert_eq!(server.command(&["KEYS", "*e:*"]).await, redis::Value::Array(vec![]));
    assert_eq!(accepting.ingest(event("a")).await.unwrap(), stored(1, 0));
    // What is there is still delivered.
    assert_eq!(take(&store, "wh_1", 1, LONG).await.len(), 1);
    // An operator sets it right without a restart.
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    server.command(&["CONFIG", "SET", "appendonly", "yes"]).await;
    until_ready(&store, Result::is_ok).await;
    assert_eq!(store.ingest(event("a")).await.unwrap(), stored(0, 1));
    // A restart undoes that.
    server.down();
    until_ready(&store, Result::is_err).await;
    server.up().await;
    let refused = store.ingest(event("b")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}

fn settings_on(server: &Server) -> Settings {
    let toml = format!("[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n", server.url());
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&path, toml).unwrap();
    Settings::load(Some(path.path()), std::iter::empty()).unwrap()
}

#[tokio::test]
async fn a_gateway_stops_at_a_server_that_is_refused_and_waits_for_one_that_is_down() {
    let server = Server::start_with("allkeys-lru", "no").await;
    let refused = App::build(&settings_on(&server), Arc::new(SystemClock::new())).await.err().unwrap().to_string();
    assert!(refused.starts_with("the store is refused: Redis' `maxmemory-policy` is `allkeys-lru`: set"), "{refused}");
    let mut server = Server::stopped("noeviction", "yes");
    let app = App::build(&settings_on(&server), Arc::new(SystemClock::new())).await.unwrap();
    assert!(matches!(app.store().ready().await, Err(StoreError::Unavailable(_))));
    server.up().await;
    app.store().ready().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_answers_unavailable_and_heals() {
    let mut server = Server::stopped("noeviction", "yes");
    let store = server.store().await;
    assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))));
    server.up().await;
    store.ready().await.unwrap();
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
    server.down();
    let failed = store.ingest(ingest_of(b"{}", vec![unit("b", "m", "wh_1")]));
    let failed = tokio::time::timeout(Duration::from_secs(2), failed).await.unwrap();
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    server.up().await;
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1"), unit("b", "m", "wh_1")]).await, stored(1, 1));
    tokio::time::timeout(Duration::from_secs(5), store.work()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_answers_unavailable_within_a_second() {
    let server = Server::start().await;
    let store = server.store().await;
    store.ready().await.unwrap();
    server.signal("STOP");
    for _ in 0..2 {
        let calls = (0..8).map(|_| store.ready());
        let answers = tokio::time::timeout(Duration::from_millis(1_500), futures_util::future::join_all(calls)).await;
        assert!(answers.unwrap().iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))));
    }
    server.signal("CONT");
    assert_eq!(put(&store, vec![unit("a", "m", "wh_1")]).await, stored(1, 0));
}

#[tokio::test]
async fn what_is_broken_fails_alone() {
    let server = Server::start().await;
    let store = server.store().await;
    let to = [("wh_1", Class::Normal, false), ("wh_2", Class::Normal, false)];
    put(&store, vec![unit_of("a", "m", &to)]).await;
    let [one, two] = [take(&store, "wh_1", 1, LONG).await.remove(0), take(&store, "wh_2", 1, LONG).await.remove(0)];
    let partition = one.mail.partition(4);
    server.command(&["HSET", &format!("{{wp:{partition}}}:p:wh_1"), one.event_id.as_str(), "nonsense"]).await;
    let failed = store.finish(vec![finished(&two, true, LANDED), finished(&one, true, LANDED)]).await;
    assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
    let landed = store.deliveries(Status::Delivered, &page(10, None)).await.unwrap().items;
    assert_eq!((landed.len(), landed[0].attempts.len()), (1, 1));

    server.command(&["SET", &format!("{{wp:{partition}}}:f:n:wh_9"), "nonsense"]).await;
    let units = vec![unit("b", "m", "wh_3"), unit("c", "m", "wh_9"), unit("d", "m", "wh_3")];
    let failed = store.ingest(ingest_of(b"{}", units)).await;
    assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
    let ids: Vec<_> = store.events(&page(10, None)).await.unwrap().items.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["d", "b", "a"].map(|name| EventId::of("main", name)));
}

#[tokio::test]
async fn what_meets_something_broken_fails_alone_in_its_call() {
    let server = Server::start().await;
    let store = server.store().await;
    let guarded = |name: &str, token| Ingest {
        guards: vec![ReplayGuard { token: [token; 32], digest: [1; 32] }],
        ..ingest_of(name.as_bytes(), vec![unit(name, "m", "wh_1")])
    };
    // A token and a lane that no version of Waypost writes.
    assert_eq!(store.ingest(guarded("first", 1)).await.unwrap(), stored(1, 0));
    let redis::Value::Array(tokens) = server.command(&["KEYS", "*:t:*"]).await else { panic!("no list of keys") };
    let [token] = &tokens[..] else { panic!("{tokens:?}") };
    let token: String = redis::from_redis_value(token.clone()).unwrap();
    server.command(&["DEL", &token]).await;
    server.command(&["RPUSH", &token, "nonsense"]).await;
    let lane = format!("{{wp:{}}}:f:n:wh_9", unit("a", "m", "wh_9").mail.partition(16));
    server.command(&["SET", &lane, "nonsense"]).await;
    let call = vec![
        guarded("a", 2),
        guarded("b", 1),
        guarded("c", 3),
        ingest_of(b"d", vec![unit("d", "m", "wh_9")]),
        ingest_of(b"e", vec![unit("e", "m", "wh_1"), unit("a", "m", "wh_1")]),
    ];
    let answers = store.ingest_all(call).await;
    let [Ok(a), Err(StoreError::Corrupt(_)), Ok(c), Err(StoreError::Corrupt(_)), Ok(e)] = &answers[..] else {
        panic!("{answers:?}")
    };
    let one = Committed::Stored(vec![Fate::New]);
    assert_eq!([a, c, e], [&one, &one, &Committed::Stored(vec![Fate::New, Fate::Repeated])]);
    assert!(store.request(&RequestId::of("main", b"b")).await.unwrap().is_none());
}

#[tokio::test]
async fn an_unreadable_row_does_not_block_its_lane() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1")]).await;
    let lease = take(&store, "wh_1", 1, Duration::ZERO).await.remove(0);
    let rows = format!("{{wp:{}}}:p:wh_1", lease.mail.partition(4));
    server.command(&["HSET", &rows, lease.event_id.as_str(), "nonsense"]).await;
    let again = take(&store, "wh_1", 1, LONG).await.remove(0);
    assert!(again.token > lease.token);
    assert_eq!(finish(&store, &again, LANDED).await, 0);
}

#[tokio::test]
async fn an_unreadable_job_hides_no_other() {
    let server = Server::start().await;
    let store = server.store().await;
    let created_at = SystemClock::new().now();
    let jobs = ["a", "b", "c"].map(|name| Job { created_at, ..job(name, 0) });
    for job in &jobs {
        assert!(store.keep_job(job).await.unwrap());
    }
    // As a build before this one wrote it.
    server.command(&["SET", &format!("{{wp:0}}:j:{}", jobs[1].id), r#"1|{"kind":"replay"}"#]).await;
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<BTreeSet<_>>();
    let expected = BTreeSet::from([jobs[0].id.clone(), jobs[2].id.clone()]);
    assert_eq!(ids(store.jobs(&page(10, None)).await.unwrap().items), expected);
    assert_eq!(ids(store.active_jobs().await.unwrap()), expected);
    assert!(matches!(store.job(&jobs[1].id).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn everything_about_an_event_expires() {
    let server = Server::start().await;
    let store = server.store().await;
    let planned = Ingest {
        guards: vec![ReplayGuard { token: [1; 32], digest: [1; 32] }],
        ..ingest_of(&b"x".repeat(90_000), vec![unit_of("a", "m", &[("wh_1", Class::High, true)])])
    };
    store.ingest(planned).await.unwrap();
    put(&store, vec![unit("b", "m", "wh_1")]).await;
    take(&store, "wh_1", 1, LONG).await;
    let mut kinds = 0;
    for kind in ["e", "d", "r", "t"] {
        let redis::Value::Array(keys) = server.command(&["KEYS", &format!("{{wp:*}}:{kind}:*")]).await else {
            panic!("no list of keys");
        };
        assert!(!keys.is_empty());
        kinds += 1;
        for key in keys {
            let key: String = redis::from_redis_value(key).unwrap();
            let left: i64 = redis::from_redis_value(server.command(&["TTL", &key]).await).unwrap();
            assert!(left > 3_600, "{key} lives for {left} s");
        }
    }
    assert_eq!(kinds, 4);
}

#[tokio::test]
async fn two_gateways_that_ask_for_one_lane_never_get_the_same_lease() {
    let server = Server::start().await;
    let (one, two) = (server.store().await, server.store().await);
    let names: Vec<String> = (0..100).map(|number| format!("e{number}")).collect();
    put(&one, names.iter().map(|name| unit(name, name, "wh_1")).collect()).await;
    let mut taken = Vec::new();
    while taken.len() < names.len() {
        let (mine, theirs) = tokio::join!(take(&one, "wh_1", 30, LONG), take(&two, "wh_1", 30, LONG));
        taken.extend(mine.into_iter().chain(theirs).map(|lease| lease.event_id));
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), names.len());
}

#[tokio::test]
async fn limits_without_end_are_bounded() {
    let server = Server::start().await;
    let store = server.store().await;
    put(&store, vec![unit("a", "m", "wh_1"), unit_of("b", "n", &[("wh_1", Class::High, false)])]).await;
    let endless = page(usize::MAX, None);
    assert_eq!(store.events(&endless).await.unwrap().items.len(), 2);
    assert_eq!(store.deliveries(Status::Pending, &endless).await.unwrap().items.len(), 2);
    assert_eq!(take(&store, "wh_1", usize::MAX, LONG).await.len(), 2);
}
