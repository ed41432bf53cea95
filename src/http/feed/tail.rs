//! The tail of the feed: while anybody waits for more, one task reads what comes in, once, for all who wait here. It is
//! kept for a while, so that whoever is a little behind need not ask the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Data;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::domain::feed::{Cursor, Place};
use crate::domain::plan::StoredEvent;
use crate::http::api::{EventView, linked};
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::store::{FeedEntry, FeedPart};

/// So many may wait at once.
const READERS_MAX: usize = 4_096;
/// So many events are kept, and so many bytes of them.
const LEN_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;
/// And for so long: a person may be erased meanwhile, which the store knows.
const AGE_MAX: Duration = Duration::from_secs(10);
/// So many are read at once.
const PART_LEN: usize = 500;
/// How long it goes on when nobody waits any more and nothing comes in.
const LINGER: Duration = Duration::from_secs(5);
/// How soon the store is asked again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// An event as readers get it.
pub(super) struct Entry {
    pub(super) partition: usize,
    /// The place after it.
    pub(super) place: Place,
    pub(super) event: StoredEvent,
    /// As the API shows it.
    pub(super) json: Box<RawValue>,
}

impl Entry {
    /// # Errors
    /// When the store cannot be asked for what signs links.
    pub(super) async fn new(gateway: &Gateway, entry: FeedEntry) -> Result<Arc<Self>, Problem> {
        let FeedEntry { partition, place, event } = entry;
        let view = EventView::from(linked(gateway, event.clone()).await?);
        let json = serde_json::value::to_raw_value(&view).map_err(|_| Problem::ReadFailed)?;
        Ok(Arc::new(Self { partition, place, event, json }))
    }
}

/// How far a reader has come in the tail: which tail it was, and the number of the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    tail: u64,
    next: u64,
}

/// What is kept, from one place in the feed to another.
#[derive(Default)]
struct Ring {
    /// Raised whenever what follows does not follow what was there.
    tail: u64,
    start: Cursor,
    end: Cursor,
    /// The number of the first that is kept.
    first: u64,
    /// Each by when it came, on the clock that never steps.
    entries: VecDeque<(Duration, Arc<Entry>)>,
    bytes: usize,
}

impl Ring {
    /// Begins anew, at this place.
    fn begin(&mut self, at: Cursor) {
        *self = Self { tail: self.tail + 1, start: at.clone(), end: at, ..Self::default() };
    }

    fn push(&mut self, entries: Vec<Arc<Entry>>, end: Cursor, now: Duration) {
        for entry in entries {
            self.bytes += entry.json.get().len();
            self.entries.push_back((now, entry));
        }
        self.end = end;
        self.shrink(now);
    }

    /// Lets go what is too much, or too old.
    fn shrink(&mut self, now: Duration) {
        let is_old = |(at, _): &(Duration, _)| now.saturating_sub(*at) > AGE_MAX;
        while (self.bytes > BYTES_MAX || self.entries.len() > LEN_MAX || self.entries.front().is_some_and(is_old))
            && let Some((_, entry)) = self.entries.pop_front()
        {
            self.bytes -= entry.json.get().len();
            self.start.go_on(entry.partition, entry.place);
            self.first += 1;
        }
    }

    /// What comes after a place, if all of that is here.
    fn after(&mut self, mark: &mut Mark, cursor: &mut Cursor, limit: usize, now: Duration) -> Option<Vec<Arc<Entry>>> {
        self.shrink(now);
        if mark.tail != self.tail || (mark.next < self.first && !cursor.reaches(&self.start)) {
            return None;
        }
        mark.next = mark.next.max(self.first);
        let skipped = usize::try_from(mark.next - self.first).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for (_, entry) in self.entries.iter().skip(skipped) {
            if found.len() == limit {
                return Some(found);
            }
            mark.next += 1;
            // What came after a failover may have the numbers of what was lost; it is later.
            let is_ahead = |place: &Place| place.entries < entry.place.entries || place.stamp < entry.place.stamp;
            if cursor.places().get(entry.partition).is_some_and(is_ahead) {
                cursor.go_on(entry.partition, entry.place);
                found.push(Arc::clone(entry));
            }
        }
        // Also past what is not in the feed.
        if self.end.reaches(cursor) {
            *cursor = self.end.clone();
        }
        Some(found)
    }
}

#[derive(Default)]
struct State {
    readers: usize,
    is_running: bool,
    ring: Ring,
}

/// See the module.
#[derive(Default)]
pub(in crate::http) struct Tail {
    state: Mutex<State>,
    grown: watch::Sender<()>,
}

impl Tail {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait.
    pub(in crate::http) fn wake(&self) {
        self.grown.send_replace(());
    }

