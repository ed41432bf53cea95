//! Gathers what the handlers of one worker want stored at the same time into one call of the store. To wake a worker
//! from another thread is a system call, and costs the other CPU an interrupt: one for each call, not for each request.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::inbound::STORE_WITHIN;
use super::state::Gateway;
use crate::clock::Clock;
use crate::domain::plan::Ingest;
use crate::metrics::{Metrics, Operation};
use crate::store::{Committed, Result, Store, StoreError};

/// How many calls of one worker may be under way. What comes meanwhile waits for the first that is answered.
const CALLS_MAX: usize = 4;
/// The most ingests of one call.
const CALL_LEN_MAX: usize = 256;
/// What has a larger body goes to the store by itself: it takes longer, and the others would wait for it.
const BODY_LEN_MAX: usize = 16 * 1024;

struct Asked {
    ingest: Ingest,
    reply: oneshot::Sender<Result<Committed>>,
}

/// The way to the store for the handlers of one worker.
#[derive(Clone)]
pub struct Gatherer {
    calls: Calls,
    queue: mpsc::UnboundedSender<Asked>,
}

impl Gatherer {
    /// Starts gathering on this thread; ends with the last clone.
    pub fn start(gateway: &Gateway) -> Self {
        let (store, clock) = (Arc::clone(&gateway.store), Arc::clone(&gateway.clock));
        let calls = Calls { store, clock, metrics: Arc::clone(&gateway.metrics) };
        let (queue, asked) = mpsc::unbounded_channel();
        rt::spawn(gather(calls.clone(), asked));
        Self { calls, queue }
    }

    /// As [`Store::ingest_all`] for one.
    pub(super) async fn ingest(&self, ingest: Ingest) -> Result<Committed> {
        if ingest.raw.as_ref().is_some_and(|raw| raw.request.body.len() > BODY_LEN_MAX) {
            let answer = self.calls.ingest(vec![ingest]).await.pop();
            return answer.unwrap_or_else(|| Err(StoreError::Unavailable("it answered nothing".into())));
        }
        let (reply, answer) = oneshot::channel();
        // When the task has gone, the answer's other end goes with what could not be sent.
        let _ = self.queue.send(Asked { ingest, reply });
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("it did not answer in time".into())))
    }
}

/// The store, and what counts its calls.
#[derive(Clone)]
struct Calls {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Calls {
    async fn ingest(&self, ingests: Vec<Ingest>) -> Vec<Result<Committed>> {
        let begun = self.clock.elapsed();
        let answers = self.store.ingest_all(ingests).await;
        self.note(begun, answers.iter().all(Result::is_ok));
        answers
    }

    /// The same; nothing is answered when it takes longer.
    async fn ingest_within(&self, within: Duration, ingests: Vec<Ingest>) -> Vec<Result<Committed>> {
        let begun = self.clock.elapsed();
        let answers = tokio::time::timeout(within, self.ingest(ingests)).await;
        answers.inspect_err(|_| self.note(begun, false)).unwrap_or_default()
    }

