//! Posts events without end, and keeps the ids of those that are accepted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use waypost::clock::{Clock, SystemClock};

use crate::gateway::{Gateway, Poster};
use crate::redis_cluster_harness::until;

const POSTERS: usize = 4;
/// Between two requests of one poster: so many come that all that is accepted is delivered soon.
const PAUSE: Duration = Duration::from_millis(3);

/// When an event was posted, and when that was answered.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) posted: Duration,
    pub(crate) answered: Duration,
}

/// What came of all that was posted.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) accepted: HashMap<String, Times>,
    /// How many were answered `503`.
    pub(crate) refused: u32,
    /// Other answers, and none.
    pub(crate) odd: Vec<Option<u16>>,
    /// How long the slowest answer took.
    pub(crate) slowest: Duration,
}

struct Shared {
    clock: SystemClock,
    told: Mutex<Told>,
    next: AtomicU32,
    is_over: AtomicBool,
}

pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(gateway: &Gateway) -> Self {
        Self::start_at(&[gateway], PAUSE)
    }

    /// One that posts to these by turns, with pauses.
    pub(crate) fn start_at(gateways: &[&Gateway], pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            clock: SystemClock::new(),
            told: Mutex::default(),
            next: AtomicU32::default(),
            is_over: AtomicBool::default(),
        });
        let urls = gateways.iter().map(|gateway| gateway.url("resend")).cycle();
        let poster = Poster::new();
        let post = |url| tokio::spawn(Arc::clone(&shared).post(poster.clone(), url, pause));
        let tasks = urls.take(gateways.len().max(POSTERS)).map(post).collect();
        Self { shared, tasks }
    }

    fn len(&self) -> usize {
        self.shared.told.lock().unwrap().accepted.len()
    }

    /// How many were answered `503` so far.
    pub(crate) fn refused(&self) -> u32 {
        self.shared.told.lock().unwrap().refused
    }

    /// By the clock of [`Times`].
    pub(crate) fn now(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    /// Waits until so many more are accepted.
    pub(crate) async fn until_more(&self, count: usize) {
        let len = self.len() + count;
        until("more is accepted", async || self.len() >= len).await;
    }

    /// Stops; answers what was accepted, and how many were not.
    pub(crate) async fn end(mut self) -> (HashSet<String>, u32) {
        let told = self.told().await;
        let others = u32::try_from(told.odd.len()).unwrap();
        (told.accepted.into_keys().collect(), told.refused + others)
    }

    /// The same in full.
    pub(crate) async fn told(&mut self) -> Told {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        std::mem::take(&mut *self.shared.told.lock().unwrap())
    }
}

impl Shared {
    async fn post(self: Arc<Self>, poster: Poster, url: String, pause: Duration) {
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let (id, signed) = poster.resend_event(number);
            let posted = self.clock.elapsed();
            let status = poster.post(&url, signed).await;
            let answered = self.clock.elapsed();
            {
                let mut told = self.told.lock().unwrap();
                told.slowest = told.slowest.max(answered - posted);
                match status {
                    Some(200) => drop(told.accepted.insert(id, Times { posted, answered })),
                    Some(503) => told.refused += 1,
                    other => told.odd.push(other),
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}
