//! The embedded engine under the contract, and what only a clock that can be set shows.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use waypost::clock::{Clock, SystemClock};
use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::plan::Generation;
use waypost::domain::retention::Lifetimes;
use waypost::store::embedded::Embedded;
use waypost::store::{Ingested, PageQuery, Store, Then};
use waypost_providers::ReplayGuard;

use crate::contract::{Harness, LONG, lease, run_contract};
use crate::support::{TestClock, finished, ingest, unit};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const LIFETIMES: Lifetimes = Lifetimes { events: DAY.saturating_mul(30), requests: DAY, tokens: DAY };

pub(crate) struct OnDisk {
    dir: TempDir,
    store: Option<Arc<Embedded>>,
}

fn open(dir: &TempDir, clock: Arc<dyn Clock>) -> Arc<Embedded> {
    open_for(dir, clock, LIFETIMES)
}

fn open_for(dir: &TempDir, clock: Arc<dyn Clock>, lifetimes: Lifetimes) -> Arc<Embedded> {
    Arc::new(Embedded::open(dir.path(), clock, lifetimes).unwrap())
}

impl Harness for OnDisk {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(open(&dir, Arc::new(SystemClock::new())));
        Self { dir, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().unwrap()) as Arc<dyn Store>
    }

    async fn reopen_for(&mut self, lifetimes: Lifetimes) {
        self.store = None;
        self.store = Some(open_for(&self.dir, Arc::new(SystemClock::new()), lifetimes));
    }

    async fn reopen_holding(&mut self, log_bytes: u64) {
        self.store = None;
        let store = Embedded::open(self.dir.path(), Arc::new(SystemClock::new()), LIFETIMES).unwrap();
        self.store = Some(Arc::new(store.with_attempt_log(log_bytes)));
    }
}

run_contract!(OnDisk);

#[tokio::test]
async fn an_expired_identity_is_new_again_and_its_old_rows_are_gone() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = open(&dir, clock.clone());
    let event = || unit("resend", "one", "mail", Class::Normal, &["wh_a", "wh_b"]);
    let plan = || ingest(Generation(0), vec![event()]);
    store.ingest(plan()).await.unwrap();
    let leases = lease(&*store, "wh_a", 1, LONG).await;
    store.finish(vec![finished(&leases[0], Then::End(Status::Failed, Some(EndReason::Gone)))]).await.unwrap();
    clock.advance(DAY.saturating_mul(29));
    assert_eq!(store.ingest(plan()).await.unwrap(), Ingested::Stored { new: 0, repeated: 1 });
    assert!(store.request(&plan().raw.unwrap().id).await.unwrap().is_some());
    clock.advance(DAY.saturating_mul(2));
    assert!(store.event(&event().id).await.unwrap().is_none());
    assert!(store.request(&plan().raw.unwrap().id).await.unwrap().is_none());
    let all = PageQuery { cursor: None, limit: 10 };
    assert!(store.events(&all).await.unwrap().items.is_empty());
    for status in Status::ALL.into_iter().chain([Status::Pending]) {
        let listed = store.deliveries(status, &all).await.unwrap().items;
        // What nobody has ended is still pending, and seen to be; what has ended is not, when it is swept away.
        let expected = if status == Status::Pending { vec!["wh_b".into()] } else { vec![] };
        assert_eq!(listed.into_iter().map(|one| one.endpoint_id).collect::<Vec<_>>(), expected, "{status:?}");
        store.ready().await.unwrap();
    }
    let orphans = lease(&*store, "wh_b", 10, LONG).await;
    assert!(matches!(&orphans[..], [lease] if lease.event.is_none()), "{orphans:?}");

    assert_eq!(store.ingest(plan()).await.unwrap(), Ingested::Stored { new: 1, repeated: 0 });
    assert_eq!(store.finish(vec![finished(&orphans[0], Then::Retry(DAY))]).await.unwrap().len(), 1);
    clock.advance(Duration::from_secs(2));
    store.ready().await.unwrap();
    assert_eq!(store.events(&all).await.unwrap().items.len(), 1);
    assert_eq!(store.deliveries_of(&event().id).await.unwrap().len(), 2);
    assert_eq!(lease(&*store, "wh_b", 10, LONG).await.len(), 1);
}

#[tokio::test]
async fn a_token_is_forgotten_after_its_lifetime() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = open(&dir, clock.clone());
    let plan = |digest| {
        let guards = vec![ReplayGuard { token: [1; 32], digest: [digest; 32] }];
        waypost::domain::plan::Ingest { guards, ..ingest(Generation(0), vec![]) }
    };
    store.ingest(plan(1)).await.unwrap();
    assert_eq!(store.ingest(plan(2)).await.unwrap(), Ingested::Forged);
    clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(store.ingest(plan(2)).await.unwrap(), Ingested::Stored { new: 0, repeated: 0 });
}

#[tokio::test]
async fn a_gateway_that_stops_its_heartbeat_is_no_longer_live() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = open(&dir, clock.clone());
    let (one, two) = ("gw_1".into(), "gw_2".into());
    store.heartbeat(&one, Duration::from_secs(10)).await.unwrap();
    assert_eq!(store.heartbeat(&two, Duration::from_secs(30)).await.unwrap(), [one, two.clone()]);
    clock.advance(Duration::from_secs(11));
    assert_eq!(store.heartbeat(&two, Duration::from_secs(30)).await.unwrap(), [two]);
}

#[tokio::test]
async fn calls_made_together_each_get_their_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, TestClock::new());
    let one = |number: u32| {
        let event = unit("resend", &(number % 50).to_string(), "mail", Class::Normal, &["wh_a"]);
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.ingest(ingest(Generation(0), vec![event])).await.unwrap() })
    };
    let calls: Vec<_> = (0..100).map(one).collect();
    let mut new_count = 0;
    for call in calls {
        let Ingested::Stored { new, repeated } = call.await.unwrap() else { panic!("not stored") };
        assert_eq!(new + repeated, 1);
        new_count += new;
    }
    assert_eq!(new_count, 50);
}
