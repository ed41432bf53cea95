//! Erasing a person: the steps of such a job. Each may be made again: what it erased is not found any more, and counts no
//! more.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::Shared;
use crate::domain::attempt_log::Detail;
use crate::domain::content::kept_as;
use crate::domain::erasure::{Erased, Erasure, OnList, Stage};
use crate::domain::id::RequestId;
use crate::domain::job::Job;
use crate::domain::person::Person;
use crate::domain::plan::StoredEvent;
use crate::reprocess;
use crate::store::{Anew, KeptAnswer, LeftBody, Page, Result, StoreError, StoredRequest};

/// How much one step looks at, or a few more.
const LOOKS_MAX: usize = 200;
/// How many files of bodies, which are read whole.
const FILES_MAX: usize = 20;
/// By then a body's request has been committed, or never is: whoever wrote it has long answered.
const SETTLED: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 3_600 });
/// How often it is asked whether the files have been written anew.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What came of a step.
pub(super) enum Turn {
    /// Nothing yet: it is to be made after this.
    Wait(Duration),
    /// This.
    Made(Erased),
}

/// One step.
pub(super) async fn step(shared: &Shared, job: &Job, erasure: &Erasure) -> Result<Turn> {
    let cursor = job.cursor.as_deref();
    if erasure.stage == Stage::Disk {
        return disk(shared, cursor).await;
    }
    let settles_in = erasure.settles_in(shared.clock.now());
    if !settles_in.is_zero() {
        return Ok(Turn::Wait(settles_in));
    }
    let address = erasure.address.as_ref().ok_or_else(|| StoreError::Corrupt("an erasure of nobody".into()))?;
    let looking = Looking { shared, erasure, person: Arc::new(Person::new(address)) };
    let made = match erasure.stage {
        Stage::Requests => {
            // Before anything that comes in from now on puts it there again.
            if cursor.is_none() && erasure.suppression == OnList::Remove {
                shared.store.unsuppress(address).await?;
            }
            looking.requests(cursor).await
        }
        Stage::Events => looking.events(cursor).await,
        Stage::Answers => looking.answers(cursor).await,
        Stage::Left | Stage::Disk => return looking.left(cursor).await,
    };
    made.map(Turn::Made)
}

async fn disk(shared: &Shared, begun: Option<&str>) -> Result<Turn> {
    let anew = shared.store.write_anew(begun).await?;
    let disk_refused = anew == Anew::Refused;
    Ok(match anew {
        Anew::Writing(next) if next.as_deref() == begun => Turn::Wait(LOOK_EVERY),
        Anew::Writing(next) => Turn::Made(Erased { next, ..Erased::default() }),
        Anew::Written | Anew::Refused => Turn::Made(Erased { disk_refused, is_end: true, ..Erased::default() }),
    })
}

/// A place among the files of bodies, which are looked through after their parts.
#[derive(Default)]
struct Files {
    from: Option<String>,
    /// Nothing is done before.
    not_before: Timestamp,
}

impl Files {
    const PREFIX: &str = "files";

    fn parse(cursor: &str) -> Option<Self> {
        let (not_before, from) = cursor.strip_prefix(Self::PREFIX)?.strip_prefix('@')?.split_once(':')?;
        let not_before = Timestamp::from_millisecond(not_before.parse().ok()?).ok()?;
        Some(Self { from: Some(from.to_owned()).filter(|from| !from.is_empty()), not_before })
    }

    fn cursor(&self) -> String {
        format!("{}@{}:{}", Self::PREFIX, self.not_before.as_millisecond(), self.from.as_deref().unwrap_or_default())
    }
}

fn naming(person: &Person, events: Vec<StoredEvent>) -> Vec<StoredEvent> {
    events.into_iter().filter(|event| person.is_in(event.data.get().as_bytes())).collect()
}

struct Looking<'a> {
    shared: &'a Shared,
    erasure: &'a Erasure,
    person: Arc<Person>,
}

