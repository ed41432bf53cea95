//! Jobs that read requests again, on a store that fails.

use jiff::Timestamp;
use waypost_providers::{Proof, Request, by_name};

use super::*;
use crate::dispatch::jobs::step;
use crate::domain::job::{Job, JobState, Task};
use crate::domain::reprocess::{Filter, IncompleteRequest, Lack, Outcome};
use crate::domain::source::Source;

/// Requests that nobody understands, all of which stay.
#[derive(Default)]
pub(super) struct Kept {
    count: usize,
    /// The one that cannot be had, and how often it was asked for.
    broken: Option<(RequestId, u32)>,
    pub(super) is_down: bool,
    pub(super) job: Option<Job>,
    /// What is answered to whoever asks for one, if not what is above.
    pub(super) stored: Option<Result<Option<StoredRequest>>>,
}

fn id(number: usize) -> RequestId {
    RequestId::of("a", &[u8::try_from(number).unwrap()])
}

impl Kept {
    pub(super) fn give(&mut self, wanted: &RequestId) -> Result<Option<StoredRequest>> {
        if let Some(stored) = &self.stored {
            return stored.clone();
        }
        if let Some((_, times)) = self.broken.as_mut().filter(|(broken, _)| broken == wanted) {
            *times += 1;
            return Err(down());
        }
        let body = "not JSON".into();
        let request =
            Request { source: "a".into(), received_at: Timestamp::UNIX_EPOCH, headers: Default::default(), body };
        let (id, provider) = (wanted.clone(), "resend".into());
        Ok(Some(StoredRequest { id, provider, request, unmapped: 0, unreadable: 1 }))
    }
}

#[async_trait]
impl Requests for Fake {
    async fn incomplete(&self, page: &PageQuery, _: First) -> Result<Page<IncompleteRequest>> {
        let first = page.cursor.as_ref().map_or(0, |cursor| cursor.parse::<usize>().unwrap() + 1);
        let one = |number: usize| IncompleteRequest {
            id: id(number),
            source: "a".into(),
            provider: "resend".into(),
            received_at: Timestamp::UNIX_EPOCH,
            unmapped: 0,
            unreadable: 1,
            cursor: number.to_string(),
        };
        Ok(Page { items: self.with(|state| first..state.requests.count).map(one).collect(), next: None })
    }
    async fn reprocess(&self, _: Ingest) -> Result<Option<Committed>> {
        Ok(Some(Committed::Stored(Vec::new())))
    }
}

/// A gateway on a store of five requests, of which the third cannot be had, and a job that reads them again.
async fn begun() -> (Arc<Fake>, Arc<Shared>, Job) {
    let store = Arc::new(Fake::default());
    store.with(|state| {
        state.endpoints.generation = Generation(1);
        state.requests = Kept { count: 5, broken: Some((id(2), 0)), ..Kept::default() };
    });
    let sources = CurrentSources::default();
    let source =
        Source { provider: by_name("resend").unwrap(), proof: Arc::new(Proof::Basic(Vec::new())), fetching: None };
    sources.replace([("a".to_owned(), source)].into());
    let (egress, drain, suppress_on) = (Egress::default(), Duration::ZERO, Vec::new());
    let settings = Settings {
        egress,
        drain,
        max_in_flight: 8,
        sources,
        suppress_on,
        links: LinkSettings::default(),
        metrics: Arc::default(),
    };
    let (clock, cache) = (Arc::new(SystemClock::new()), Arc::new(EndpointCache::default()));
    cache.refresh(&*store).await.unwrap();
    let shared = Dispatcher::new(Arc::clone(&store) as _, cache, clock, "gw_1".into(), settings).unwrap().shared;
    let filter = Filter { since: None, until: Timestamp::MAX, source: None, status: Lack::ALL.to_vec() };
    let task = Task::Reprocess { filter, outcome: Outcome::default() };
    let job = Job::new("rpl_1".into(), task, false, Timestamp::UNIX_EPOCH);
    (store, shared, Job { counted: 5, state: JobState::Running, ..job })
}

/// The job after a step, as it was kept.
async fn after(store: &Fake, shared: &Shared, job: &Job) -> Job {
    timeout(step(shared, job)).await.unwrap();
    store.with(|state| state.requests.job.take()).unwrap()
}

fn outcome(job: &Job) -> (u64, u64) {
    let Task::Reprocess { outcome, .. } = &job.task else { panic!("{job:?}") };
    (outcome.unreadable, outcome.failed)
}

#[tokio::test]
async fn what_was_done_counts_though_the_store_fails_before_the_rest_and_before_that_is_kept() {
    let (store, shared, job) = begun().await;
    store.with(|state| (state.requests.is_down, state.failures) = (true, 2));
    let stopped = after(&store, &shared, &job).await;
    assert_eq!((stopped.state, stopped.made, stopped.cursor.as_deref()), (JobState::Running, 2, Some("1")));
    assert!(step(&shared, &stopped).await.is_err(), "nothing was done");
    store.with(|state| (state.requests.is_down, state.requests.broken) = (false, None));
    let done = after(&store, &shared, &stopped).await;
    assert_eq!((done.state, done.made, done.left_out, outcome(&done)), (JobState::Done, 5, 0, (5, 0)));
}

#[tokio::test]
async fn a_request_that_goes_on_failing_while_the_store_works_is_left_out() {
    let (store, shared, mut job) = begun().await;
    for failures in 1..5 {
        job = after(&store, &shared, &job).await;
        assert_eq!((job.state, job.made, job.failures), (JobState::Running, 2, Some(failures)));
    }
    // It is not its fault that the store is down.
    store.with(|state| state.requests.is_down = true);
    assert!(step(&shared, &job).await.is_err());
    store.with(|state| state.requests.is_down = false);
    let done = after(&store, &shared, &job).await;
    assert_eq!((done.state, done.made, done.left_out, outcome(&done)), (JobState::Done, 4, 1, (4, 1)));
    assert_eq!(store.with(|state| state.requests.broken.take()), Some((id(2), 6)));
}
