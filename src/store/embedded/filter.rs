//! Which ids a tree may hold, told without asking its tables: most ids that are asked for are new, and the more a tree
//! holds the more tables it has, each with a filter of its own that is not in the CPU's cache.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fastbloom::AtomicBloomFilter;

use super::rows::Id;

/// So many ids have room in the first part of a filter, in 207 KiB. Each further part has more room by this.
const FIRST_LEN: usize = 128 * 1024;
const GROWTH: usize = 8;
const PARTS: usize = 3;
/// So large a share of unknown ids may be in a part that is full. With more than there is room for, 9.6 million, it becomes
/// larger, until tables are asked as if there were no filter.
const FALSE_SHARE: f64 = 0.002;

/// The filter of a tree. It grows with what is in it, to 15 MiB.
#[derive(Default)]
pub(super) struct Filter {
    parts: [OnceLock<AtomicBloomFilter>; PARTS],
    len: AtomicUsize,
    is_whole: AtomicBool,
}

impl Filter {
    /// To be called before the tree holds the id, or before it is whole.
    pub(super) fn add(&self, id: &Id) {
        let (mut at, mut room) = (self.len.fetch_add(1, Ordering::Relaxed), FIRST_LEN);
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            if at < room || parts.peek().is_none() {
                let empty = || AtomicBloomFilter::with_false_pos(FALSE_SHARE).expected_items(room);
                part.get_or_init(empty).insert_hash(hash(id));
                return;
            }
            (at, room) = (at - room, room * GROWTH);
        }
    }

    /// From now on it has all ids that the tree holds.
    pub(super) fn set_whole(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// False only if the tree does not hold the id.
    pub(super) fn may_have(&self, id: &Id) -> bool {
        let is_in = |part: &AtomicBloomFilter| part.contains_hash(hash(id));
        !self.is_whole.load(Ordering::Acquire) || self.parts.iter().filter_map(OnceLock::get).any(is_in)
    }
}

/// An id is a hash already.
fn hash(id: &Id) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::hash128;

    fn id(number: usize) -> Id {
        hash128(&[&number.to_be_bytes()])
    }

    #[test]
    fn it_has_all_that_was_added_and_little_else_while_it_grows() {
        let filter = Filter::default();
        filter.set_whole();
        assert!(!filter.may_have(&id(0)));
        // Into the third part.
        let len = FIRST_LEN * (GROWTH + 2);
        for number in 0..len {
            filter.add(&id(number));
            assert!(filter.may_have(&id(number)), "{number}");
        }
        assert!((0..len).all(|number| filter.may_have(&id(number))));
        let wrong = (0..10_000).filter(|number| filter.may_have(&id(usize::MAX - number))).count();
        assert!(wrong < 100, "{wrong} of 10,000");
    }

    #[test]
    fn nothing_is_new_until_it_is_whole() {
        let filter = Filter::default();
        assert!(filter.may_have(&id(0)));
        filter.set_whole();
        assert!(!filter.may_have(&id(0)));
    }
}
