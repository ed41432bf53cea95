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
/// What a place among the files of bodies begins with, which are looked through after parts of bodies.
const FILES: &str = "files:";
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
                Ok(is_erased) => erased.requests += u64::from(is_erased),
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(request.id = %id, %error, "a request is passed over by an erasure");
                    erased.unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(erased)
    }

    /// Blanks a request that was received until then and names the person; answers whether it did.
    async fn request(&self, id: &RequestId) -> Result<bool> {
        let store = &self.shared.store;
        let Some(len) = store.request_len(id).await? else {
            // Who erased it may not have got to its file.
            if store.is_erased(id).await? {
                store.erase_requests(std::slice::from_ref(id)).await?;
            }
            return Ok(false);
        };
        let _held = self.shared.room.take(len).await;
        let Some(stored) = store.request(id).await? else { return Ok(false) };
        let request = stored.request.clone();
        // A large one takes a while.
        if request.received_at > self.erasure.until
            || !self.look(request, |person, request| person.is_in_message(&request.headers, &request.body)).await?
        {
            return Ok(false);
        }
        self.bar_events(stored).await?;
        store.erase_requests(std::slice::from_ref(id)).await?;
        Ok(true)
    }

    /// What names the person in a request may have come no further: the provider sends it again, and of what else it says
    /// nothing is to be lost.
    async fn bar_events(&self, stored: StoredRequest) -> Result<()> {
        let id = stored.id.clone();
        let events = match reprocess::events(stored).await {
            Ok(events) => events,
            Err(reprocess::Error::Store(error)) if !matches!(error, StoreError::Corrupt(_)) => return Err(error),
            // Nobody gets events out of it.
            Err(error) => {
                tracing::debug!(request.id = %id, %error, "a request that is erased cannot be read again");
                return Ok(());
            }
        };
        let named = |person: &Person, events: Vec<StoredEvent>| {
            events.into_iter().filter(|event| person.is_in(event.data.get().as_bytes())).collect::<Vec<_>>()
        };
        self.shared.store.bar_events(&self.look(events, named).await?).await
    }

    async fn events(&self, cursor: Option<&str>) -> Result<Erased> {
        let store = &self.shared.store;
        let Page { items, next } = store.events_from(cursor, LOOKS_MAX).await?;
        let mut erased = Erased { looked_at: items.len() as u64, is_end: next.is_none(), next, ..Erased::default() };
        let named = move |person: &Person, events: Vec<StoredEvent>| {
            events.into_iter().filter(|event| person.is_in(event.data.get().as_bytes())).collect::<Vec<_>>()
        };
        for event in self.look(items, named).await? {
            if !self.was_received(&event).await? {
                continue;
            }
            // First, for without the event nobody knows of them.
            let requests: Vec<_> = event.request_id.iter().cloned().chain(kept_as(&event)).collect();
            store.erase_requests(&requests).await?;
            store.erase_event(&event).await?;
            erased.events += 1;
        }
        Ok(erased)
    }

    /// Whether it was received until then: itself, or for the first time the request that it was read from.
    async fn was_received(&self, event: &StoredEvent) -> Result<bool> {
        match &event.request_id {
            _ if event.received_at <= self.erasure.until => Ok(true),
            Some(id) => self.shared.store.is_erased(id).await,
            None => Ok(false),
        }
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
        let Some(cursor) = cursor.and_then(|cursor| cursor.strip_prefix(FILES)) else {
            let next = store.remove_left_parts(cursor, LOOKS_MAX, since(begins_at)).await?;
            let next = Some(next.unwrap_or_else(|| FILES.to_owned()));
            return Ok(Turn::Made(Erased { next, ..Erased::default() }));
        };
        let cursor = Some(cursor).filter(|cursor| !cursor.is_empty());
        let Page { items, next } = store.left_from(cursor, LOOKS_MAX).await?;
        let mut erased = Erased { is_end: next.is_none(), ..Erased::default() };
        erased.next = next.map(|next| format!("{FILES}{next}"));
        for LeftBody { place, written_at } in items {
            if written_at > begins_at {
                continue;
            }
            let _held = self.shared.room.take(usize::MAX).await;
            if !self.look(store.left_body(&place).await?, |person, body| person.is_in(&body)).await? {
                continue;
            }
            let settles_in = SETTLED.saturating_sub(since(written_at));
            if !settles_in.is_zero() {
                return Ok(Turn::Wait(settles_in));
            }
            store.remove_left(&place).await?;
            erased.looked_at += 1;
        }
        Ok(Turn::Made(erased))
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
