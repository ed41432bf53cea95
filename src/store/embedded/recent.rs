//! The events committed last that are to be delivered, so that most leases need not read theirs.

use std::collections::VecDeque;

use bytes::Bytes;

/// So many bytes of JSON are kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events by their place in the feed, in its order.
#[derive(Default)]
pub(super) struct Recent {
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, seq: u64, json: Bytes) {
        self.bytes += json.len();
        self.events.push_back((seq, json));
        while self.bytes > BYTES_MAX
            && let Some((_, json)) = self.events.pop_front()
        {
            self.bytes -= json.len();
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<Bytes> {
        let place = self.events.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        Some(self.events[place].1.clone())
    }
}
