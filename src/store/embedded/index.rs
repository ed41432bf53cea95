//! Everything pending, in memory: what is due, the chains, what is held. Rebuilt at start.
//!
//! There may be millions, so that a delivery is a few words, and an endpoint a number.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::ready::Ready;
use super::rows::{Id, Key};
use crate::domain::delivery::{Class, Owed};
use crate::domain::id::{EndpointId, MailKey};

/// How much longer the other class must have been due to go before the urgent one, where there are too few places to
/// keep some for it.
const HEAD_START_US: u64 = 5_000_000;

/// From how many places on a quarter is kept for the class that is not urgent.
const SHARED_FROM: usize = 4;

/// A delivery whose due time was moved: it is to be written.
pub(super) type Moved = Option<(Key, u64)>;

/// A lane's place in [`Index::lanes`].
pub(super) type LaneNo = u32;

/// Deliveries of one mail, one class and one endpoint; the hash of a mail, so that nobody chooses where it goes.
type ChainKey = (MailKey, LaneNo, Class);

/// A pending delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) event: Id,
    pub(super) mail: MailKey,
    pub(super) expires: u64,
    /// While it is held, the token too.
    pub(super) due: u64,
    pub(super) lane: LaneNo,
    pub(super) class: Class,
    pub(super) stored: Stored,
    /// Whether its first attempt has finished.
    pub(super) tried: bool,
    /// Whether a lease of it may finish.
    pub(super) held: bool,
    /// The next of its chain.
    pub(super) next: Option<Key>,
}

/// What only the row of a delivery knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stored {
    /// There is no row: it has never been begun.
    Nothing,
    /// How often it was begun, and its latest token.
    Begun,
    /// Attempts, too.
    Attempts,
}

/// A lease that may finish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) begun: u32,
    pub(super) begun_at: u64,
}

/// Deliveries whose first attempt has not finished, in commit order; each knows the next.
#[derive(Clone, Copy)]
struct Chain {
    first: Key,
    last: Key,
}

/// One endpoint's deliveries that may be leased.
struct Lane {
    endpoint: EndpointId,
    due: [BTreeSet<(u64, Key)>; Class::ALL.len()],
    /// How many of its deliveries are pending, those too that wait for another.
    pending: usize,
    /// To its replays.
    owed: Owed,
    rest_until: u64,
    /// As others were told.
    ready: Option<u64>,
    is_changed: bool,
}

/// Everything pending.
#[derive(Default)]
pub(super) struct Index {
    items: BTreeMap<Key, Item>,
    /// By event, token, endpoint and replay.
    held: FxHashMap<(Id, u64, LaneNo, Option<Id>), Held>,
    /// Which of the items were made by a replay, and by which.
    replays: FxHashMap<Key, Id>,
    by_replay: BTreeSet<(Id, Key)>,
    /// Only the first of each is in its lane.
    chains: FxHashMap<ChainKey, Chain>,
    lanes: Vec<Lane>,
    numbers: FxHashMap<EndpointId, LaneNo>,
    /// Lanes that others are to be told of.
    changed: Vec<LaneNo>,
    /// Whether they were told of any.
    has_told: bool,
}

impl Index {
    /// The number of an endpoint's lane.
    pub(super) fn lane(&mut self, endpoint: &EndpointId) -> LaneNo {
        if let Some(number) = self.numbers.get(endpoint) {
            return *number;
        }
        let number = LaneNo::try_from(self.lanes.len()).unwrap_or(LaneNo::MAX);
        self.numbers.insert(endpoint.clone(), number);
        self.lanes.push(Lane {
            endpoint: endpoint.clone(),
            due: Default::default(),
            pending: 0,
            owed: Owed::default(),
            rest_until: 0,
            ready: None,
            is_changed: false,
        });
        number
    }

    /// How many deliveries to an endpoint are pending.
    pub(super) fn pending_to(&self, endpoint: &EndpointId) -> usize {
        self.numbers.get(endpoint).map_or(0, |lane| self.lanes[*lane as usize].pending)
    }