    fn note(&self, begun: Duration, is_done: bool) {
        self.metrics.store.note(Operation::Ingest, self.clock.elapsed().saturating_sub(begun), is_done);
    }
}

async fn gather(calls: Calls, mut asked: mpsc::UnboundedReceiver<Asked>) {
    let places = Arc::new(Semaphore::new(CALLS_MAX));
    let mut gathered = Vec::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await
        && asked.recv_many(&mut gathered, CALL_LEN_MAX).await > 0
    {
        // Whoever has gone was told to come again.
        let waiting = gathered.drain(..).filter(|asked: &Asked| !asked.reply.is_closed());
        let (ingests, replies): (Vec<_>, Vec<_>) = waiting.map(|asked| (asked.ingest, asked.reply)).unzip();
        if !ingests.is_empty() {
            rt::spawn(call(calls.clone(), ingests, replies, place));
        }
    }
}

async fn call(
    calls: Calls,
    ingests: Vec<Ingest>,
    replies: Vec<oneshot::Sender<Result<Committed>>>,
    place: OwnedSemaphorePermit,
) {
    // When it is over, so is the waiting of everybody who waits for it.
    let answers = calls.ingest_within(STORE_WITHIN, ingests).await;
    // First, so that the store has the next call while this one's requests are answered.
    drop(place);
    for (reply, answer) in replies.into_iter().zip(answers) {
        // Whoever has gone does not want it; what was committed stays.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::Timestamp;
    use waypost_providers::Request;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::domain::id::RequestId;
    use crate::domain::plan::{Generation, RawRequest};
    use crate::domain::retention::Lifetimes;
    use crate::http::state::Limits;
    use crate::store::embedded::Embedded;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const STORED: Committed = Committed::Stored(Vec::new());

    /// A clock that nobody can read while it is held, so that the store hangs.
    struct Held(AtomicBool, SystemClock);

    impl Clock for Held {
        fn now(&self) -> Timestamp {
            while self.0.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.1.now()
        }

        fn elapsed(&self) -> Duration {
            self.1.elapsed()
        }
    }

    fn gateway(dir: &Path) -> (Gateway, Arc<Held>) {
        let clock = Arc::new(Held(AtomicBool::new(false), SystemClock::new()));
        let lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
        let store = Embedded::open(dir, Arc::clone(&clock) as Arc<dyn Clock>, lifetimes).unwrap();
        let limits = Limits::NONE;
        (Gateway::new(Arc::new(store), Arc::new(SystemClock::new()), Arc::default(), limits), clock)
    }

    fn ingest(body: &str) -> Ingest {
        let id = RequestId::of("resend", body.as_bytes());
        let headers = [("a", "b")].into_iter().collect();
        let body = body.to_owned().into();
        let request = Request { source: "resend".into(), received_at: Timestamp::UNIX_EPOCH, headers, body };
        let raw = RawRequest { id, provider: "resend", request, unmapped: 0, unreadable: 0 };
        Ingest { guards: Vec::new(), raw: Some(raw), generation: Generation(0), units: Vec::new(), states: Vec::new() }
    }

    async fn is_stored(gateway: &Gateway, body: &str) -> bool {
        gateway.store.request(&RequestId::of("resend", body.as_bytes())).await.unwrap().is_some()
    }

    /// A handler that wants something stored, run until it waits.
    async fn ask(gatherer: &Gatherer, body: &str) -> rt::task::JoinHandle<Result<Committed>> {
        let (gatherer, ingest) = (gatherer.clone(), ingest(body));
        let handler = rt::spawn(async move { gatherer.ingest(ingest).await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        handler
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), future).await.unwrap()
    }

    #[actix_web::test]
    async fn many_at_once_are_each_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (gateway, _) = gateway(dir.path());
        let gatherer = Gatherer::start(&gateway);
        // More than all calls together take.
        let bodies: Vec<String> = (0..=CALLS_MAX * CALL_LEN_MAX).map(|number| number.to_string()).collect();
        let answers = futures_util::future::join_all(bodies.iter().map(|body| gatherer.ingest(ingest(body))));
        assert!(soon(answers).await.into_iter().all(|answer| answer.unwrap() == STORED));
        for body in [&bodies[0], &bodies[bodies.len() - 1]] {
            assert!(is_stored(&gateway, body).await, "{body}");
        }
    }

    #[actix_web::test]
    async fn who_gives_up_on_a_store_that_hangs_takes_nobody_along() {
        let dir = tempfile::tempdir().unwrap();
        let (gateway, clock) = gateway(dir.path());
        let gatherer = Gatherer::start(&gateway);
        clock.0.store(true, Ordering::SeqCst);
        let mut handlers = Vec::new();
        for number in 0..CALLS_MAX + 4 {
            handlers.push(ask(&gatherer, &number.to_string()).await);
        }
        // One whose call is under way, and the first and the last of those that wait.
        let gone = [1, CALLS_MAX, CALLS_MAX + 3];
        gone.iter().for_each(|place| handlers[*place].abort());
        tokio::task::yield_now().await;
        clock.0.store(false, Ordering::SeqCst);
        for (place, handler) in handlers.into_iter().enumerate() {
            let answer = soon(handler).await;
            assert_eq!(answer.is_err(), gone.contains(&place), "{place}");
            assert!(answer.is_err() || answer.unwrap().unwrap() == STORED, "{place}");
        }
        // What was handed over is stored all the same.
        for place in 0..CALLS_MAX + 4 {
            let is_handed_over = place < CALLS_MAX || !gone.contains(&place);
            assert_eq!(is_stored(&gateway, &place.to_string()).await, is_handed_over, "{place}");
        }
    }

    #[actix_web::test]
    async fn a_store_that_hangs_longer_than_anybody_waits_is_asked_again_when_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (gateway, clock) = gateway(dir.path());
        let gatherer = Gatherer::start(&gateway);
        clock.0.store(true, Ordering::SeqCst);
        let mut handlers = Vec::new();
        for number in 0..CALLS_MAX {
            handlers.push(ask(&gatherer, &number.to_string()).await);
        }
        for handler in handlers {
            assert!(matches!(soon(handler).await.unwrap(), Err(StoreError::Unavailable(_))));
        }
        let late = ask(&gatherer, "late").await;
        clock.0.store(false, Ordering::SeqCst);
        assert_eq!(soon(late).await.unwrap().unwrap(), STORED);
    }
}
