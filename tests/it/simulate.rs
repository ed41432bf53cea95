//! A store against a plain model, through seeded steps with crashes and, where it can be set, a clock that jumps.

use std::collections::BTreeMap;
use std::time::Duration;

use waypost::domain::delivery::{Class, EndReason, Status};
use waypost::domain::id::{EndpointId, ReplayId, hash128};
use waypost::domain::ownership::Shards;
use waypost::domain::plan::{Condition, Copies, Fingerprint, Generation, Ingest};
use waypost::domain::state::State;
use waypost::store::{Lease, Page, PageQuery, Result, Store, Then, Want};

use crate::support::{DELIVERED, finished, ingest, telling, unit};

mod model;
mod stage;

use model::{Model, Moment};
use stage::{OnDisk, OnRedis, Stage};

const STEPS: usize = 400;
const ENDPOINTS: [&str; 3] = ["wh_a", "wh_b", "wh_c"];
/// How many units a lease is held.
const HOLD: u32 = 60;

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

/// One run.
struct Run<S> {
    random: Random,
    stage: S,
    model: Model,
    leases: Vec<Lease>,
    made: u64,
}

impl<S: Stage> Run<S> {
    async fn new(seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { random, stage: S::start().await, model: Model::new(S::EXACT), leases: vec![], made: 0 }
    }

    fn store(&self) -> &dyn Store {
        self.stage.store()
    }

    /// From then until now.
    fn since(&self, then: u64) -> Moment {
        Moment { earliest: then, latest: self.stage.micros() }
    }

    /// Up to so many thousandths of a unit.
    fn span(&mut self, below: u64) -> Duration {
        S::UNIT * u32::try_from(self.random.below(below)).unwrap() / 1_000
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..24 => self.ingest().await,
            24..30 => self.replay().await,
            30..60 => self.lease().await,
            60..85 => self.finish().await,
            85..87 => {
                let hard = self.random.below(2) == 0;
                self.stage.crash(hard).await;
            }
            87..95 => {
                let ahead = self.span(90_000);
                self.stage.ahead(ahead).await;
            }
            95..97 => {
                let back = self.span(120_000);
                self.stage.back(back);
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
            match own.below(6) {
                0 => unit = telling(unit, told(&mut own, true)),
                kind @ 1..4 => {
                    // Copies are of one mail.
                    let bits = hash128(&[mail.as_bytes(), &(own.below(30) * 3 + kind).to_be_bytes()]);
                    let copies = if kind == 1 { Copies::Kept } else { Copies::Repeat };
                    unit.fingerprint = Some(Fingerprint { bits, copies });
                }
                _ => {}
            }
            units.push(unit);
        }
        let states = (0..self.random.below(2)).map(|_| told(&mut self.random, false)).collect();
        let ingest = Ingest { states, ..ingest(Generation(0), units) };
        let then = self.stage.micros();
        let answer = self.store().ingest(ingest.clone()).await.unwrap();
        let now = self.since(then);
        assert_eq!(answer, self.model.ingest(&ingest, now));
    }

    async fn lease(&mut self) {
        let endpoint = EndpointId::from(ENDPOINTS[self.random.index(ENDPOINTS.len())]);
        let limit = self.random.index(9);
        let hold = S::UNIT * HOLD;
        let want = Want { endpoint: endpoint.clone(), limit, replays: limit, hold, rest: None };
        let then = self.stage.micros();
        let leased = self.store().lease(&[want]).await.unwrap();
        let now = self.since(then);
        self.model.lease(&endpoint, limit, &leased.leases, hold, now);
        self.leases.extend(leased.leases);
    }