    /// Adds a pending delivery; of one chain, in commit order.
    pub(super) fn add(&mut self, key: Key, item: Item) {
        let chain = (item.mail, item.lane, item.class);
        let is_open = item.tried || self.enchain(key, chain);
        if self.items.insert(key, item).is_none() {
            self.lanes[item.lane as usize].pending += 1;
        }
        if is_open {
            self.enlist(key);
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Item> {
        self.items.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Item> {
        self.items.get_mut(&key)
    }

    /// Those of one event.
    pub(super) fn of_event(&self, seq: u64) -> impl Iterator<Item = (Key, &Item)> {
        self.items.range(Key::of(seq)).map(|(key, item)| (*key, item))
    }

    /// Whether it is the first of its chain, and so may go.
    fn enchain(&mut self, key: Key, chain: ChainKey) -> bool {
        let Some(known) = self.chains.get_mut(&chain) else {
            self.chains.insert(chain, Chain { first: key, last: key });
            return true;
        };
        let before = std::mem::replace(&mut known.last, key);
        if let Some(before) = self.items.get_mut(&before) {
            before.next = Some(key);
        }
        false
    }

    /// A delivery is leased: its token is when it falls due again.
    pub(super) fn hold(&mut self, key: Key, token: u64, begun: u32, begun_at: u64) {
        self.set_due(key, token);
        let Some(item) = self.items.get_mut(&key) else { return };
        item.held = true;
        if item.stored == Stored::Nothing {
            item.stored = Stored::Begun;
        }
        let (event, lane, replay) = (item.event, item.lane, self.replay(key));
        self.held.insert((event, token, lane, replay), Held { key, begun, begun_at });
    }

    /// The lease with this token, if it may still finish.
    pub(super) fn held(&self, event: Id, token: u64, endpoint: &EndpointId, replay: Option<Id>) -> Option<Held> {
        let lane = self.numbers.get(endpoint)?;
        self.held.get(&(event, token, *lane, replay)).copied()
    }

    /// Says which replay made a delivery that is about to be added.
    pub(super) fn note_replay(&mut self, key: Key, replay: Id) {
        self.replays.insert(key, replay);
        self.by_replay.insert((replay, key));
    }

    /// Which replay made a pending delivery.
    pub(super) fn replay(&self, key: Key) -> Option<Id> {
        if self.replays.is_empty() { None } else { self.replays.get(&key).copied() }
    }

    /// The pending deliveries that a replay made.
    pub(super) fn of_replay(&self, replay: Id) -> impl Iterator<Item = Key> {
        let all = (replay, Key::FIRST)..=(replay, Key::LAST);
        self.by_replay.range(all).map(|(_, key)| *key)
    }

    /// Whose lane it is.
    pub(super) fn endpoint(&self, lane: LaneNo) -> &EndpointId {
        &self.lanes[lane as usize].endpoint
    }

    /// Moves the due time of a delivery that is in its lane; no lease of it may finish any more.
    pub(super) fn set_due(&mut self, key: Key, due: u64) {
        self.release(key);
        self.delist(key);
        if let Some(item) = self.items.get_mut(&key) {
            item.due = due;
        }
        self.enlist(key);
    }

    fn release(&mut self, key: Key) {
        let replay = self.replay(key);
        if let Some(item) = self.items.get_mut(&key).filter(|item| item.held) {
            item.held = false;
            self.held.remove(&(item.event, item.due, item.lane, replay));
        }
    }

    /// The first attempt of a delivery has finished: the next of its chain may go.
    pub(super) fn set_tried(&mut self, key: Key, now: u64) -> Moved {
        let item = self.items.get_mut(&key)?;
        if std::mem::replace(&mut item.tried, true) {
            return None;
        }
        let item = *item;
        self.unchain(key, &item, now)
    }

    /// A delivery has ended: the next of its chain may go.
    pub(super) fn remove(&mut self, key: Key, now: u64) -> Moved {
        self.release(key);
        self.delist(key);
        let item = self.items.remove(&key)?;
        self.lanes[item.lane as usize].pending -= 1;
        if item.class == Class::Low
            && let Some(replay) = self.replays.remove(&key)
        {
            self.by_replay.remove(&(replay, key));
        }
        if item.tried { None } else { self.unchain(key, &item, now) }
    }

    /// Takes it out of its chain; if it was the first, the next becomes due now.
    fn unchain(&mut self, key: Key, item: &Item, now: u64) -> Moved {
        let id = (item.mail, item.lane, item.class);
        let next = item.next;
        if let Some(item) = self.items.get_mut(&key) {
            item.next = None;
        }
        let chain = self.chains.get_mut(&id)?;
        if chain.first != key {
            let (first, last) = (chain.first, chain.last);
            self.cut_out(id, first, last, key, next);
            return None;
        }
        let Some(next) = next else {
            self.chains.remove(&id);
            return None;
        };
        chain.first = next;
        let item = self.items.get_mut(&next)?;
        let moved = (item.due > now && !item.held).then_some((next, now));
        if let Some((_, due)) = moved {
            item.due = due;
        }
        self.enlist(next);
        moved
    }

    /// Takes one from the middle or the end of a chain. Seldom: only the first is leased, and another one ends where an
    /// expired identity is new again.
    fn cut_out(&mut self, id: ChainKey, first: Key, last: Key, key: Key, next: Option<Key>) {
        let mut before = first;
        while let Some(item) = self.items.get_mut(&before)
            && let Some(after) = item.next
        {
            if after == key {
                item.next = next;
                break;
            }
            before = after;
        }
        if last == key {
            self.chains.insert(id, Chain { first, last: before });
        }
    }

    fn enlist(&mut self, key: Key) {
        let Some(item) = self.items.get(&key) else { return };
        let lane = item.lane;
        self.lanes[lane as usize].due[item.class as usize].insert((item.due, key));
        self.touch(lane);
    }

    fn delist(&mut self, key: Key) {
        let Some(item) = self.items.get(&key) else { return };
        let lane = item.lane;
        self.lanes[lane as usize].due[item.class as usize].remove(&(item.due, key));
        self.touch(lane);
    }

    fn touch(&mut self, lane: LaneNo) {
        if !std::mem::replace(&mut self.lanes[lane as usize].is_changed, true) {
            self.changed.push(lane);
        }
    }

    /// Tells what has changed since the last time. What is told must be committed.
    pub(super) fn tell(&mut self, ready: &mut Ready) {
        if !std::mem::replace(&mut self.has_told, true) {
            *ready = Ready::default();
        }
        for lane in self.changed.drain(..) {
            let lane = &mut self.lanes[lane as usize];
            lane.is_changed = false;
            let first = lane.due.iter().filter_map(|due| due.first()).map(|(due, _)| *due).min();
            let after = first.map(|due| due.max(lane.rest_until));
            let before = std::mem::replace(&mut lane.ready, after);
            if before != after {
                ready.set(&lane.endpoint, before, after);
            }
        }
    }

    /// Keeps a lane from being told of until then; with a time that is past, ends its rest.
    pub(super) fn rest(&mut self, lane: LaneNo, until: u64) {
        self.lanes[lane as usize].rest_until = until;
        self.touch(lane);
    }

    /// Which deliveries a lease takes, the urgent class first.
    ///
    /// With [`SHARED_FROM`] places or more, a quarter of them goes to the other class if it has that much due, and
    /// places that one class cannot use go to the other. With fewer, each place goes to the longest due, where the
    /// urgent class counts as due [`HEAD_START_US`] earlier than it is; so neither class can starve. Replays get what
    /// [`Owed::places`] says, and no more than `replays`.
    pub(super) fn take(&mut self, lane: LaneNo, limit: usize, replays: usize, now: u64) -> Vec<Key> {
        let Lane { due, owed, .. } = &mut self.lanes[lane as usize];
        let ripe = |due: &BTreeSet<(u64, Key)>| -> Vec<(u64, Key)> {
            due.iter().take_while(|(due, _)| *due <= now).take(limit).copied().collect()
        };
        let [high, normal, mut low] = due.each_ref().map(ripe);
        low.truncate(owed.places(limit, high.len() + normal.len(), low.len().min(replays)));
        let limit = limit - low.len();
        let highs = if limit >= SHARED_FROM {
            high.len().min(limit - normal.len().min(limit / 4))
        } else {
            (0..limit).fold(0, |highs, place| highs + usize::from(urgent_next(&high, &normal, highs, place - highs)))
        };
        let taken = high.iter().take(highs).chain(normal.iter().take(limit - highs)).chain(&low);
        taken.map(|(_, key)| *key).collect()
    }
}

/// Whether the next place goes to the urgent class, when so many of each have been taken.
fn urgent_next(high: &[(u64, Key)], normal: &[(u64, Key)], highs: usize, normals: usize) -> bool {
    match (high.get(highs), normal.get(normals)) {
        (Some((high, _)), Some((normal, _))) => *high <= normal.saturating_add(HEAD_START_US),
        (high, _) => high.is_some(),
    }
}
