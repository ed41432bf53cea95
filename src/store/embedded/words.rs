//! Which events each word leads to, as far as that is in memory only. Written and found again like
//! [ids](super::ids), and as dead when its event has been removed.

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::rows::{Place, corrupt, number, two_numbers};
use crate::domain::search::WordHash;
use crate::store::Result;

/// The key of a word that leads to an event: its hash, and the event's place in the feed. The value is when that expires.
pub(super) type Key = [u8; 16];

pub(super) fn key(word: WordHash, seq: u64) -> Key {
    two_numbers(u64::from_be_bytes(word), seq)
}

/// Where a row leads.
pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Place> {
    let seq = key.get(size_of::<WordHash>()..).ok_or_else(|| corrupt("a word's key"))?;
    Ok(Place { seq: number(seq)?.0, expires: number(value)?.0 })
}

/// One that a word leads to, and the one before it that the same word leads to.
struct Entry {
    place: Place,
    before: Option<u32>,
}

/// Entries in the order they came in: one costs next to nothing to add.
#[derive(Default)]
pub(super) struct Words {
    last: FxHashMap<WordHash, u32>,
    entries: Vec<Entry>,
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// None, with room for as many.
    pub(super) fn next(&self) -> Self {
        let last = FxHashMap::with_capacity_and_hasher(self.last.len(), FxBuildHasher);
        Self { last, entries: Vec::with_capacity(self.len()) }
    }

    pub(super) fn add(&mut self, word: WordHash, place: Place) {
        // They are written long before there are so many.
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        let before = self.last.insert(word, at);
        self.entries.push(Entry { place, before });
    }

    /// Where this word leads, the latest first.
    pub(super) fn of(&self, word: WordHash) -> impl Iterator<Item = Place> {
        let entry = |at: Option<u32>| self.entries.get(usize::try_from(at?).ok()?);
        let first = entry(self.last.get(&word).copied());
        std::iter::successors(first, move |one| entry(one.before)).map(|one| one.place)
    }

    /// All rows, in the order of their keys.
    pub(super) fn rows(&self) -> Vec<(Key, Place)> {
        let mut rows = Vec::with_capacity(self.len());
        for word in self.last.keys() {
            rows.extend(self.of(*word).map(|place| (key(*word, place.seq), place)));
        }
        // Numbers are compared at once.
        rows.sort_unstable_by_key(|(key, _)| u128::from_be_bytes(*key));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_leads_to_the_latest_first_and_rows_go_by_word_and_place() {
        let (mut words, [one, other]) = (Words::default(), [[7; 8], [1; 8]]);
        for (word, seq) in [(one, 3), (other, 4), (one, 5)] {
            words.add(word, Place { seq, expires: seq + 10 });
        }
        let of = |word| words.of(word).map(|place| place.seq).collect::<Vec<_>>();
        assert_eq!((of(one), of(other), of([0; 8]), words.len()), (vec![5, 3], vec![4], vec![], 3));
        let rows = words.rows();
        assert_eq!(rows.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(other, 4), key(one, 3), key(one, 5)]);
        for (key, place) in rows {
            assert_eq!(read(&key, &place.expires.to_be_bytes()).unwrap(), place);
        }
    }
}
