//! Jobs on a real store, step by step, with the test in the place of the endpoints.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tempfile::TempDir;
use waypost_providers::{Kind, Request};

use super::*;
use crate::dispatch::jobs::{round, step};
use crate::domain::endpoint::Disabled;
use crate::domain::id::ReplayId;
use crate::domain::job::{Job, JobError, JobState, Task};
use crate::domain::plan::{PlannedDelivery, RawRequest, Unit};
use crate::domain::replay::{Filter, PENDING_MAX};
use crate::domain::retention::Lifetimes;
use crate::domain::subscription::Subscription;
use crate::store::embedded::Embedded;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LIFETIMES: Lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
const ID: &str = "rpl_00000000000000000000000001";

/// So many gateways on one store that holds one endpoint.
async fn gateways(count: usize) -> (TempDir, Arc<Embedded>, Vec<Arc<Shared>>) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()));
    let store = Arc::new(Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap());
    let settings = settings("https://hooks.example/in");
    let (origin, created_at) = (Origin::File, Timestamp::UNIX_EPOCH);
    let endpoint =
        Endpoint { id: "wh_1".into(), number: 1, settings, origin, disabled: None, enabled_at: None, created_at };
    store.change_endpoints(Generation(0), &[endpoint]).await.unwrap();
    let gateways = (0..count).map(|_| {
        let (egress, cache) = (Egress::default(), Arc::new(EndpointCache::default()));
        let (sources, suppress_on) = (CurrentSources::default(), Vec::new());
        let settings = Settings {
            max_in_flight: 8,
            drain: DAY,
            egress,
            sources,
            suppress_on,
            links: LinkSettings::default(),
            metrics: Arc::default(),
        };
        let store = Arc::clone(&store) as Arc<dyn Store>;
        Dispatcher::new(store, cache, Arc::clone(&clock) as _, "gw_1".into(), settings).unwrap().shared
    });
    let gateways = gateways.collect();
    (dir, store, gateways)
}

/// An event that its disabled endpoint did not get.
fn skipped(number: usize) -> Unit {
    let id = EventId::of("resend", &number.to_string());
    let stored = StoredEvent {
        id: id.clone(),
        kind: Kind::Sent.into(),
        created_at: "2026-01-01T00:00:00.000Z".into(),
        data: RawValue::from_string("{}".into()).unwrap(),
        source: Some("resend".into()),
        received_at: Timestamp::UNIX_EPOCH,
        request_id: Some(RequestId::of("resend", b"")),
        mail: MailKey::of("mail", &number.to_string()),
        possible_duplicate_of: None,
        endpoints: vec!["wh_1".into()],
    };
    let json = serde_json::to_vec(&stored).unwrap().into();
    let deliveries = vec![PlannedDelivery { endpoint: "wh_1".into(), class: Class::Normal, skipped: true }];
    let mail = stored.mail;
    let (kind, event) = (Kind::Sent.into(), Arc::new(stored));
    Unit { id, kind, mail, fingerprint: None, event, json, deliveries, condition: None, suppresses: None }
}

async fn fill(store: &Embedded, count: usize) {
    let generation = store.endpoints().await.unwrap().generation;
    for (number, ids) in (0..count).collect::<Vec<_>>().chunks(500).enumerate() {
        let body = Bytes::from(number.to_string());
        let id = RequestId::of("resend", &body);
        let (headers, received_at) = (Default::default(), Timestamp::UNIX_EPOCH);
        let request = Request { source: "resend".into(), received_at, headers, body };
        let raw = Some(RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 });
        let units = ids.iter().map(|number| skipped(*number)).collect();
        store.ingest(Ingest { guards: vec![], raw, generation, units, states: Vec::new() }).await.unwrap();
    }
}

async fn begin(store: &Embedded) -> ReplayId {
    let filter = Filter {
        since: Timestamp::UNIX_EPOCH,
        until: Timestamp::from_second(1).unwrap(),
        types: Subscription::new(vec![]).unwrap(),
        status: vec![Status::Skipped],
    };
    let task = Task::Replay { endpoint_id: "wh_1".into(), filter };
    let job = Job::new(ID.into(), task, false, Timestamp::UNIX_EPOCH);
    assert!(store.keep_job(&job).await.unwrap());
    job.id
}

