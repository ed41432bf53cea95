//! Deliveries that are made anew.

use async_trait::async_trait;
use fjall::Slice;

use super::batch::decide;
use super::core::{Core, REPROCESSED};
use super::delivery::{Again, Ended, Planned, Progress, Row, Waiting};
use super::ids::Kind;
use super::index::{Item, Stored};
use super::jobs::is_canceled;
use super::read::View;
use super::rows::{EventRow, Expiring, Id, Key, corrupt, decode, micros, number, unpack};
use super::spaces::Space;
use super::txn::Txn;
use super::{Embedded, jobs};
use crate::domain::delivery::{Class, EndReason, Status};
use crate::domain::id::{EndpointId, ReplayId};
use crate::domain::job::Job;
use crate::domain::plan::StoredEvent;
use crate::domain::replay::{Found, REPLAYS_OF_EVENT_MAX, Replay};
use crate::store::{Page, PageQuery, Replayed, Replays, Result, ScanFrom, Scanned, StoreError};

/// What is asked for, and its event's place in the feed and how many deliveries began with it, if it is there: read by
/// who asks, for the writer is not to wait for the disk.
type Asked = (Replay, Option<(u64, u16)>);

impl Core {
    fn replay(&mut self, txn: &mut Txn<'_>, replays: &[Asked], now: u64) -> Result<Vec<Replayed>> {
        let one = |asked: &Asked| match self.replay_one(txn, asked, now) {
            // Nothing of it was changed. The others of its job are made, and the job comes to its end.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(event.id = %asked.0.event_id, %error, "an event is passed over by a replay");
                Ok(Replayed::Gone)
            }
            answer => answer,
        };
        replays.iter().map(one).collect()
    }

    fn replay_one(&mut self, txn: &mut Txn<'_>, (asked, began): &Asked, now: u64) -> Result<Replayed> {
        let (Some(event), Some(replay)) = (asked.event_id.bits(), asked.replay.bits()) else {
            return Ok(Replayed::Gone);
        };
        let at = txn.place(Kind::Event, &event)?.filter(|at| at.is_alive(now));
        let Some((at, places)) = at.zip(*began).and_then(|(at, (seq, places))| (at.seq == seq).then_some((at, places)))
        else {
            return Ok(Replayed::Gone);
        };
        if is_canceled(txn, replay)? {
            return Ok(Replayed::Canceled);
        }
        let seq = at.seq.to_be_bytes();
        let row = txn.written(Space::Events, &seq)?;
        if row.is_some_and(|row| EventRow::read(&row).is_ok_and(|row| row.is_erased())) {
            return Ok(Replayed::Gone);
        }
        let known = txn.get(Space::Replays, &seq)?;
        let mut known: Vec<Planned> = known.map_or(Ok(Vec::new()), |row| unpack(&row))?;
        let is_same =
            |one: &Planned| one.endpoint == asked.endpoint && one.replay.is_some_and(|again| again.id == replay);
        if known.iter().any(is_same) {
            return Ok(Replayed::Known);
        }
        if known.len() >= REPLAYS_OF_EVENT_MAX {
            return Ok(Replayed::Full);
        }
        let waiting = txn.get(Space::Waiting, &seq)?.map(|row| unpack(&row)).transpose()?;
        let place = match known.last() {
            Some(last) => last.place.checked_add(1),
            None => {
                txn.put(Space::Expiry, &Expiring::Replays(&seq).key(at.expires), Slice::empty());
                Some(places)
            }
        };
        let Some(place) = place else { return Ok(Replayed::Full) };
        self.last_replay += 1;
        let again = Again { id: replay, made: now, order: self.last_replay };
        let planned = Planned { place, class: Class::Low, endpoint: asked.endpoint.clone(), replay: Some(again) };
        let mut waiting = waiting.unwrap_or(Waiting {
            event,
            mail: asked.mail,
            committed: now,
            expires: at.expires,
            planned: Vec::new(),
        });
        self.add_replay(&waiting, Key::new(at.seq, place), &planned.endpoint, replay, now);
        waiting.planned.push(planned.clone());
        known.push(planned);
        (txn.synced, self.moved) = (true, true);
        txn.put_packed(Space::Waiting, &seq, &waiting)?;
        txn.put_packed(Space::Replays, &seq, &known)?;
        Ok(Replayed::Made)
    }

    fn add_replay(&mut self, waiting: &Waiting, key: Key, endpoint: &EndpointId, replay: Id, now: u64) {
        let item = Item {
            event: waiting.event,
            mail: waiting.mail,
            expires: waiting.expires,
            due: now,
            lane: self.index.lane(endpoint),
            class: Class::Low,
            stored: Stored::Nothing,
            tried: false,
            held: false,
            next: None,
        };
        self.index.note_replay(key, replay);
        self.index.add(key, item);
    }

    fn cancel(&mut self, txn: &mut Txn<'_>, replay: Id, limit: usize, now: u64) -> Result<usize> {
        jobs::note_canceled(txn, replay);
        let keys: Vec<Key> = self.index.of_replay(replay).take(limit).collect();
        for key in &keys {
            let Some(item) = self.index.get(*key).copied() else { continue };
            let mut known = Progress::default();
            if item.stored != Stored::Nothing {
                let Some(progress) = self.progress(txn, *key, now)? else { continue };
                known = progress;
            }
            let Progress { begun, begun_at, attempts, .. } = known;
            let ended = Ended {
                event: item.event,
                endpoint: self.index.endpoint(item.lane).clone(),
                replay: Some(replay),
                status: Status::Canceled,
                reason: Some(EndReason::ReplayCanceled),
                begun,
                begun_at,
                ended_at: now,
                expires: item.expires,
                attempts,
            };
            self.end(txn, *key, ended)?;
        }
        (txn.synced, self.moved) = (true, true);
        Ok(keys.len())
    }
}