    /// Changes when there is more here.
    pub(super) fn grown(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Where a reader begins who goes on to read in the store all that is there: what comes later is here, if anybody
    /// waits. What is here already it has had then, also where the clock was set back since.
    pub(super) fn mark(&self) -> Mark {
        let ring = &self.lock().ring;
        let kept = u64::try_from(ring.entries.len()).unwrap_or(u64::MAX);
        Mark { tail: ring.tail, next: ring.first.saturating_add(kept) }
    }

    /// What comes after a place, and goes on there; none where that is not here, and has to be read in the store.
    pub(super) fn after(
        &self,
        mark: &mut Mark,
        cursor: &mut Cursor,
        limit: usize,
        now: Duration,
    ) -> Option<Vec<Arc<Entry>>> {
        self.lock().ring.after(mark, cursor, limit, now)
    }

    /// One more waits, until [`Tail::leave`].
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when too many do.
    pub(super) fn join(gateway: &Data<Gateway>) -> Result<(), Problem> {
        let mut state = gateway.feed.lock();
        if state.readers >= READERS_MAX {
            return Err(Problem::Overloaded);
        }
        state.readers += 1;
        drop(state);
        Self::run(gateway);
        Ok(())
    }

    /// Has what comes in read, unless it is.
    pub(super) fn run(gateway: &Data<Gateway>) {
        if !std::mem::replace(&mut gateway.feed.lock().is_running, true) {
            // Also where its thread ends before it begins.
            let running = Running(Some(gateway.clone()));
            actix_web::rt::spawn(follow(gateway.clone(), running));
        }
    }

    pub(super) fn leave(&self) {
        self.lock().readers -= 1;
    }

    /// Whether nobody waits; then the next who does begins another.
    fn ends(&self) -> bool {
        let mut state = self.lock();
        if state.readers == 0 {
            state.is_running = false;
            state.ring.begin(Cursor::default());
        }
        state.readers == 0
    }
}

/// That what comes in is read, here.
struct Running(Option<Data<Gateway>>);

impl Drop for Running {
    /// By a panic, or with the thread: whoever waits begins another.
    fn drop(&mut self) {
        if let Some(gateway) = self.0.take() {
            gateway.feed.lock().is_running = false;
            gateway.feed.wake();
        }
    }
}

/// Reads what comes in for as long as anybody waits for it.
async fn follow(gateway: Data<Gateway>, mut running: Running) {
    let mut grown = gateway.store.feed_grown();
    let (mut end, mut is_failing) = (None, false);
    while !gateway.feed.ends() {
        grown.borrow_and_update();
        let read = read(&gateway, &mut end).await;
        if let (Err(error), false) = (&read, is_failing) {
            tracing::warn!(%error, "the feed cannot be read; whoever waits for it goes on waiting");
        }
        is_failing = read.is_err();
        match read {
            Ok(true) => {}
            Ok(false) => drop(tokio::time::timeout(LINGER, grown.changed()).await),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
    running.0 = None;
}

/// Reads on, or first where the feed ends; whether there is more.
async fn read(gateway: &Gateway, end: &mut Option<Cursor>) -> Result<bool, Problem> {
    let Some(known) = end else {
        let last = gateway.store.feed_end().await?;
        gateway.feed.lock().ring.begin(last.clone());
        *end = Some(last);
        gateway.feed.wake();
        return Ok(true);
    };
    let FeedPart { entries, cursor, missed, is_rewound, has_more, .. } =
        gateway.store.feed(Some(known), PART_LEN).await?;
    if missed > 0 || is_rewound {
        // Each is to find that out by itself, and be told. Of what follows a place that was lost the numbers may be wrong
        // until the end, so it is begun anew there.
        *end = None;
        return Ok(true);
    }
    if *known == cursor {
        return Ok(has_more);
    }
    let mut made = Vec::with_capacity(entries.len());
    for entry in entries {
        made.push(Entry::new(gateway, entry).await?);
    }
    gateway.feed.lock().ring.push(made, cursor.clone(), gateway.clock.elapsed());
    *end = Some(cursor);
    gateway.feed.wake();
    Ok(has_more)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::filter::Filter;
    use super::super::reader::Reader;
    use super::super::wait_for;
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::event_type::EventType;
    use crate::domain::id::{EventId, MailKey};
    use crate::domain::retention::Lifetimes;
    use crate::http::state::Limits;
    use crate::store::embedded::Embedded;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SOON: Duration = Duration::from_secs(5);
    const NOW: Duration = Duration::from_secs(100);

    fn gateway(dir: &std::path::Path) -> Data<Gateway> {
        let (clock, lifetimes) = (Arc::new(SystemClock::new()), Lifetimes { events: DAY, requests: DAY, tokens: DAY });
        let store = Arc::new(Embedded::open(dir, Arc::clone(&clock) as _, lifetimes).unwrap());
        Data::new(Gateway::new(store, clock, Arc::default(), Limits::NONE))
    }

    fn place(entries: u64, stamp: u64) -> Place {
        Place { entries, stamp }
    }

    fn entry(place: Place) -> Arc<Entry> {
        let json = || RawValue::from_string("{}".into()).unwrap();
        let event = StoredEvent {
            id: EventId::of("resend", &place.stamp.to_string()),
            kind: serde_json::from_str::<EventType>("\"email.sent\"").unwrap(),
            created_at: String::new(),
            data: json(),
            source: None,
            received_at: Timestamp::UNIX_EPOCH,
            request_id: None,
            mail: MailKey::of("mail", "m"),
            possible_duplicate_of: None,
            endpoints: Vec::new(),
        };
        Arc::new(Entry { partition: 0, place, event, json: json() })
    }

    #[test]
    fn what_has_the_number_of_what_was_lost_is_not_passed_over() {
        let mut ring = Ring::default();
        ring.begin(Cursor::new(vec![place(10, 100)]));
        // It had read two more, which a failover lost.
        let (mut mark, mut cursor) = (Mark { tail: ring.tail, next: 0 }, Cursor::new(vec![place(12, 102)]));
        ring.push(vec![entry(place(11, 200)), entry(place(12, 201))], Cursor::new(vec![place(12, 201)]), NOW);
        let found = ring.after(&mut mark, &mut cursor, 10, NOW).unwrap();
        assert_eq!(found.iter().map(|entry| entry.place.stamp).collect::<Vec<_>>(), [200, 201]);
        assert_eq!(cursor.places(), [place(12, 201)]);
    }

    #[test]
    fn what_is_old_is_asked_of_the_store() {
        let mut ring = Ring::default();
        ring.begin(Cursor::new(vec![place(10, 100)]));
        let (mut mark, mut behind) = (Mark { tail: ring.tail, next: 0 }, Cursor::new(vec![place(10, 100)]));
        ring.push(vec![entry(place(11, 200))], Cursor::new(vec![place(11, 200)]), NOW);
        assert!(ring.after(&mut mark.clone(), &mut behind.clone(), 10, NOW + AGE_MAX).is_some());
        assert!(ring.after(&mut mark, &mut behind, 10, NOW + AGE_MAX + Duration::from_millis(1)).is_none());
        let (mut mark, mut cursor) = (Mark { tail: ring.tail, next: 1 }, Cursor::new(vec![place(11, 200)]));
        assert!(ring.after(&mut mark, &mut cursor, 10, NOW * 2).unwrap().is_empty());
    }

    #[test]
    fn what_was_here_before_does_not_come_again_where_the_clock_was_set_back() {
        let (tail, end) = (Tail::default(), Cursor::new(vec![place(12, 50)]));
        tail.lock().ring.begin(Cursor::new(vec![place(10, 100)]));
        tail.lock().ring.push(vec![entry(place(11, 101)), entry(place(12, 50))], end.clone(), NOW);
        let (mut mark, mut cursor) = (tail.mark(), end);
        assert!(tail.after(&mut mark, &mut cursor, 10, NOW).unwrap().is_empty());
        tail.lock().ring.push(vec![entry(place(13, 51))], Cursor::new(vec![place(13, 51)]), NOW);
        assert_eq!(tail.after(&mut mark, &mut cursor, 10, NOW).unwrap().len(), 1);
    }

    #[actix_web::test]
    async fn another_reads_what_comes_in_when_the_thread_that_did_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path());
        let mut reader = Reader::new(gateway.clone(), Filter::default(), None);
        let first = gateway.clone();
        let thread = move || actix_web::rt::System::new().block_on(async move { Tail::join(&first).is_ok() });
        assert!(std::thread::spawn(thread).join().unwrap());
        reader.wait().await.unwrap();
        reader.read(10).await.unwrap();
        // The new one tells where it begins.
        tokio::time::timeout(SOON, reader.wait()).await.expect("it is woken").unwrap();
    }

    #[actix_web::test]
    async fn who_does_not_wait_has_nothing_read() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path());
        for _ in 0..20 {
            let mut reader = Reader::new(gateway.clone(), Filter::default(), None);
            assert!(wait_for(&gateway, &mut reader, 10, Duration::ZERO).await.unwrap().entries.is_empty());
            assert!(!gateway.feed.lock().is_running);
        }
    }
}