/// Delivers all that is due. The events that were delivered.
async fn deliver(store: &Embedded) -> Vec<EventId> {
    let want = Want { endpoint: "wh_1".into(), limit: PENDING_MAX, replays: PENDING_MAX, hold: DAY, rest: None };
    let leases = store.lease(&[want]).await.unwrap().leases;
    let events = leases.iter().map(|lease| lease.event_id.clone()).collect();
    let then = Then::End(Status::Delivered, None);
    let finished = leases.into_iter().map(|lease| Finished { lease, attempt: None, then, lane: None }).collect();
    assert_eq!(store.finish(finished).await.unwrap(), []);
    events
}

async fn replays_all(count: usize, gateways_count: usize) {
    let (_dir, store, gateways) = gateways(gateways_count).await;
    fill(&store, count).await;
    let id = begin(&store).await;
    let (mut delivered, mut most) = (Vec::new(), 0);
    let job = loop {
        let rounds = gateways.iter().map(|shared| round(shared, Shards::ALL));
        for wait in futures_util::future::join_all(rounds).await {
            wait.unwrap();
        }
        most = most.max(store.pending_of(&id).await.unwrap());
        let job = store.job(&id).await.unwrap().unwrap();
        // As many are pending as may be before any is delivered.
        if !job.state.is_active() || store.pending_of(&id).await.unwrap() > PENDING_MAX * 3 / 4 {
            delivered.extend(deliver(&store).await);
        }
        if !job.state.is_active() {
            break job;
        }
    };
    assert_eq!((job.state, job.counted, job.made, job.left_out), (JobState::Done, count as u64, count as u64, 0));
    assert!(most <= PENDING_MAX, "{most} were pending at once");
    assert_eq!(delivered.len(), count, "each once");
    assert_eq!(delivered.iter().collect::<HashSet<_>>().len(), count, "and all");
}

#[tokio::test]
async fn a_job_has_no_cap_and_counts_exactly() {
    replays_all(25_000, 1).await;
}

#[tokio::test]
async fn two_that_both_believe_they_own_a_job_double_nothing() {
    replays_all(3_000, 2).await;
}

#[tokio::test]
async fn a_job_that_is_canceled_in_the_middle_makes_nothing_more() {
    let (_dir, store, gateways) = gateways(2).await;
    fill(&store, 3_000).await;
    let id = begin(&store).await;
    while store.pending_of(&id).await.unwrap() <= PENDING_MAX * 3 / 4 {
        round(&gateways[0], Shards::ALL).await.unwrap();
    }
    deliver(&store).await;
    round(&gateways[0], Shards::ALL).await.unwrap();
    let running = store.job(&id).await.unwrap().unwrap();
    let pending = store.pending_of(&id).await.unwrap();
    assert_eq!((running.state, running.made), (JobState::Running, PENDING_MAX as u64 + pending as u64));
    assert!(pending > 0 && running.made < 3_000);
    assert!(store.keep_job(&running.to(JobState::Canceling, Timestamp::UNIX_EPOCH)).await.unwrap());
    round(&gateways[0], Shards::ALL).await.unwrap();
    // The other has not heard of it.
    step(&gateways[1], &running).await.unwrap();
    round(&gateways[0], Shards::ALL).await.unwrap();
    let canceled = store.job(&id).await.unwrap().unwrap();
    assert_eq!((canceled.state, canceled.made), (JobState::Canceled, running.made));
    step(&gateways[1], &running).await.unwrap();
    assert_eq!(store.pending_of(&id).await.unwrap(), 0);
    assert_eq!(deliver(&store).await, []);
    let page = PageQuery { cursor: None, limit: 3_000 };
    assert_eq!(store.deliveries(Status::Canceled, &page).await.unwrap().items.len(), pending);
}

#[tokio::test]
async fn a_job_to_an_endpoint_that_is_disabled_meanwhile_ends() {
    let (_dir, store, gateways) = gateways(1).await;
    fill(&store, 10).await;
    let id = begin(&store).await;
    round(&gateways[0], Shards::ALL).await.unwrap();
    assert_eq!(store.job(&id).await.unwrap().unwrap().state, JobState::Running);
    let mut endpoints = store.endpoints().await.unwrap();
    endpoints.all[0].disabled = Some(Disabled { reason: DisabledReason::Gone, at: Timestamp::UNIX_EPOCH });
    store.change_endpoints(endpoints.generation, &endpoints.all).await.unwrap();
    gateways[0].endpoints.refresh(store.as_ref()).await.unwrap();
    assert_eq!(round(&gateways[0], Shards::default()).await.unwrap(), Duration::from_secs(1), "not its own");
    round(&gateways[0], Shards::ALL).await.unwrap();
    let job = store.job(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.error, job.made), (JobState::Failed, Some(JobError::EndpointDisabled), 0));
}
