//! What is read to find one of very many, when nothing has been read before.

use lsm_tree::AbstractTree;

use super::*;
use crate::store::embedded::background::Pace;
use crate::store::embedded::bulk;
use crate::store::embedded::ids::{Ids, Kind, Named, Swept};
use crate::store::embedded::rows::Place;

const MANY: u32 = 100_000;
/// Three blocks, in bytes, and a little: of a filter, of an index, and of rows.
const LITTLE: u64 = 16 * 1024;

fn key(number: u32) -> [u8; 16] {
    hash128(&[&number.to_be_bytes()])
}

/// What this thread has read so far, in bytes.
fn bytes_read() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    told.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

fn find_reading_little(is_there: impl Fn([u8; 16]) -> bool) {
    for number in [7, 70_000, MANY, MANY + 1] {
        let before = bytes_read();
        assert_eq!(is_there(key(number)), number < MANY, "{number}");
        let read = bytes_read() - before;
        assert!(read < LITTLE, "{number}: {read} bytes");
    }
}

#[test]
fn an_id_is_found_by_little_when_it_was_just_written_and_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { seq: 1, expires: u64::MAX };
    let open = || Ids::open(dir.path()).unwrap();
    let ids = open();
    ids.add(Named { ids: (0..MANY).map(|number| (Kind::Event, key(number), place)).collect(), words: Vec::new() });
    bulk::write(&ids.trees, &ids.freeze(), Swept::default(), &mut Pace::hurried()).unwrap();
    ids.forget_frozen();
    find_reading_little(|id| ids.get(Kind::Event, &id).unwrap().is_some());
    drop(ids);
    let ids = open();
    assert_eq!(ids.trees.ids[Kind::Event as usize].tree.rows.table_count(), 1);
    find_reading_little(|id| ids.get(Kind::Event, &id).unwrap().is_some());
}

#[test]
fn a_row_is_found_by_little_when_it_was_just_written_and_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let spaces = Spaces::open(dir.path()).unwrap();
    let mut keys: Vec<_> = (0..MANY).map(key).collect();
    keys.sort_unstable();
    let mut rows = spaces.of(Space::Deliveries).start_ingestion().unwrap();
    keys.iter().for_each(|key| rows.write(*key, *key).unwrap());
    rows.finish().unwrap();
    find_reading_little(|key| spaces.get(Space::Deliveries, &key).unwrap().is_some());
    drop(spaces);
    let spaces = Spaces::open(dir.path()).unwrap();
    assert_eq!(spaces.of(Space::Deliveries).table_count(), 1);
    find_reading_little(|key| spaces.get(Space::Deliveries, &key).unwrap().is_some());
}