    /// Finishes some leases, among them lost ones and ones that were finished before.
    async fn finish(&mut self) {
        let mut chosen = Vec::new();
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
                5..9 => Then::Retry(S::UNIT * u32::try_from(self.random.below(100)).unwrap()),
                _ => Then::End(Status::Failed, Some(EndReason::Exhausted)),
            };
            chosen.push((lease, then));
        }
        let calls = chosen.iter().map(|(lease, then)| finished(lease, *then)).collect();
        let then = self.stage.micros();
        let answer = self.store().finish(calls).await.unwrap();
        let now = self.since(then);
        let lost = chosen.into_iter().filter(|(lease, then)| !self.model.finish(lease, *then, now));
        let lost: Vec<_> = lost.map(|(lease, _)| (lease.event_id, lease.endpoint)).collect();
        assert_eq!(answer.into_iter().map(|lost| (lost.event_id, lost.endpoint)).collect::<Vec<_>>(), lost);
    }

    /// Makes some deliveries anew, at times ones that were made before; or cancels a replay.
    async fn replay(&mut self) {
        let name = |random: &mut Random| ReplayId::of(&[&random.below(12).to_be_bytes()]);
        let then = self.stage.micros();
        if self.random.below(8) == 0 {
            let replay = name(&mut self.random);
            let ended = self.store().cancel(&replay, 1_000).await.unwrap();
            let now = self.since(then);
            assert_eq!(ended, self.model.cancel(&replay, now));
            return;
        }
        let mut asked = Vec::new();
        for _ in 0..=self.random.below(3) {
            let (number, replay) = (self.random.index(1_000), name(&mut self.random));
            asked.extend(self.model.again(number, replay));
        }
        let answers = self.store().replay(asked.clone()).await.unwrap();
        let now = self.since(then);
        assert_eq!(answers, asked.iter().map(|one| self.model.replay(one, now)).collect::<Vec<_>>());
    }

    async fn check_due(&self) {
        let then = self.stage.micros();
        let due = self.store().due(Shards::ALL).await.unwrap();
        self.model.check_due(&ENDPOINTS.map(EndpointId::from), &due, self.since(then));
    }

    async fn check_lists(&self) {
        let listed = all(async |page| self.store().events(&page).await).await;
        let marks = listed.iter().filter_map(|event| Some((event.id.clone(), event.possible_duplicate_of.clone()?)));
        assert_eq!(marks.collect::<BTreeMap<_, _>>(), self.model.marks);
        let listed: Vec<_> = listed.into_iter().map(|event| event.id).collect();
        let latest: Vec<_> = self.model.events.iter().rev().map(|(id, _)| id.clone()).collect();
        if S::EXACT {
            assert_eq!(listed, latest);
        }
        // What came in one call may be listed in another order, where it went to several partitions.
        let calls: BTreeMap<_, _> = self.model.events.iter().cloned().collect();
        assert!(listed.windows(2).all(|pair| calls[&pair[0]] >= calls[&pair[1]]), "not in commit order: {listed:?}");
        assert_eq!(sorted(listed), sorted(latest));
        for status in Status::ALL {
            let listed = all(async |page| self.store().deliveries(status, &page).await).await;
            let listed: Vec<_> =
                listed.into_iter().map(|one| (one.id, one.event_id, one.begun, one.attempts.len())).collect();
            let found = self.model.listed(status);
            let expected = found.iter().map(|one| (one.id(), one.event.clone(), one.begun, one.attempts));
            let expected: Vec<_> = expected.collect();
            if S::EXACT {
                assert_eq!(listed, expected, "{status:?}");
            }
            let ends: BTreeMap<_, _> = expected.iter().zip(&found).map(|(row, one)| (row, one.ended)).collect();
            assert_eq!(sorted(listed.clone()), sorted(expected.clone()), "{status:?}");
            let is_late = |pair: &[_]| ends[&pair[0]].is_before(ends[&pair[1]]);
            assert!(status == Status::Pending || !listed.windows(2).any(is_late), "{status:?}: {listed:?}");
        }
        for (seq, (id, _)) in self.model.events.iter().enumerate() {
            let listed = self.store().deliveries_of(id).await.unwrap();
            let listed: Vec<_> = listed.into_iter().map(|one| (one.id, one.endpoint_id, one.status)).collect();
            let expected = self.model.deliveries.range((seq, 0)..(seq + 1, 0));
            let expected: Vec<_> = expected.map(|(_, one)| (one.id(), one.endpoint.clone(), one.status)).collect();
            assert_eq!(listed, expected);
        }
    }
}

/// A snapshot of one of a few entities, at one of few moments, so that they come late and together.
fn told(random: &mut Random, holds: bool) -> Condition {
    let entity = [u8::try_from(random.below(5)).unwrap(); 16];
    Condition { entity, state: State { at_ms: i64::try_from(random.below(40)).unwrap(), holds } }
}

/// A whole list, page by page.
async fn all<T>(read: impl AsyncFn(PageQuery) -> Result<Page<T>>) -> Vec<T> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = read(PageQuery { cursor, limit: 100 }).await.unwrap();
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return items;
        }
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

async fn simulate<S: Stage>(seeds: std::ops::Range<u64>) {
    let more = if std::env::var_os("WAYPOST_WHOLE").is_some() { 20 } else { 1 };
    for seed in seeds.start * more..seeds.end * more {
        println!("seed {seed}");
        let mut run = Run::<S>::new(seed).await;
        for _ in 0..STEPS {
            run.step().await;
        }
        for hard in [false, true] {
            run.check_due().await;
            run.check_lists().await;
            run.stage.crash(hard).await;
        }
        run.check_due().await;
        run.check_lists().await;
    }
}

#[tokio::test]
async fn the_embedded_store_agrees_with_the_model_0() {
    simulate::<OnDisk>(0..5).await;
}

#[tokio::test]
async fn the_embedded_store_agrees_with_the_model_1() {
    simulate::<OnDisk>(5..10).await;
}

#[tokio::test]
async fn the_embedded_store_agrees_with_the_model_2() {
    simulate::<OnDisk>(10..15).await;
}

#[tokio::test]
async fn the_embedded_store_agrees_with_the_model_3() {
    simulate::<OnDisk>(15..20).await;
}

#[tokio::test]
async fn the_redis_store_agrees_with_the_model_0() {
    simulate::<OnRedis>(0..2).await;
}

#[tokio::test]
async fn the_redis_store_agrees_with_the_model_1() {
    simulate::<OnRedis>(2..4).await;
}
