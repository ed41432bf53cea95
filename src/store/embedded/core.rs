//! What the writer knows and decides, on one batch of writes and the index. What is changed here counts only when the
//! batch is committed; if it is not, both are thrown away.

use fjall::Slice;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::access;
use super::attempts::Logs;
use super::delivery::{Progress, Row, Waiting};
use super::index::{Index, Item, Moved, Stored};
use super::range::Span;
use super::recent::Recent;
use super::rows::{Expiring, Id, Key, after, corrupt, number, two_numbers, unpack};
use super::spaces::{Space, Spaces};
use super::txn::Txn;
use crate::domain::audit::Entry;
use crate::domain::id::EndpointId;
use crate::domain::plan::Generation;
use crate::domain::retention::Lifetimes;
use crate::store::{Result, StoreError};

/// The keys of [`Space::Meta`].
/// The endpoint set's generation.
pub(super) const GENERATION: &[u8] = b"generation";
/// The highest number that an endpoint has or had.
pub(super) const NUMBERED: &[u8] = b"numbered";
pub(super) const LAST: &[u8] = b"last";
/// Through which places the ids have been written.
pub(super) const IDS_WRITTEN: &[u8] = b"ids_written";
pub(super) const SWEPT: &[u8] = b"swept";
/// The place in the feed of the last event that was committed when its request was reprocessed.
pub(super) const REPROCESSED: &[u8] = b"reprocessed";

/// A change of the endpoint set that has this generation.
pub(super) struct Change {
    pub(super) base: Generation,
    /// Each as its row has it.
    pub(super) changes: Vec<(EndpointId, Slice)>,
    /// The highest of their numbers.
    pub(super) numbered: u64,
    pub(super) removed: Vec<EndpointId>,
    /// What is told of it.
    pub(super) entries: Vec<Entry>,
}

/// What the writer knows.
pub(super) struct Core {
    pub(super) index: Index,
    /// Deliveries of events that are not seen yet, in order.
    pub(super) joining: Vec<(Key, Item)>,
    pub(super) recent: Recent,
    pub(super) generation: Generation,
    pub(super) lifetimes: Lifetimes,
    /// The last places given out.
    pub(super) last: Last,
    /// Those of them that the store knows of.
    written: Last,
    /// Events that were removed while they had deliveries that had not ended, by id.
    pub(super) outlived: FxHashMap<Id, u64>,
    /// The place of the last replay among those that were pending with it.
    pub(super) last_replay: u64,
    /// The stamp of the latest entry of the audit log.
    pub(super) audited: u64,
    /// Whether the batch has a request that is kept as long as events.
    pub(super) has_long_lived: bool,
    /// Whether the batch ends what was pending of an event that had expired.
    pub(super) has_superseded: bool,
    /// Whether an event was erased since this was last put down.
    pub(super) has_erased: bool,
    /// Whether work was added or moved since this was last put down.
    pub(super) moved: bool,
    pub(super) logs: Logs,
}

/// A place in the feed, and one among the requests. Neither is ever given out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) event: u64,
    pub(super) request: u64,
}

impl Last {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (event, rest) = number(bytes)?;
        Ok(Self { event, request: number(rest)?.0 })
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        two_numbers(self.event, self.request)
    }
}

