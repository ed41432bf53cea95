//! The dispatcher against a store in memory and an endpoint on a real socket.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::*;
use crate::clock::SystemClock;
use crate::domain::delivery::{Class, Delivery, EndReason, ErrorClass, Status};
use crate::domain::endpoint::{DisabledReason, Endpoint, Origin};
use crate::domain::id::{EndpointId, EventId, MailKey, RequestId};
use crate::domain::link::{LinkKey, LinkSettings};
use crate::domain::plan::{Generation, Ingest, StoredEvent};
use crate::domain::suppression::{Reason, Suppressed, Suppression};
use crate::domain::tally::{Tallies, Tally};
use crate::domain::{address::Address, audit::Entry, ownership::Shards};
use crate::endpoints::Secrets;
use crate::outbound::request::tests::{event, settings};
use crate::outbound::sign::Secret;
use crate::store::*;
use server::answering;

mod clocks;
mod fetch;
mod jobs;
mod none;
mod requests;
mod server;

/// Hands out leases of one lane, and keeps what is finished.
#[derive(Default)]
struct Fake {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    due: VecDeque<Lease>,
    /// How many more times it tells of the lane.
    echoes: usize,
    endpoints: Endpoints,
    finished: Vec<Finished>,
    wants: Vec<Want>,
    failures: u32,
    lanes: Vec<(EndpointId, LaneState)>,
    left: bool,
    reads: u32,
    requests: requests::Kept,
}

impl Fake {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn fail(&self) -> Result<()> {
        self.with(|state| match state.failures.checked_sub(1) {
            Some(left) => {
                state.failures = left;
                Err(down())
            }
            None => Ok(()),
        })
    }

    async fn finished(&self, count: usize) -> Vec<Finished> {
        let wait = async {
            while self.with(|state| state.finished.len()) < count {
                self.changed.notified().await;
            }
        };
        timeout(wait).await;
        self.with(|state| state.finished.clone())
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("down".into())
}

async fn timeout<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.unwrap()
}

#[async_trait]
impl Store for Fake {
    async fn ingest_all(&self, _: Vec<Ingest>) -> Vec<Result<Committed>> {
        unreachable!()
    }
    async fn due(&self, shards: Shards) -> Result<Due> {
        self.fail()?;
        let told = |state: &mut State| vec![state.due.front().map(|lease| lease.endpoint.clone()); 1 + state.echoes];
        let lanes = self.with(told).into_iter().flatten().filter(|lane| shards.contains(lane)).collect();
        Ok(Due { lanes, next: Some(Duration::from_millis(20)) })
    }
    async fn lease(&self, wants: &[Want]) -> Result<Leased> {
        self.fail()?;
        Ok(self.with(|state| {
            state.wants.extend_from_slice(wants);
            let limit = wants.iter().map(|want| want.limit).sum::<usize>().min(state.due.len());
            Leased { leases: state.due.drain(..limit).collect(), generation: state.endpoints.generation }
        }))
    }
    async fn finish(&self, finished: Vec<Finished>) -> Result<Vec<LeaseLost>> {
        self.fail()?;
        self.with(|state| state.finished.extend(finished));
        self.changed.notify_one();
        Ok(vec![])
    }
    async fn work(&self) {
        std::future::pending::<()>().await;
    }
    async fn heartbeat(&self, gateway: &GatewayId, _: Duration) -> Result<Vec<GatewayId>> {
        self.fail()?;
        Ok(vec![gateway.clone()])
    }
    async fn leave(&self, _: &GatewayId) -> Result<()> {
        self.with(|state| state.left = true);
        Ok(())
    }
    async fn endpoints(&self) -> Result<Endpoints> {
        self.fail()?;
        Ok(self.with(|state| {
            state.reads += 1;
            state.endpoints.clone()
        }))
    }
    async fn replace_endpoints(
        &self,
        base: Generation,
        changes: &[Endpoint],
        _: &[EndpointId],
        _: &[Entry],
    ) -> Result<Option<Generation>> {
        Ok(self.with(|state| {
            assert_eq!(base, state.endpoints.generation);
            state.endpoints = Endpoints { generation: Generation(base.0 + 1), numbered: 0, all: changes.to_vec() };
            Some(state.endpoints.generation)
        }))
    }
    async fn lane_states(&self, _: &[EndpointId]) -> Result<Vec<(EndpointId, LaneState)>> {
        Ok(self.with(|state| state.lanes.clone()))
    }
    async fn event(&self, _: &EventId) -> Result<Option<StoredEvent>> {
        unreachable!()
    }
    async fn suppressions(&self, _: &Address) -> Result<Vec<Suppression>> {
        unreachable!()
    }
    async fn suppressed(&self, _: &PageQuery) -> Result<Page<Suppressed>> {
        unreachable!()
    }
    async fn suppress(&self, _: &Address, _: Reason, _: jiff::Timestamp) -> Result<bool> {
        unreachable!()
    }
    async fn unsuppress(&self, _: &Address) -> Result<bool> {
        unreachable!()
    }
    async fn link_key(&self) -> Result<LinkKey> {
        unreachable!()
    }
    async fn request(&self, id: &RequestId) -> Result<Option<StoredRequest>> {
        self.with(|state| state.requests.give(id))
    }
    async fn request_len(&self, id: &RequestId) -> Result<Option<usize>> {
        Ok(self.request(id).await?.map(|stored| stored.request.body.len()))
    }
    async fn deliveries_of(&self, _: &EventId) -> Result<Vec<Delivery>> {
        unreachable!()
    }
    async fn deliveries(&self, _: Status, _: &PageQuery) -> Result<Page<Delivery>> {
        unreachable!()
    }
    async fn count(&self, _: &Tallies) -> Result<()> {
        unreachable!()
    }
    async fn tallies(&self, _: Vec<String>) -> Result<Vec<Tally>> {
        unreachable!()
    }
    async fn ready(&self) -> Result<()> {
        self.with(|state| if state.requests.is_down { Err(down()) } else { Ok(()) })
    }
}