impl View<'_> {
    fn began(&self, replays: Vec<Replay>) -> Result<Vec<Asked>> {
        let began = |id| {
            let Some(seq) = self.place(Kind::Event, id)? else { return Ok(None) };
            let row = self.get(Space::Events, &seq.to_be_bytes())?;
            row.map(|row| Ok((seq, EventRow::read(&row)?.places))).transpose()
        };
        replays.into_iter().map(|replay| began(replay.event_id.bits()).map(|began| (replay, began))).collect()
    }

    fn deliveries_to(&self, endpoint: &EndpointId, from: &ScanFrom, limit: usize) -> Result<Scanned> {
        let first = match from {
            ScanFrom::Time(time) => self.first_committed(micros(*time))?,
            ScanFrom::Cursor(cursor) => u64::from_str_radix(cursor, 16).map_err(|_| StoreError::BadCursor)?,
        };
        let mut scanned = Scanned::default();
        let reprocessed = self.get(Space::Meta, REPROCESSED)?.map_or(Ok(0), |seq| number(&seq).map(|(seq, _)| seq))?;
        for (count, row) in self.events_from(first).enumerate() {
            let (seq, row) = row?;
            let seq = number(&seq)?.0;
            if count >= limit {
                scanned.next = Some(format!("{seq:x}"));
                break;
            }
            if EventRow::read(&row).is_ok_and(|row| row.is_erased()) {
                continue;
            }
            let found = EventRow::read(&row).and_then(|row| Ok((row.expires, decode::<StoredEvent>(row.json)?)));
            let (expires, event) = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(seq, %error, "an event is passed over by a replay");
                    continue;
                }
            };
            scanned.last = Some(event.received_at).filter(|_| seq >= reprocessed);
            let place = event.endpoints.iter().position(|other| other == endpoint);
            let Some(place) = place.filter(|_| expires > self.now()) else { continue };
            // It is not in the feed.
            let Some(kind) = event.kind.in_feed(event.mail) else { continue };
            let key = Key::new(seq, u16::try_from(place).map_err(|_| corrupt("an event's endpoints"))?);
            let status = match self.row(key) {
                Ok(Some(Row::Ended(ended))) => ended.status,
                Ok(_) => Status::Pending,
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(event.id = %event.id, %error, "a delivery is passed over by a replay");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let StoredEvent { id, mail, received_at, .. } = event;
            scanned.found.push(Found { event_id: id, mail, kind, received_at, status });
        }
        Ok(scanned)
    }

    /// The place in the feed of the first event committed at this time or later.
    pub(super) fn first_committed(&self, time: u64) -> Result<u64> {
        let mut low = 1;
        let last = self.back_from(Space::Events, &[], &[u8::MAX; 8]).next();
        let last = last.transpose()?.map(|(seq, _)| number(&seq).map(|(seq, _)| seq)).transpose()?;
        let mut high = last.map_or(low, |last: u64| last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(row) = self.events_from(middle).next() else {
                high = middle;
                continue;
            };
            let (seq, row) = row?;
            let seq = number(&seq)?.0;
            // What cannot be read is before what can: nothing is passed over for it.
            if EventRow::read(&row).is_ok_and(|row| row.committed >= time) {
                high = middle;
            } else {
                low = seq + 1;
            }
        }
        Ok(low)
    }
}

#[async_trait]
impl Replays for Embedded {
    async fn replay(&self, replays: Vec<Replay>) -> Result<Vec<Replayed>> {
        let asked = self.read(|view| view.began(replays)).await?;
        self.ask(|answer| decide(answer, move |core, txn, now| core.replay(txn, &asked, now))).await
    }

    async fn pending_of(&self, replay: &ReplayId) -> Result<usize> {
        let Some(replay) = replay.bits() else { return Ok(0) };
        self.ask(|answer| decide(answer, move |core, _, _| Ok(core.index.of_replay(replay).count()))).await
    }

    async fn cancel(&self, replay: &ReplayId, limit: usize) -> Result<usize> {
        let Some(replay) = replay.bits() else { return Ok(0) };
        self.ask(|answer| decide(answer, move |core, txn, now| core.cancel(txn, replay, limit, now))).await
    }

    async fn deliveries_to(&self, endpoint: &EndpointId, from: &ScanFrom, limit: usize) -> Result<Scanned> {
        let (endpoint, from) = (endpoint.clone(), from.clone());
        self.read(move |view| view.deliveries_to(&endpoint, &from, limit)).await
    }

    async fn keep_job(&self, job: &Job) -> Result<bool> {
        let job = job.clone();
        self.ask(|answer| decide(answer, move |core, txn, now| core.keep_job(txn, &job, now))).await
    }

    async fn job(&self, id: &ReplayId) -> Result<Option<Job>> {
        let id = id.clone();
        self.read(move |view| view.job(&id)).await
    }

    async fn jobs(&self, page: &PageQuery) -> Result<Page<Job>> {
        let page = page.clone();
        self.read(move |view| view.jobs(&page)).await
    }

    async fn active_jobs(&self) -> Result<Vec<Job>> {
        self.read(|view| view.active_jobs()).await
    }
}