impl Core {
    /// Reads what is pending. What cannot be read is set aside: it stays where it is, and nobody is told of it.
    pub(super) fn rebuild(spaces: &Spaces, lifetimes: Lifetimes, now: u64) -> Result<Self> {
        let txn = Txn::new(spaces);
        let last = last(txn.get(Space::Meta, LAST)?)?;
        let generation = generation(txn.get(Space::Meta, GENERATION)?)?;
        let (mut index, mut outlived, mut replays) = (Index::default(), FxHashMap::default(), Vec::new());
        for waiting in spaces.range(&Span::from(Space::Waiting, [])) {
            let (seq, row) = waiting?;
            match number(&seq).and_then(|(seq, _)| Ok((seq, unpack(&row)?))) {
                Ok((seq, waiting)) => {
                    index_event(&txn, &mut index, seq, &waiting, &mut replays)?;
                    if waiting.expires <= now.max(spaces.ids.swept().until) {
                        outlived.insert(waiting.event, seq);
                    }
                }
                Err(error) => tell_set_aside(&seq, &error),
            }
        }
        // Those of one mail keep the order they were made in.
        replays.sort_by_key(|(order, ..)| *order);
        let last_replay = replays.last().map_or(0, |(order, ..)| *order);
        for (_, key, pending) in replays {
            pending.add(&mut index, key);
        }
        let recent = Recent::default();
        let (written, audited, has_long_lived, has_erased, moved) = (last, access::latest(spaces)?, false, true, true);
        let logs = Logs::read(spaces)?;
        Ok(Self {
            index,
            joining: Vec::new(),
            recent,
            generation,
            lifetimes,
            last,
            written,
            outlived,
            last_replay,
            audited,
            has_long_lived,
            has_superseded: false,
            has_erased,
            moved,
            logs,
        })
    }

    /// The same, read again.
    pub(super) fn again(&self, spaces: &Spaces, now: u64) -> Result<Self> {
        Self::rebuild(spaces, self.lifetimes, now)
    }

    /// Deliveries whose events are seen from now on may be leased.
    pub(super) fn join(&mut self, joining: Vec<(Key, Item)>) {
        self.moved |= !joining.is_empty();
        joining.into_iter().for_each(|(key, item)| self.index.add(key, item));
    }

    /// What is written once for all that a batch brought: the last places, and when it expires; how much logs hold.
    pub(super) fn close_batch(&mut self, txn: &mut Txn<'_>, now: u64) -> Result<()> {
        self.logs.write(txn)?;
        let (written, last) = (std::mem::replace(&mut self.written, self.last), self.last);
        if written == last {
            return Ok(());
        }
        txn.put(Space::Meta, LAST, last.bytes());
        let mut expire = |at, first: Expiring<'_>, last: u64| {
            txn.put(Space::Expiry, &first.key(at), last.to_be_bytes());
        };
        let of_events = after(now, self.lifetimes.events);
        if last.event > written.event {
            expire(of_events, Expiring::Events(written.event + 1), last.event);
        }
        if last.request > written.request {
            let first = Expiring::Requests(written.request + 1);
            expire(after(now, self.lifetimes.requests), first, last.request);
            if std::mem::take(&mut self.has_long_lived) {
                expire(of_events, first, last.request);
            }
        }
        Ok(())
    }

    /// What became of a pending delivery that has a row. One that cannot be read is set aside, so that it holds back no
    /// other.
    pub(super) fn progress(&mut self, txn: &mut Txn<'_>, key: Key, now: u64) -> Result<Option<Progress>> {
        let progress = progress(txn, key)?;
        if progress.is_none() {
            let moved = self.index.remove(key, now);
            self.write_moved(txn, moved, now)?;
        }
        Ok(progress)
    }

    pub(super) fn write_moved(&mut self, txn: &mut Txn<'_>, mut moved: Moved, now: u64) -> Result<()> {
        while let Some((key, due)) = moved {
            let Some(item) = self.index.get_mut(key) else { return Ok(()) };
            let known = match item.stored {
                Stored::Nothing => Some(Progress::default()),
                Stored::Begun | Stored::Attempts => progress(txn, key)?,
            };
            item.stored = item.stored.max(Stored::Begun);
            if let Some(known) = known {
                return txn.put_packed(Space::Deliveries, &key.bytes(), &Row::Pending(Progress { due, ..known }));
            }
            moved = self.index.remove(key, now);
        }
        Ok(())
    }

    pub(super) fn change_endpoints(
        &mut self,
        txn: &mut Txn<'_>,
        Change { base, changes, numbered, removed, entries }: Change,
        now: u64,
    ) -> Result<Option<Generation>> {
        if base != self.generation {
            return Ok(None);
        }
        if numbered > numbered_before(txn.get(Space::Meta, NUMBERED)?)? {
            txn.put(Space::Meta, NUMBERED, numbered.to_be_bytes());
        }
        for (id, row) in changes {
            txn.put(Space::Endpoints, id.as_str().as_bytes(), row);
        }
        for id in removed {
            txn.remove(Space::Endpoints, id.as_str().as_bytes());
            txn.remove(Space::Lanes, id.as_str().as_bytes());
        }
        self.generation = Generation(now.max(base.0.saturating_add(1)));
        txn.put(Space::Meta, GENERATION, self.generation.0.to_be_bytes());
        self.note(txn, &entries, now)?;
        txn.synced = true;
        self.moved = true;
        Ok(Some(self.generation))
    }
}

