//! The embedded store against a plain model, through seeded steps with crashes and clocks that jump.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{EndpointId, EventId, MailKey};
use waypost::domain::ownership::Shards;
use waypost::domain::plan::{Generation, Unit};
use waypost::store::embedded::Embedded;
use waypost::store::{Ingested, Lease, PageQuery, Store, Then, Want};

use crate::embedded::LIFETIMES;
use crate::support::{DELIVERED, TestClock, finished, ingest, unit};

const STEPS: usize = 400;
const ENDPOINTS: [&str; 3] = ["wh_a", "wh_b", "wh_c"];
const HOLD: Duration = Duration::from_secs(60);

/// Xorshift: the same seed, the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// A delivery as the model has it.
#[derive(Clone, Debug)]
struct Expected {
    event: EventId,
    endpoint: EndpointId,
    class: Class,
    mail: MailKey,
    status: Status,
    due: u64,
    token: u64,
    held: bool,
    tried: bool,
    begun: u32,
    attempts: usize,
    /// When it ended.
    ended: u64,
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    /// Events in commit order.
    events: Vec<EventId>,
    deliveries: BTreeMap<(usize, usize), Expected>,
}

impl Model {
    fn ingest(&mut self, units: &[Unit], now: u64) -> Ingested {
        let (mut new, mut repeated) = (0, 0);
        for unit in units {
            if self.events.contains(&unit.id) {
                repeated += 1;
                continue;
            }
            new += 1;
            for (place, planned) in unit.deliveries.iter().enumerate() {
                let expected = Expected {
                    event: unit.id.clone(),
                    endpoint: planned.endpoint.clone(),
                    class: planned.class,
                    mail: unit.mail,
                    status: if planned.skipped { Status::Skipped } else { Status::Pending },
                    due: now,
                    token: 0,
                    held: false,
                    tried: false,
                    begun: 0,
                    attempts: 0,
                    ended: now,
                };
                self.deliveries.insert((self.events.len(), place), expected);
            }
            self.events.push(unit.id.clone());
        }
        Ingested::Stored { new, repeated }
    }

    /// What may be leased once it is due, by (due, key).
    fn open(&self, endpoint: &EndpointId, class: Class) -> BTreeSet<(u64, (usize, usize))> {
        let mut waiting = BTreeSet::new();
        let mut open = BTreeSet::new();
        for (key, delivery) in &self.deliveries {
            if delivery.status != Status::Pending || delivery.endpoint != *endpoint || delivery.class != class {
                continue;
            }
            if delivery.tried || waiting.insert(delivery.mail) {
                open.insert((delivery.due, *key));
            }
        }
        open
    }

    fn find(&mut self, lease: &Lease) -> &mut Expected {
        let same = |one: &&mut Expected| one.event == lease.event_id && one.endpoint == lease.endpoint;
        self.deliveries.values_mut().find(same).unwrap()
    }

    /// Checks what was leased from one lane, and takes it over.
    fn lease(&mut self, endpoint: &EndpointId, limit: usize, leases: &[Lease], now: u64) {
        let mut due = BTreeMap::new();
        for class in Class::ALL {
            let ripe: Vec<_> = self.open(endpoint, class).into_iter().take_while(|(due, _)| *due <= now).collect();
            due.insert(class, ripe);
        }
        let (highs, normals) = (due[&Class::High].len(), due[&Class::Normal].len());
        assert_eq!(leases.len(), limit.min(highs + normals));
        for class in Class::ALL {
            let taken = leases.iter().filter(|lease| lease.class == class);
            let taken: Vec<_> = taken.map(|lease| &lease.event_id).collect();
            let first = due[&class].iter().map(|(_, key)| &self.deliveries[key].event).take(taken.len());
            assert_eq!(taken, first.collect::<Vec<_>>(), "the longest due of a class go first");
            let kept = if class == Class::High { limit - limit / 4 } else { limit / 4 };
            assert!(limit < 4 || taken.len() >= due[&class].len().min(kept), "{class:?} got too few places");
        }
        for lease in leases {
            let delivery = self.find(lease);
            delivery.begun += 1;
            assert_eq!(lease.number, delivery.begun);
            assert!(lease.token > delivery.due && lease.token > delivery.token);
            assert!(lease.token >= now + u64::try_from(HOLD.as_micros()).unwrap());
            assert_eq!(lease.event.as_ref().unwrap().id, lease.event_id);
            (delivery.token, delivery.due, delivery.held) = (lease.token, lease.token, true);
        }
    }

