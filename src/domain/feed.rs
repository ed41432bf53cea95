//! Places in the feed, and the cursors that readers hold.
//!
//! A store keeps the feed in one partition or several, each an order of its own. So a place in the whole is a place in
//! each, and a reader that holds it is never led past what another partition commits late.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::id::hash64;

/// How long before the commit that a reader knew last it begins anew where the store no longer has that: a replica took
/// over that had not heard of it, or a backup came back. What such a store is given afterwards may be told under an earlier
/// time, by as much as two clocks differ.
pub const REWIND_MICROS: u64 = 60 * 1_000_000;

/// The longest cursor that is read.
const TEXT_LEN_MAX: usize = 1_024;
/// What tells a cursor from text that was cut or mistyped.
const CHECK_LEN: usize = 4;

/// A place in one partition of the feed: after an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many entries there have been until here, those that are no longer kept included.
    pub entries: u64,
    /// When the last of them was committed, in microseconds of the store's clock; 0 where there was none.
    pub stamp: u64,
}

/// A place in the whole feed. Opaque to readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Vec<Place>);

impl Cursor {
    /// From a place in each partition, in their order.
    pub fn new(places: Vec<Place>) -> Self {
        Self(places)
    }

    /// The place in each partition.
    pub fn places(&self) -> &[Place] {
        &self.0
    }

    /// Goes on to a place in one partition.
    pub fn go_on(&mut self, partition: usize, place: Place) {
        if let Some(known) = self.0.get_mut(partition) {
            *known = place;
        }
    }

    /// Whether it is at this place in no partition before the other.
    pub fn reaches(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| one.entries >= other.entries)
    }

    /// How many entries there are from here to another place.
    pub fn until(&self, other: &Self) -> u64 {
        self.0.iter().zip(&other.0).map(|(one, other)| other.entries.saturating_sub(one.entries)).sum()
    }

    /// As readers get it.
    pub fn text(&self) -> String {
        let mut bytes = postcard::to_allocvec(&self.0).unwrap_or_default();
        bytes.extend_from_slice(&check(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Cursor::text`] wrote; none where it did not.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= TEXT_LEN_MAX)?).ok()?;
        let (places, told) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_LEN)?)?;
        if told != check(places) {
            return None;
        }
        postcard::from_bytes(places).ok().map(Self)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.text()
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no cursor of the feed")
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, ..] = hash64(&[b"feed", bytes]).to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(entries: &[u64]) -> Cursor {
        Cursor::new(entries.iter().map(|entries| Place { entries: *entries, stamp: entries * 1_000 }).collect())
    }

    #[test]
    fn a_cursor_comes_back_and_what_was_cut_or_changed_is_none() {
        let cursor = Cursor::new(vec![Place { entries: u64::MAX, stamp: 1_795_000_000_000_000 }, Place::default()]);
        let text = cursor.text();
        assert_eq!(Cursor::parse(&text), Some(cursor));
        let changed = text.replacen(&text[2..3], if &text[2..3] == "A" { "B" } else { "A" }, 1);
        for wrong in ["", "A", &text[1..], &text[..text.len() - 4], &changed, &"A".repeat(2_000), "~"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn places_are_compared_partition_by_partition() {
        assert!(at(&[2, 2]).reaches(&at(&[2, 1])) && !at(&[3, 0]).reaches(&at(&[2, 1])));
        assert!(!at(&[3]).reaches(&at(&[2, 1])));
        assert_eq!(at(&[1, 5]).until(&at(&[4, 2])), 3);
        let mut cursor = at(&[1, 5]);
        cursor.go_on(0, Place { entries: 4, stamp: 4_000 });
        cursor.go_on(2, Place::default());
        assert_eq!(cursor, at(&[4, 5]));
    }
}
