//! What is due, in memory. Rebuilt at start from what is pending.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::rows::{Key, Row};
use crate::domain::delivery::Class;
use crate::domain::id::{EndpointId, EventId, MailKey};
use crate::domain::ownership::Shards;
use crate::store::{DUE_LEN_MAX, Due};

/// How much longer the other class must have been due to go before the urgent one, where there are too few places to
/// keep some for it.
const HEAD_START_US: u64 = 5_000_000;

/// From how many places on a quarter is kept for the class that is not urgent.
const SHARED_FROM: usize = 4;

/// A delivery whose due time was moved: it is to be written.
pub(super) type Moved = Option<(Key, u64)>;

type ChainKey = (EndpointId, Class, MailKey);

/// A pending delivery.
struct Item {
    event: EventId,
    chain: ChainKey,
    due: u64,
    tried: bool,
}

/// One endpoint's deliveries that may be leased.
#[derive(Default)]
struct Lane {
    due: [BTreeSet<(u64, Key)>; 2],
    rest_until: u64,
    /// Its place in `Index::ready`.
    ready: Option<u64>,
}

/// Everything pending.
#[derive(Default)]
pub(super) struct Index {
    items: HashMap<Key, Item>,
    pairs: HashMap<(EventId, EndpointId), Key>,
    /// Deliveries whose first attempt has not finished, in commit order. Only the first of each is in its lane.
    chains: HashMap<ChainKey, VecDeque<Key>>,
    lanes: HashMap<EndpointId, Lane>,
    /// Lanes by when they are to be looked at.
    ready: BTreeSet<(u64, EndpointId)>,
}

impl Index {
    /// Adds a pending delivery; of one chain, in commit order.
    pub(super) fn add(&mut self, key: Key, row: &Row) {
        let chain = (row.endpoint.clone(), row.class, row.mail);
        self.pairs.insert((row.event.clone(), row.endpoint.clone()), key);
        let item = Item { event: row.event.clone(), chain: chain.clone(), due: row.due, tried: row.tried };
        self.items.insert(key, item);
        if row.tried {
            return self.enlist(key);
        }
        let waiting = self.chains.entry(chain).or_default();
        waiting.push_back(key);
        if waiting.len() == 1 {
            self.enlist(key);
        }
    }

    /// The pending delivery of this event to this endpoint.
    pub(super) fn find(&self, event: &EventId, endpoint: &EndpointId) -> Option<Key> {
        self.pairs.get(&(event.clone(), endpoint.clone())).copied()
    }

    /// Moves the due time of a delivery that is in its lane.
    pub(super) fn set_due(&mut self, key: Key, due: u64) {
        self.delist(key);
        if let Some(item) = self.items.get_mut(&key) {
            item.due = due;
        }
        self.enlist(key);
    }

    /// The first attempt of a delivery has finished: the next of its chain may go.
    pub(super) fn set_tried(&mut self, key: Key, now: u64) -> Moved {
        let item = self.items.get_mut(&key)?;
        if item.tried {
            return None;
        }
        item.tried = true;
        let chain = item.chain.clone();
        self.unchain(key, &chain, now)
    }

    /// A delivery has ended: the next of its chain may go.
    pub(super) fn remove(&mut self, key: Key, now: u64) -> Moved {
        self.delist(key);
        let item = self.items.remove(&key)?;
        let pair = (item.event, item.chain.0.clone());
        if self.pairs.get(&pair) == Some(&key) {
            self.pairs.remove(&pair);
        }
        self.unchain(key, &item.chain, now)
    }

    /// Takes it out of its chain; if it was the first, the next becomes due now.
    fn unchain(&mut self, key: Key, chain: &ChainKey, now: u64) -> Moved {
        let waiting = self.chains.get_mut(chain)?;
        // Nearly always: only the first is leased. Another one ends where an expired identity is new again.
        let was_first = waiting.front() == Some(&key);
        if was_first {
            waiting.pop_front();
        } else {
            waiting.retain(|waiting| *waiting != key);
        }
        let Some(next) = waiting.front().copied() else {
            self.chains.remove(chain);
            return None;
        };
        if !was_first {
            return None;
        }
        let item = self.items.get_mut(&next)?;
        let moved = (item.due > now).then_some((next, now));
        item.due = item.due.min(now);
        self.enlist(next);
        moved
    }

    fn enlist(&mut self, key: Key) {
        let Some(item) = self.items.get(&key) else { return };
        let endpoint = item.chain.0.clone();
        let lane = self.lanes.entry(endpoint.clone()).or_default();
        lane.due[item.chain.1 as usize].insert((item.due, key));
        self.refresh(&endpoint);
    }

    fn delist(&mut self, key: Key) {
        let Some(item) = self.items.get(&key) else { return };
        let endpoint = item.chain.0.clone();
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.due[item.chain.1 as usize].remove(&(item.due, key));
        }
        self.refresh(&endpoint);
    }

    /// Puts a lane where it belongs in `ready`.
    fn refresh(&mut self, endpoint: &EndpointId) {
        let Some(lane) = self.lanes.get_mut(endpoint) else { return };
        let first = lane.due.iter().filter_map(|due| due.first()).map(|(due, _)| *due).min();
        let ready = first.map(|due| due.max(lane.rest_until));
        let before = std::mem::replace(&mut lane.ready, ready);
        if before == ready {
            return;
        }
        if let Some(before) = before {
            self.ready.remove(&(before, endpoint.clone()));
        }
        if let Some(ready) = ready {
            self.ready.insert((ready, endpoint.clone()));
        }
    }

    /// Keeps a lane from being told of until then; with a time that is past, ends its rest.
    pub(super) fn rest(&mut self, endpoint: &EndpointId, until: u64) {
        self.lanes.entry(endpoint.clone()).or_default().rest_until = until;
        self.refresh(endpoint);
    }

    /// Which lanes are due, and when the next one is.
    pub(super) fn due(&self, shards: Shards, now: u64) -> Due {
        let mine = |(_, endpoint): &&(u64, EndpointId)| shards.contains(endpoint);
        let due = self.ready.iter().take_while(|(ready, _)| *ready <= now).filter(mine).take(DUE_LEN_MAX);
        let lanes = due.map(|(_, endpoint)| endpoint.clone()).collect();
        let later = (now.saturating_add(1), EndpointId::from(""));
        let next = self.ready.range(later..).find(mine).map(|(ready, _)| Duration::from_micros(ready - now));
        Due { lanes, next }
    }

    /// Which deliveries a lease takes, the urgent class first.
    ///
    /// With [`SHARED_FROM`] places or more, a quarter of them goes to the other class if it has that much due, and
    /// places that one class cannot use go to the other. With fewer, each place goes to the longest due, where the
    /// urgent class counts as due [`HEAD_START_US`] earlier than it is; so neither class can starve.
    pub(super) fn take(&self, endpoint: &EndpointId, limit: usize, now: u64) -> Vec<Key> {
        let Some(Lane { due: [high, normal], .. }) = self.lanes.get(endpoint) else { return Vec::new() };
        let ripe = |due: &BTreeSet<(u64, Key)>| -> Vec<(u64, Key)> {
            due.iter().take_while(|(due, _)| *due <= now).take(limit).copied().collect()
        };
        let (high, normal) = (ripe(high), ripe(normal));
        let highs = if limit >= SHARED_FROM {
            high.len().min(limit - normal.len().min(limit / 4))
        } else {
            (0..limit).fold(0, |highs, place| highs + usize::from(urgent_next(&high, &normal, highs, place - highs)))
        };
        let taken = high.iter().take(highs).chain(normal.iter().take(limit - highs));
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
