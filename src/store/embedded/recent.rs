//! The events committed last that are to be delivered, so that most leases need not read theirs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::plan::StoredEvent;

/// So many bytes of their data are kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events by their place in the feed, in its order.
#[derive(Default)]
pub(super) struct Recent {
    events: VecDeque<(u64, Arc<StoredEvent>)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, seq: u64, event: Arc<StoredEvent>) {
        self.bytes += event.data.get().len();
        self.events.push_back((seq, event));
        while self.bytes > BYTES_MAX
            && let Some((_, event)) = self.events.pop_front()
        {
            self.bytes -= event.data.get().len();
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
        if let Ok(place) = self.events.binary_search_by_key(&seq, |(seq, _)| *seq)
            && let Some((_, event)) = self.events.remove(place)
        {
            self.bytes -= event.data.get().len();
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<Arc<StoredEvent>> {
        let place = self.events.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        Some(self.events[place].1.clone())
    }
}
