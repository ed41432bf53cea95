//! A lane that has more than is taken from it: what is left was seen by the last take.

use std::sync::Arc;

use waypost::clock::Clock;
use waypost::domain::delivery::Class;
use waypost::domain::id::EventId;
use waypost::store::redis::RedisStore;
use waypost::store::{LEASE_LAG_MAX, Lease};

use crate::embedded::LIFETIMES;
use crate::redis_cluster_harness::text;
use crate::redis_fixture::*;
use crate::redis_harness::{Server, redis_at};
use crate::support::TestClock;

/// A store for which no time passes, with twelve deliveries of as many mails.
async fn busy(server: &Server, clock: &Arc<TestClock>) -> RedisStore {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    let store = RedisStore::connect(&redis_at(&server.url()), clock, LIFETIMES, &[]).await.unwrap();
    for number in 0..12 {
        let name = number.to_string();
        put(&store, vec![unit(&name, &name, "wh_1")]).await;
    }
    store
}

fn named<const N: usize>(names: [&str; N]) -> Vec<EventId> {
    names.map(|name| EventId::of("main", name)).into()
}

fn events(leases: Vec<Lease>) -> Vec<EventId> {
    leases.into_iter().map(|lease| lease.event_id).collect()
}

/// How often a partition was asked what is due in lanes.
async fn looks(server: &Server) -> usize {
    let told = text(server.command(&["INFO", "commandstats"]).await);
    let calls = told.split("cmdstat_zmscore:calls=").nth(1).and_then(|rest| rest.split(',').next());
    calls.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_busy_lane_is_taken_from_as_it_was_seen_a_moment_ago() {
    let (server, clock) = (Server::start().await, TestClock::new());
    let store = busy(&server, &clock).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["0", "1"]));
    let before = looks(&server).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["2", "3"]));
    assert_eq!(looks(&server).await - before, 8, "one, and one with the take for the next");
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["4", "5"]));
    assert_eq!(looks(&server).await - before, 12, "only with the take");
    put(&store, vec![unit_of("urgent", "m", &[("wh_1", Class::High, false)])]).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["6", "7"]));
    clock.advance(LEASE_LAG_MAX);
    assert_eq!(events(take(&store, "wh_1", 9, LONG).await), named(["urgent", "8", "9", "10", "11"]));
    assert_eq!(looks(&server).await - before, 20, "one of its own, and none for what is not left");
}

#[tokio::test]
async fn a_lane_that_is_asked_now_and_then_is_looked_at_each_time_and_no_further() {
    let (server, clock) = (Server::start().await, TestClock::new());
    let store = busy(&server, &clock).await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        assert_eq!(take(&store, "wh_1", 2, LONG).await.len(), 2);
        counts.push(looks(&server).await);
        clock.advance(LEASE_LAG_MAX);
    }
    assert_eq!(counts, [4, 8, 12]);
}

#[tokio::test]
async fn what_was_seen_and_is_another_s_now_is_passed_over() {
    let (server, clock) = (Server::start().await, TestClock::new());
    let store = busy(&server, &clock).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["0", "1"]));
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["2", "3"]));
    let other = server.store().await;
    assert_eq!(take(&other, "wh_1", 7, LONG).await.len(), 7);
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["11"]));
}

#[tokio::test]
async fn a_script_that_was_forgotten_shows_nothing_that_it_takes() {
    let (server, clock) = (Server::start().await, TestClock::new());
    let store = busy(&server, &clock).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["0", "1"]));
    server.command(&["SCRIPT", "FLUSH"]).await;
    let before = looks(&server).await;
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["2", "3"]));
    assert_eq!(looks(&server).await - before, 12, "one, and two with the take: the second is after it");
    assert_eq!(events(take(&store, "wh_1", 2, LONG).await), named(["4", "5"]));
    assert_eq!(looks(&server).await - before, 16);
}
