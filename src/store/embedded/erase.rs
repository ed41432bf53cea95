//! The erasure of a person. What named it is overwritten where it is: the row keeps its id and when it expires.

use std::sync::Arc;

use async_trait::async_trait;

use super::Embedded;
use super::attempts::kept_answer;
use super::batch::decide;
use super::core::Core;
use super::delivery::{Ended, Planned, Progress, Row};
use super::ids::Kind;
use super::range::Span;
use super::read::View;
use super::rows::{EventRow, Id, Key, Place, RequestRow, after, corrupt, decode, pack, unpack};
use super::spaces::Space;
use super::txn::Txn;
use crate::crash;
use crate::domain::delivery::{EndReason, Status};
use crate::domain::id::RequestId;
use crate::domain::plan::StoredEvent;
use crate::store::blobs::{Blob, Refers};
use crate::store::{Anew, Erasures, KeptAnswer, LeftBody, Page, Result, StoreError};

impl Core {
    /// Answers which file there is of it.
    fn erase_request(&mut self, txn: &mut Txn<'_>, id: Id, now: u64) -> Result<Option<Blob>> {
        let known = txn.place(Kind::Request, &id)?.filter(|known| known.is_alive(now));
        let place = known.unwrap_or_else(|| {
            self.last.request += 1;
            self.has_long_lived |= self.lifetimes.events > self.lifetimes.requests;
            let place = Place { seq: self.last.request, expires: after(now, self.lifetimes.events) };
            txn.put_place(Kind::Request, id, place);
            place
        });
        let seq = place.seq.to_be_bytes();
        let row = txn.written(Space::Requests, &seq)?;
        // Of one that cannot be read nothing is known, and nothing stays.
        let blob = row.and_then(|row| RequestRow::read(&row).ok()?.blob().ok()?);
        let row = RequestRow { expires: place.expires, id, head: &[], body: &pack(&blob)? };
        txn.put_written(Space::Requests, &seq, |to| row.write(to));
        if txn.get(Space::Incomplete, &seq)?.is_some() {
            txn.remove(Space::Incomplete, &seq);
        }
        txn.synced = true;
        Ok(blob)
    }

    /// A row that is erased from the beginning, where there is none.
    fn bar_event(&mut self, txn: &mut Txn<'_>, id: Id, now: u64) -> Result<()> {
        if txn.place(Kind::Event, &id)?.is_some_and(|known| known.is_alive(now)) {
            return Ok(());
        }
        self.last.event += 1;
        let (seq, expires) = (self.last.event, after(now, self.lifetimes.events));
        txn.put_place(Kind::Event, id, Place { seq, expires });
        let row = EventRow { committed: now, expires, id, places: 0, fingerprint: None, json: &[] };
        txn.put_written(Space::Events, &seq.to_be_bytes(), |to| row.write(to));
        txn.synced = true;
        Ok(())
    }

    fn erase_event(&mut self, txn: &mut Txn<'_>, id: Id, now: u64) -> Result<()> {
        let Some(place) = txn.place(Kind::Event, &id)?.filter(|place| place.is_alive(now)) else { return Ok(()) };
        let seq = place.seq.to_be_bytes();
        let Some(row) = txn.written(Space::Events, &seq)? else { return Ok(()) };
        let row = EventRow::read(&row)?;
        let replays = txn.get(Space::Replays, &seq)?;
        let replays: Vec<Planned> = replays.map_or(Ok(Vec::new()), |row| unpack(&row))?;
        for at in (0..row.places).chain(replays.iter().map(|one| one.place)) {
            self.erase_delivery(txn, Key::new(place.seq, at), now)?;
        }
        txn.put_written(Space::Events, &seq, |to| EventRow { json: &[], ..row }.write(to));
        self.recent.remove(place.seq);
        self.has_erased = true;
        (txn.synced, self.moved) = (true, true);
        Ok(())
    }

    fn erase_delivery(&mut self, txn: &mut Txn<'_>, key: Key, now: u64) -> Result<()> {
        let row = txn.get(Space::Deliveries, &key.bytes())?;
        let (is_there, row) = (row.is_some(), row.and_then(|row| unpack(&row).ok()));
        let progress = match row {
            Some(Row::Ended(mut ended)) => {
                self.forget_answers(txn, &ended.endpoint, key, &mut ended.attempts);
                return txn.put_packed(Space::Deliveries, &key.bytes(), &Row::Ended(ended));
            }
            Some(Row::Pending(progress)) => progress,
            None => Progress::default(),
        };
        let Some(item) = self.index.get(key).copied() else {
            // It cannot be read, and was set aside.
            if is_there {
                txn.remove(Space::Deliveries, &key.bytes());
            }
            return Ok(());
        };
        let Progress { begun, begun_at, mut attempts, .. } = progress;
        let endpoint = self.index.endpoint(item.lane).clone();
        self.forget_answers(txn, &endpoint, key, &mut attempts);
        let ended = Ended {
            event: item.event,
            endpoint,
            replay: self.index.replay(key),
            status: Status::Canceled,
            reason: Some(EndReason::Erased),
            begun,
            begun_at,
            ended_at: now,
            expires: item.expires,
            attempts,
        };
        self.end(txn, key, ended)
    }
}