    /// Whether the lease is still good.
    fn finish(&mut self, lease: &Lease, then: Then, now: u64) -> bool {
        let delivery = self.find(lease);
        if !delivery.held || delivery.token != lease.token || delivery.status != Status::Pending {
            return false;
        }
        delivery.attempts += 1;
        delivery.held = false;
        let was_first = !std::mem::replace(&mut delivery.tried, true);
        match then {
            Then::Retry(wait) => delivery.due = now + u64::try_from(wait.as_micros()).unwrap(),
            Then::End(status, _) => (delivery.status, delivery.ended) = (status, now),
        }
        let done = delivery.clone();
        let next = self.deliveries.values_mut().find(|one| {
            one.status == Status::Pending
                && !one.tried
                && (&one.endpoint, one.class, one.mail) == (&done.endpoint, done.class, done.mail)
        });
        if let Some(next) = next
            && was_first
        {
            next.due = next.due.min(now);
        }
        true
    }
}

/// One run.
struct Run {
    random: Random,
    dir: TempDir,
    clock: Arc<TestClock>,
    store: Option<Embedded>,
    model: Model,
    leases: Vec<Lease>,
    made: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let mut run = Self { random, dir, clock, store: None, model: Model::default(), leases: vec![], made: 0 };
        run.crash();
        run
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    fn crash(&mut self) {
        self.store = None;
        self.store = Some(Embedded::open(self.dir.path(), self.clock.clone(), LIFETIMES).unwrap());
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.ingest().await,
            30..60 => self.lease().await,
            60..85 => self.finish().await,
            85..87 => self.crash(),
            87..95 => {
                let ahead = i64::try_from(self.random.below(90_000_000)).unwrap();
                self.clock.step(ahead);
            }
            95..97 => {
                let back = i64::try_from(self.random.below(120_000_000)).unwrap();
                self.clock.step(-back);
            }
            _ => self.check_due().await,
        }
    }

    async fn ingest(&mut self) {
        let mut units = Vec::new();
        for _ in 0..=self.random.below(3) {
            let identity = if self.random.below(4) == 0 { self.random.below(self.made + 1) } else { self.made };
            self.made = self.made.max(identity + 1);
            // All of an event follows from its identity, as it does for a provider's.
            let mut own = Random(identity.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
            own.below(2);
            let class = Class::ALL[own.index(2)];
            let endpoints = &ENDPOINTS[own.index(ENDPOINTS.len())..];
            let mail = own.below(6).to_string();
            let mut unit = unit("resend", &identity.to_string(), &mail, class, endpoints);
            unit.deliveries[0].skipped = own.below(8) == 0;
            units.push(unit);
        }
        let expected = self.model.ingest(&units, self.clock.micros());
        assert_eq!(self.store().ingest(ingest(Generation(0), units)).await.unwrap(), expected);
    }

    async fn lease(&mut self) {
        let endpoint = EndpointId::from(ENDPOINTS[self.random.index(ENDPOINTS.len())]);
        let limit = self.random.index(9);
        let want = Want { endpoint: endpoint.clone(), limit, hold: HOLD, rest: None };
        let leased = self.store().lease(&[want]).await.unwrap();
        self.model.lease(&endpoint, limit, &leased.leases, self.clock.micros());
        self.leases.extend(leased.leases);
    }

    /// Finishes some leases, among them lost ones and ones that were finished before.
    async fn finish(&mut self) {
        let (mut calls, mut lost) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(4) {
            if self.leases.is_empty() {
                break;
            }
            let place = self.random.index(self.leases.len());
            let lease = self.leases[place].clone();
            if self.random.below(8) != 0 {
                self.leases.swap_remove(place);
            }
            let then = match self.random.below(10) {
                0..5 => DELIVERED,
                5..9 => Then::Retry(Duration::from_secs(self.random.below(100))),
                _ => Then::End(Status::Failed, Some(EndReason::Exhausted)),
            };
            if !self.model.finish(&lease, then, self.clock.micros()) {
                lost.push((lease.event_id.clone(), lease.endpoint.clone()));
            }
            calls.push(finished(&lease, then));
        }
        let answer = self.store().finish(calls).await.unwrap();
        assert_eq!(answer.into_iter().map(|lost| (lost.event_id, lost.endpoint)).collect::<Vec<_>>(), lost);
    }

    async fn check_due(&self) {
        let now = self.clock.micros();
        let (mut lanes, mut later) = (BTreeSet::new(), Vec::new());
        for endpoint in ENDPOINTS.map(EndpointId::from) {
            let first = |class| self.model.open(&endpoint, class).first().map(|(due, _)| *due);
            match Class::ALL.into_iter().filter_map(first).min() {
                Some(due) if due <= now => drop(lanes.insert((due, endpoint))),
                Some(due) => later.push(Duration::from_micros(due - now)),
                None => {}
            }
        }
        let due = self.store().due(Shards::ALL).await.unwrap();
        assert_eq!(due.lanes, lanes.into_iter().map(|(_, endpoint)| endpoint).collect::<Vec<_>>());
        assert_eq!(due.next, later.into_iter().min());
    }

    async fn check_lists(&self) {
        let all = PageQuery { cursor: None, limit: 10_000 };
        let events = self.store().events(&all).await.unwrap().items.into_iter().map(|event| event.id);
        assert_eq!(events.collect::<Vec<_>>(), self.model.events.iter().rev().cloned().collect::<Vec<_>>());
        for status in Status::ALL {
            let listed = self.store().deliveries(status, &all).await.unwrap().items.into_iter();
            let listed: Vec<_> =
                listed.map(|one| (one.event_id, one.endpoint_id, one.begun, one.attempts.len())).collect();
            let expected = self.model.deliveries.iter().filter(|(_, one)| one.status == status);
            let mut expected: Vec<_> = expected.map(|(key, one)| (*key, one.clone())).collect();
            let end = |one: &Expected| if status == Status::Pending { 0 } else { one.ended };
            expected.sort_by_key(|(key, one)| Reverse((end(one), *key)));
            let expected = expected.into_iter().map(|(_, one)| (one.event, one.endpoint, one.begun, one.attempts));
            let expected: Vec<_> = expected.collect();
            assert_eq!(listed, expected, "{status:?}");
        }
        for (seq, id) in self.model.events.iter().enumerate() {
            let listed = self.store().deliveries_of(id).await.unwrap();
            let listed: Vec<_> = listed.into_iter().map(|one| (one.endpoint_id, one.status)).collect();
            let expected = self.model.deliveries.range((seq, 0)..(seq + 1, 0));
            let expected: Vec<_> = expected.map(|(_, one)| (one.endpoint.clone(), one.status)).collect();
            assert_eq!(listed, expected);
        }
    }
}

async fn simulate(seeds: std::ops::Range<u64>) {
    let more = if std::env::var_os("WAYPOST_WHOLE").is_some() { 20 } else { 1 };
    for seed in seeds.start * more..seeds.end * more {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step().await;
        }
        run.check_due().await;
        run.check_lists().await;
        run.crash();
        run.check_due().await;
        run.check_lists().await;
    }
}

#[tokio::test]
async fn the_store_agrees_with_the_model_0() {
    simulate(0..5).await;
}

#[tokio::test]
async fn the_store_agrees_with_the_model_1() {
    simulate(5..10).await;
}

#[tokio::test]
async fn the_store_agrees_with_the_model_2() {
    simulate(10..15).await;
}

#[tokio::test]
async fn the_store_agrees_with_the_model_3() {
    simulate(15..20).await;
}