/// A delivery that has not ended, as its row has it.
struct Pending {
    item: Item,
    replay: Option<Id>,
    progress: Progress,
}

impl Pending {
    fn add(self, index: &mut Index, key: Key) {
        let Self { item, replay, progress } = self;
        if let Some(replay) = replay {
            index.note_replay(key, replay);
        }
        index.add(key, item);
        if progress.held {
            index.hold(key, progress.token, progress.begun, progress.begun_at.unwrap_or_default());
        }
    }
}

/// Adds those deliveries of an event to the index that have not ended; replays, each with its place among them, are set
/// aside to be added later.
fn index_event(
    txn: &Txn<'_>,
    index: &mut Index,
    seq: u64,
    waiting: &Waiting,
    replays: &mut Vec<(u64, Key, Pending)>,
) -> Result<()> {
    for planned in &waiting.planned {
        let key = Key::new(seq, planned.place);
        let row = match txn.get(Space::Deliveries, &key.bytes())?.map(|row| unpack(&row)).transpose() {
            Ok(row) => row,
            Err(error) => {
                tell_set_aside(&key.bytes(), &error);
                continue;
            }
        };
        let made = planned.replay.map_or(waiting.committed, |replay| replay.made);
        let (progress, stored) = match row {
            None => (Progress { due: made, ..Progress::default() }, Stored::Nothing),
            Some(Row::Pending(progress)) if progress.attempts.is_empty() => (progress, Stored::Begun),
            Some(Row::Pending(progress)) => (progress, Stored::Attempts),
            Some(Row::Ended(_)) => continue,
        };
        let item = Item {
            event: waiting.event,
            mail: waiting.mail,
            expires: waiting.expires,
            due: progress.due,
            lane: index.lane(&planned.endpoint),
            class: planned.class,
            stored,
            tried: progress.tried,
            held: false,
            next: None,
        };
        let pending = Pending { item, replay: planned.replay.map(|replay| replay.id), progress };
        match planned.replay {
            Some(replay) => replays.push((replay.order, key, pending)),
            None => pending.add(index, key),
        }
    }
    Ok(())
}

/// What the row says; before there is one, nothing ever came in.
pub(super) fn last(row: Option<Slice>) -> Result<Last> {
    row.map_or(Ok(Last::default()), |row| Last::read(&row))
}

/// What the row says; before there is one, nothing was ever changed.
pub(super) fn generation(row: Option<Slice>) -> Result<Generation> {
    row.map_or(Ok(Generation::default()), |row| Ok(Generation(number(&row)?.0)))
}

pub(super) fn numbered_before(row: Option<Slice>) -> Result<u64> {
    row.map_or(Ok(0), |row| Ok(number(&row)?.0))
}

/// What became of a pending delivery that has a row; none when it cannot be read.
fn progress(txn: &Txn<'_>, key: Key) -> Result<Option<Progress>> {
    let read = txn.get(Space::Deliveries, &key.bytes())?.map(|row| unpack(&row)).transpose();
    let error = match read {
        Ok(Some(Row::Pending(progress))) => return Ok(Some(progress)),
        Ok(_) => corrupt("a pending delivery's row"),
        Err(error) => error,
    };
    tell_set_aside(&key.bytes(), &error);
    Ok(None)
}

fn tell_set_aside(key: &[u8], error: &StoreError) {
    tracing::error!(key = hex::encode(key), %error, "a pending delivery is set aside");
}
