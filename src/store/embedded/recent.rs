//! Events that are in memory, so that most leases need not read theirs: those committed last that are to be delivered,
//! and those read last that go to several endpoints.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::lease::Event;
use crate::domain::plan::StoredEvent;

/// So many bytes of them are kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What an event takes beside its data, and what each endpoint that it goes to, about.
const EVENT_BYTES: usize = 512;
const ENDPOINT_BYTES: usize = 64;

fn bytes(event: &StoredEvent) -> usize {
    EVENT_BYTES + event.data.get().len() + event.endpoints.len() * ENDPOINT_BYTES
}

/// Events by their place in the feed; those that came first go first.
#[derive(Default)]
pub(super) struct Recent {
    events: FxHashMap<u64, Arc<StoredEvent>>,
    /// Their places, and of some that were removed.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, seq: u64, event: Arc<StoredEvent>) {
        if self.events.contains_key(&seq) {
            return;
        }
        self.bytes += bytes(&event);
        self.events.insert(seq, event);
        self.order.push_back(seq);
        while self.bytes > BYTES_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.remove(first);
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(event) = self.events.remove(&seq) {
            self.bytes -= bytes(&event);
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<Arc<StoredEvent>> {
        self.events.get(&seq).cloned()
    }
}

/// Those read last. All are forgotten when one is erased.
#[derive(Default)]
pub(super) struct ReadLast(Mutex<Known>);

#[derive(Default)]
struct Known {
    events: Recent,
    /// How often all were forgotten.
    forgotten: u64,
}

impl ReadLast {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in those that are known. Answers what [`ReadLast::add`] is to be told of those that are read from now on.
    pub(super) fn look(&self, events: &mut [Event]) -> u64 {
        let known = self.known();
        for event in events {
            if let Event::Stored(seq) = *event
                && let Some(read) = known.events.get(seq)
            {
                *event = Event::Here(read);
            }
        }
        known.forgotten
    }

    /// Adds what was read since, unless an event was erased meanwhile: it may be that one.
    pub(super) fn add(&self, read: impl IntoIterator<Item = (u64, Arc<StoredEvent>)>, since: u64) {
        let mut known = self.known();
        if known.forgotten == since {
            read.into_iter().for_each(|(seq, event)| known.events.push(seq, event));
        }
    }

    /// Forgets all, since an event was erased.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        let events = std::mem::take(&mut known.events);
        known.forgotten += 1;
        drop(known);
        // So many that others would wait.
        drop(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::tests::many;

    fn event() -> Arc<StoredEvent> {
        let endpoints = vec!["wh_a".into(); 200];
        Arc::new(StoredEvent { endpoints, ..(*many(1).units[0].event).clone() })
    }

    #[test]
    fn what_came_first_goes_first_and_only_so_much_is_kept() {
        let (mut recent, event) = (Recent::default(), event());
        let len = bytes(&event);
        assert!(len > 200 * ENDPOINT_BYTES);
        let count = (BYTES_MAX / len) as u64;
        for seq in 0..count {
            recent.push(seq, Arc::clone(&event));
            recent.push(seq, Arc::clone(&event));
        }
        recent.remove(1);
        assert!(recent.get(0).is_some() && recent.get(1).is_none() && recent.bytes <= BYTES_MAX);
        (count..count + 3).for_each(|seq| recent.push(seq, Arc::clone(&event)));
        assert!(recent.get(0).is_none() && recent.get(count + 2).is_some() && recent.bytes <= BYTES_MAX);
        assert_eq!((recent.events.len() * len, recent.order.len()), (recent.bytes, recent.events.len()));
    }

    #[test]
    fn what_was_read_before_an_event_was_erased_is_not_kept() {
        let (read, event) = (ReadLast::default(), event());
        let get = |seq| {
            let mut events = [Event::Stored(seq)];
            read.look(&mut events);
            matches!(events, [Event::Here(_)])
        };
        let since = read.look(&mut []);
        read.add([(1, Arc::clone(&event))], since);
        assert!(get(1) && !get(2));
        read.forget();
        read.add([(2, event)], since);
        assert!(!get(1) && !get(2));
    }
}