impl Looking<'_> {
    async fn requests(&self, cursor: Option<&str>) -> Result<Erased> {
        let store = &self.shared.store;
        let Page { items, next } = store.requests_from(cursor, LOOKS_MAX).await?;
        let mut erased = Erased { looked_at: items.len() as u64, is_end: next.is_none(), next, ..Erased::default() };
        for id in items {
            match self.request(&id).await {
                Ok(None) => {}
                Ok(Some(events)) => {
                    erased.requests += 1;
                    erased.events += events;
                }
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(request.id = %id, %error, "a request is passed over by an erasure");
                    erased.unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(erased)
    }

    /// Blanks a request that was received until then and names the person; answers how many events of it went with it, and
    /// none if it was not blanked.
    async fn request(&self, id: &RequestId) -> Result<Option<u64>> {
        let store = &self.shared.store;
        let Some(len) = store.request_len(id).await? else {
            // Who erased it may not have got to its file.
            if store.is_erased(id).await? {
                store.erase_requests(std::slice::from_ref(id)).await?;
            }
            return Ok(None);
        };
        let _held = self.shared.room.take(len).await;
        let Some(stored) = store.request(id).await? else { return Ok(None) };
        let request = stored.request.clone();
        // A large one takes a while.
        if request.received_at > self.erasure.until
            || !self.look(request, |person, request| person.is_in_message(&request.headers, &request.body)).await?
        {
            return Ok(None);
        }
        let events = self.events_of(stored).await?;
        store.erase_requests(std::slice::from_ref(id)).await?;
        Ok(Some(events))
    }

    /// Erases the events of a request that name the person, and answers how many there were. Those that had come no further
    /// are known from now on, for the provider sends it again; of what else it says nothing is to be lost.
    async fn events_of(&self, stored: StoredRequest) -> Result<u64> {
        let (store, id) = (&self.shared.store, stored.id.clone());
        let events = match reprocess::events(stored).await {
            Ok(events) => events,
            Err(reprocess::Error::Store(error)) if !matches!(error, StoreError::Corrupt(_)) => return Err(error),
            // Nobody gets events out of it.
            Err(error) => {
                tracing::debug!(request.id = %id, %error, "a request that is erased cannot be read again");
                return Ok(0);
            }
        };
        let named = self.look(events, naming).await?;
        store.bar_events(&named).await?;
        let mut erased = 0;
        for event in named {
            match store.event(&event.id).await {
                Ok(None) => {}
                Ok(Some(known)) => {
                    self.erase_event(&known).await?;
                    erased += 1;
                }
                // Its request goes all the same.
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(event.id = %event.id, %error, "an event is passed over by an erasure");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(erased)
    }

    async fn erase_event(&self, event: &StoredEvent) -> Result<()> {
        // First, for without the event nobody knows of them.
        let requests: Vec<_> = event.request_id.iter().cloned().chain(kept_as(event)).collect();
        self.shared.store.erase_requests(&requests).await?;
        self.shared.store.erase_event(event).await
    }

    async fn events(&self, cursor: Option<&str>) -> Result<Erased> {
        let store = &self.shared.store;
        let Page { items, next } = store.events_from(cursor, LOOKS_MAX).await?;
        let mut erased = Erased { looked_at: items.len() as u64, is_end: next.is_none(), next, ..Erased::default() };
        let until = self.erasure.until;
        let received: Vec<_> = items.into_iter().filter(|event| event.received_at <= until).collect();
        for event in self.look(received, naming).await? {
            self.erase_event(&event).await?;
            erased.events += 1;
        }
        Ok(erased)
    }

    async fn answers(&self, cursor: Option<&str>) -> Result<Erased> {
        let store = &self.shared.store;
        let Page { items, next } = store.answers_from(cursor, LOOKS_MAX).await?;
        let mut erased = Erased { looked_at: items.len() as u64, is_end: next.is_none(), next, ..Erased::default() };
        let until = self.erasure.until;
        let named = move |person: &Person, all: Vec<KeptAnswer>| {
            let is_named = |KeptAnswer { at, detail: Detail { sent, answer }, .. }: &KeptAnswer| {
                let texts = [Some(sent), answer.as_ref()];
                *at <= until && texts.into_iter().flatten().any(|text| person.is_in(text.as_bytes()))
            };
            all.into_iter().filter(is_named).map(|kept| kept.place).collect::<Vec<_>>()
        };
        for place in self.look(items, named).await? {
            store.forget_answer(&place).await?;
            erased.answers += 1;
        }
        Ok(erased)
    }

    /// Bodies without a request. What was written since cannot be what was received until then, and is left alone.
    async fn left(&self, cursor: Option<&str>) -> Result<Turn> {
        let (store, now) = (&self.shared.store, self.shared.clock.now());
        let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
        let begins_at = self.erasure.begins_at;
        let Some(Files { from, not_before }) = cursor.and_then(Files::parse) else {
            let next = store.remove_left_parts(cursor, LOOKS_MAX, since(begins_at)).await?;
            let next = next.unwrap_or_else(|| Files::default().cursor());
            return Ok(Turn::Made(Erased { next: Some(next), ..Erased::default() }));
        };
        if not_before > now {
            return Ok(Turn::Wait(Duration::try_from(not_before.duration_since(now)).unwrap_or_default()));
        }
        let Page { items, next } = store.left_from(from.as_deref(), LOOKS_MAX).await?;
        let mut erased = Erased::default();
        let (mut from, mut looks) = (from, 0);
        for body in items.into_iter().filter(|body| body.written_at <= begins_at) {
            if looks == FILES_MAX {
                erased.next = Some(Files { from, ..Files::default() }.cursor());
                return Ok(Turn::Made(erased));
            }
            if self.is_named_by(&body, &mut erased).await? {
                let not_before = body.written_at.checked_add(SETTLED).unwrap_or(Timestamp::MAX);
                if not_before > now {
                    erased.next = Some(Files { from, not_before }.cursor());
                    return Ok(Turn::Made(erased));
                }
                store.remove_left(&body).await?;
                erased.looked_at += 1;
            }
            (from, looks) = (Some(body.place), looks + 1);
        }
        erased.is_end = next.is_none();
        erased.next = next.map(|next| Files { from: Some(next), ..Files::default() }.cursor());
        Ok(Turn::Made(erased))
    }

    async fn is_named_by(&self, body: &LeftBody, erased: &mut Erased) -> Result<bool> {
        let _held = self.shared.room.take(usize::MAX).await;
        match self.shared.store.left_body(&body.place).await {
            Ok(text) => self.look(text, |person, text| person.is_in(&text)).await,
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "a file is passed over by an erasure");
                erased.unreadable += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks off the runtime's threads.
    async fn look<T: Send + 'static, U: Send + 'static>(
        &self,
        at: T,
        look: impl FnOnce(&Person, T) -> U + Send + 'static,
    ) -> Result<U> {
        let person = Arc::clone(&self.person);
        let looked = spawn_blocking(move || look(&person, at)).await;
        looked.map_err(|_| StoreError::Unavailable("shutting down".into()))
    }
}