impl View<'_> {
    /// At most so many rows of a space, in the order of their keys, as far as they are wanted and can be read.
    fn page_from<T>(
        &self,
        space: Space,
        cursor: Option<&str>,
        limit: usize,
        read: impl Fn(&[u8], &[u8]) -> Result<Option<T>>,
    ) -> Result<Page<T>> {
        let first = cursor.map_or(Ok(Vec::new()), hex::decode).map_err(|_| StoreError::BadCursor)?;
        let mut items = Vec::new();
        for (count, row) in self.range(&Span::from(space, first)).enumerate() {
            let (key, row) = row?;
            if count >= limit {
                return Ok(Page { items, next: Some(hex::encode(&key)) });
            }
            match read(&key, &row) {
                Ok(item) => items.extend(item),
                Err(error) => tracing::error!(?space, key = hex::encode(&key), %error, "a row is passed over"),
            }
        }
        Ok(Page { items, next: None })
    }

    fn requests_page(&self, cursor: Option<&str>, limit: usize) -> Result<Page<RequestId>> {
        self.page_from(Space::Requests, cursor, limit, |_, row| {
            let row = RequestRow::read(row)?;
            Ok((row.expires > self.now()).then(|| RequestId::from_bits(row.id)))
        })
    }

    fn events_page(&self, cursor: Option<&str>, limit: usize) -> Result<Page<StoredEvent>> {
        self.page_from(Space::Events, cursor, limit, |_, row| {
            let row = EventRow::read(row)?;
            if row.expires > self.now() && !row.is_erased() { decode(row.json).map(Some) } else { Ok(None) }
        })
    }

    fn answers_page(&self, cursor: Option<&str>, limit: usize) -> Result<Page<KeptAnswer>> {
        self.page_from(Space::AttemptLog, cursor, limit, |key, entry| kept_answer(key, entry).map(Some))
    }

    /// One that cannot be read may refer to any: an error.
    pub(super) fn blob_of(&self, id: &RequestId) -> Result<Option<Blob>> {
        let Some(seq) = self.place(Kind::Request, id.bits())? else { return Ok(None) };
        let row = self.get(Space::Requests, &seq.to_be_bytes())?;
        let row = row.as_deref().map(RequestRow::read).transpose()?;
        row.filter(|row| !row.is_erased()).map_or(Ok(None), |row| row.blob())
    }

    fn is_erased(&self, id: &RequestId) -> Result<bool> {
        let Some(seq) = self.place(Kind::Request, id.bits())? else { return Ok(false) };
        let row = self.get(Space::Requests, &seq.to_be_bytes())?;
        row.map_or(Ok(false), |row| Ok(RequestRow::read(&row)?.is_erased()))
    }
}

#[async_trait]
impl Refers for Embedded {
    async fn blob_of(&self, id: &RequestId, _: bool) -> Result<Option<Blob>> {
        let id = id.clone();
        self.read(move |view| view.blob_of(&id)).await
    }
}

#[async_trait]
impl Erasures for Embedded {
    async fn requests_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<RequestId>> {
        let cursor = cursor.map(str::to_owned);
        self.read(move |view| view.requests_page(cursor.as_deref(), limit)).await
    }

    async fn events_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<StoredEvent>> {
        let cursor = cursor.map(str::to_owned);
        self.read(move |view| view.events_page(cursor.as_deref(), limit)).await
    }

    async fn answers_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<KeptAnswer>> {
        let cursor = cursor.map(str::to_owned);
        self.read(move |view| view.answers_page(cursor.as_deref(), limit)).await
    }

    async fn erase_requests(&self, ids: &[RequestId]) -> Result<()> {
        let bits = |id: &RequestId| id.bits().ok_or_else(|| corrupt("a request's id"));
        let all: Vec<Id> = ids.iter().map(bits).collect::<Result<_>>()?;
        let erase = move |core: &mut Core, txn: &mut Txn<'_>, now| {
            all.into_iter().map(|id| core.erase_request(txn, id, now)).collect::<Result<Vec<_>>>()
        };
        let blobs = self.ask(|answer| decide(answer, erase)).await?;
        crash::point("request.erased");
        let files: Vec<_> =
            ids.iter().zip(blobs).filter_map(|(id, blob)| blob.map(|blob| (id.clone(), blob))).collect();
        let blobs = Arc::clone(&self.blobs);
        let remove = move || files.iter().try_for_each(|(id, blob)| blobs.remove(id, *blob));
        let removed = tokio::task::spawn_blocking(remove).await;
        removed.map_err(|_| StoreError::Unavailable("shutting down".into()))?
    }

    async fn is_erased(&self, id: &RequestId) -> Result<bool> {
        let id = id.clone();
        self.read(move |view| view.is_erased(&id)).await
    }

    async fn bar_events(&self, events: &[StoredEvent]) -> Result<()> {
        let all: Vec<Id> = events.iter().filter_map(|event| event.id.bits()).collect();
        let bar = move |core: &mut Core, txn: &mut Txn<'_>, now| {
            all.into_iter().try_for_each(|id| core.bar_event(txn, id, now))
        };
        self.ask(|answer| decide(answer, bar)).await
    }

    async fn left_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<LeftBody>> {
        self.blobs.left_from(self, cursor, limit).await
    }

    async fn left_body(&self, place: &str) -> Result<Vec<u8>> {
        self.blobs.left_body(place).await
    }

    async fn remove_left(&self, body: &LeftBody) -> Result<()> {
        self.blobs.remove_left(self, body).await
    }

    async fn erase_event(&self, event: &StoredEvent) -> Result<()> {
        let Some(id) = event.id.bits() else { return Ok(()) };
        self.ask(|answer| decide(answer, move |core, txn, now| core.erase_event(txn, id, now))).await
    }

    async fn forget_answer(&self, place: &str) -> Result<()> {
        let place = hex::decode(place).map_err(|_| StoreError::BadCursor)?;
        self.ask(|answer| decide(answer, move |core, txn, _| core.forget_answer(txn, &place))).await
    }

    async fn write_anew(&self, begun: Option<&str>) -> Result<Anew> {
        self.anew.step(begun)
    }
}