fn lease(token: u64) -> Lease {
    let (event, endpoint) = (Some(Arc::new(event())), "wh_1".into());
    Lease {
        event_id: "evt_1".into(),
        endpoint,
        replay: None,
        class: Class::Normal,
        mail: MailKey(1),
        number: 1,
        token,
        hold: Duration::from_secs(75),
        event,
    }
}

fn endpoint(url: &str) -> Endpoint {
    let created_at = jiff::Timestamp::UNIX_EPOCH;
    Endpoint {
        id: "wh_1".into(),
        number: 1,
        settings: settings(url),
        origin: Origin::File,
        disabled: None,
        enabled_at: None,
        created_at,
    }
}

struct Running {
    store: Arc<Fake>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn start(endpoints: Vec<Endpoint>, leases: u64, secret: Option<&str>, change: impl FnOnce(&mut State)) -> Running {
    start_by(Arc::new(SystemClock::new()), endpoints, leases, secret, change)
}

fn start_by(
    clock: Arc<dyn Clock>,
    endpoints: Vec<Endpoint>,
    leases: u64,
    secret: Option<&str>,
    change: impl FnOnce(&mut State),
) -> Running {
    let store = Arc::new(Fake::default());
    store.with(|state| {
        state.endpoints = Endpoints { generation: Generation(1), numbered: 0, all: endpoints };
        state.due.extend((0..leases).map(lease));
        change(state);
    });
    let secrets: Secrets = secret.into_iter().map(|text| ("wh_1".into(), vec![Secret::parse(text).unwrap()])).collect();
    let networks = crate::domain::target::Networks::parse(&["127.0.0.0/8"]).unwrap();
    let egress = Egress { networks, ..Egress::default() };
    let (sources, drain) = (fetch::sources(), Duration::from_millis(200));
    let settings = Settings {
        egress,
        drain,
        max_in_flight: 256,
        sources,
        suppress_on: Vec::new(),
        links: LinkSettings::default(),
        metrics: Arc::default(),
    };
    let (gateway, cache) = (GatewayId::random([1; 16]), Arc::new(EndpointCache::new(secrets)));
    let dispatcher = Dispatcher::new(Arc::clone(&store) as _, cache, clock, gateway, settings).unwrap();
    let (stop, stopped) = watch::channel(false);
    Running { store, stop, task: tokio::spawn(dispatcher.run(stopped)) }
}

const SECRET: Option<&str> = Some("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");

#[tokio::test]
async fn what_is_due_is_delivered_though_the_store_fails_at_first() {
    let endpoint = endpoint(&answering("204 No Content").await);
    let running = start(vec![endpoint], 5, SECRET, |state| state.failures = 3);
    let finished = running.store.finished(5).await;
    assert!(finished.iter().all(|one| one.then == Then::End(Status::Delivered, None)));
    assert!(finished.iter().all(|one| one.attempt.as_ref().unwrap().status == Some(204)));
    assert!(running.store.with(|state| state.wants.iter().all(|want| want.limit <= 2)));
    running.stop.send(true).unwrap();
    timeout(running.task).await.unwrap();
    assert!(running.store.with(|state| state.left));
}

#[tokio::test]
async fn a_lane_at_its_cap_is_put_to_rest_only_where_it_may_hide_others() {
    for (echoes, is_put_to_rest) in [(0, false), (DUE_LEN_MAX - 1, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&format!("http://{}/", listener.local_addr().unwrap()));
        let running = start(vec![endpoint], 3, SECRET, |state| state.echoes = echoes);
        let _silent = [timeout(listener.accept()).await.unwrap(), timeout(listener.accept()).await.unwrap()];
        // Several turns: the fake store has something due every 20 ms.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let rests = running.store.with(|state| state.wants.iter().any(|want| want.limit == 0 && want.rest.is_some()));
        assert_eq!(rests, is_put_to_rest, "{echoes}");
        assert_eq!(running.store.with(|state| state.due.len()), 1);
    }
}

#[tokio::test]
async fn a_failed_attempt_is_retried_and_the_lane_remembers_it() {
    let endpoint = endpoint("http://127.0.0.1:1/");
    let running = start(vec![endpoint], 1, SECRET, |_| {});
    let finished = running.store.finished(1).await;
    assert!(matches!(finished[0].then, Then::Retry(after) if after >= Duration::from_secs(5)));
    assert_eq!(finished[0].attempt.as_ref().unwrap().error, Some(ErrorClass::Connect));
    assert_eq!(finished[0].lane.unwrap().breaker.failures, 1);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_the_rest_is_skipped() {
    let endpoint = endpoint(&answering("410 Gone").await);
    let running = start(vec![endpoint], 3, SECRET, |_| {});
    let finished = running.store.finished(3).await;
    assert_eq!(finished[0].then, Then::End(Status::Skipped, Some(EndReason::Gone)));
    assert_eq!(finished[2].then, Then::End(Status::Skipped, Some(EndReason::Disabled)));
    let stored = running.store.with(|state| state.endpoints.clone());
    assert_eq!(stored.all[0].disabled.as_ref().unwrap().reason, DisabledReason::Gone);
}

#[tokio::test]
async fn an_endpoint_that_failed_for_days_is_disabled_and_begins_anew_when_it_is_enabled() {
    let endpoint = endpoint(&answering("500 Internal Server Error").await);
    let now = SystemClock::new().now();
    let state = |days: i64, failures| {
        let since = Some(now - jiff::SignedDuration::from_hours(24 * days));
        let breaker = crate::domain::breaker::Breaker { failures, since, sick_since: None };
        vec![("wh_1".into(), LaneState { breaker, at: now })]
    };
    for (days, failures, left) in [(6, 30, 0), (4, 30, 31), (6, 18, 19)] {
        let running = start(vec![endpoint.clone()], 1, SECRET, |fake| fake.lanes = state(days, failures));
        let finished = running.store.finished(1).await;
        assert!(matches!(finished[0].then, Then::Retry(_)), "{:?}", finished[0].then);
        let disabled = running.store.with(|state| state.endpoints.all[0].disabled.clone());
        assert_eq!(disabled.map(|disabled| disabled.reason), (left == 0).then_some(DisabledReason::Failing));
        assert_eq!(finished[0].lane.unwrap().breaker.failures, left);
    }
}

#[tokio::test]
async fn a_delivery_without_its_endpoint_or_event_ends() {
    let deleted = start(vec![], 1, SECRET, |_| {});
    let finished = deleted.store.finished(1).await;
    assert_eq!(finished[0].then, Then::End(Status::Canceled, Some(EndReason::Deleted)));

    let expired = start(vec![endpoint("http://127.0.0.1:1/")], 1, SECRET, |state| state.due[0].event = None);
    let finished = expired.store.finished(1).await;
    assert_eq!(finished[0].then, Then::End(Status::Failed, Some(EndReason::Expired)));
}

#[tokio::test]
async fn an_endpoint_without_a_secret_is_put_to_rest_and_not_asked_for() {
    let running = start(vec![endpoint("http://127.0.0.1:1/")], 1, None, |_| {});
    timeout(async {
        while running.store.with(|state| state.wants.is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(running.store.with(|state| state.wants.iter().all(|want| want.limit == 0 && want.rest.is_some())));
    assert!(running.store.with(|state| state.finished.is_empty()));
}

#[tokio::test]
async fn a_stop_leaves_and_waits_no_longer_than_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&format!("http://{}/", listener.local_addr().unwrap()));
    let running = start(vec![endpoint], 1, SECRET, |_| {});
    let _silent = timeout(listener.accept()).await.unwrap();
    running.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(2), running.task).await.unwrap().unwrap();
    assert!(running.store.with(|state| state.left && state.finished.is_empty()));
}

#[tokio::test]
async fn an_endpoint_that_has_moved_meanwhile_is_not_gone() {
    let old = endpoint(&answering("410 Gone").await);
    let running = start(vec![old], 0, SECRET, |_| {});
    timeout(async {
        while running.store.with(|state| state.reads) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The address changes while the attempt is under way: the lease still carries the generation that was read.
    running.store.with(|state| {
        state.endpoints.all[0].settings.url = "http://127.0.0.1:1/new".into();
        state.due.push_back(lease(1));
    });
    let finished = running.store.finished(1).await;
    assert_eq!(finished[0].then, Then::Retry(Duration::from_secs(5)));
    assert!(running.store.with(|state| state.endpoints.all[0].disabled.is_none()));
}
