//! What is found while trees are written, merged and read whole, each on a thread of its own.

use std::ops::Range;

use super::*;
use crate::store::embedded::background::Pace;
use crate::store::embedded::bulk::{self, Bulk};
use crate::store::embedded::core::Last;
use crate::store::embedded::ids::{Ids, Kind, Named, Swept};
use crate::store::embedded::rows::Place;
use crate::store::embedded::tree::Tree;

fn key(number: u32) -> [u8; 16] {
    hash128(&[&number.to_be_bytes()])
}

/// Writes these ids of events.
fn write(ids: &Ids, numbers: Range<u32>) {
    let place = Place { seq: 1, expires: u64::MAX };
    ids.add(Named { ids: numbers.map(|number| (Kind::Event, key(number), place)).collect(), words: Vec::new() });
    bulk::write(&ids.trees, &ids.freeze(), Swept::default(), &mut Pace::hurried()).unwrap();
    ids.forget_frozen();
}

fn is_found(ids: &Ids, number: u32) -> bool {
    ids.get(Kind::Event, &key(number)).unwrap().is_some()
}

#[test]
fn what_is_written_while_filters_are_made_anew_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let ids = Ids::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        let anew = scope.spawn(|| {
            for _ in 0..200 {
                ids.trees.filter_anew();
            }
        });
        let mut written = 0;
        while !anew.is_finished() && ids.trees.has_room() {
            write(&ids, written..written + 20);
            written += 20;
            for number in 0..written {
                assert!(is_found(&ids, number), "{number} of {written}");
            }
        }
    });
}

#[test]
fn a_merge_that_is_left_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ids = Ids::open(dir.path()).unwrap();
    (0..5).for_each(|bulk| write(&ids, bulk * 1_000..(bulk + 1) * 1_000));
    let anew = |ids: &Ids| ids.trees.all().try_for_each(Tree::write_anew);
    ids.trees.stop();
    assert!(anew(&ids).is_err_and(|error| error.to_string().contains("being closed")));
    let all_found = |ids: &Ids| (0..5_000).all(|number| is_found(ids, number)) && !is_found(ids, 5_000);
    assert!(all_found(&ids));
    drop(ids);
    let ids = Ids::open(dir.path()).unwrap();
    assert!(all_found(&ids));
    anew(&ids).unwrap();
    ids.trees.fill_filters();
    assert!(all_found(&ids));
}

#[test]
fn tables_are_not_asked_for_what_the_filter_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let ids = Ids::open(dir.path()).unwrap();
    let place = Place { seq: 1, expires: u64::MAX };
    // Beside the filter, which is not whole.
    ids.trees.ids[Kind::Event as usize]
        .tree
        .write([(key(7), place.bytes())].into_iter(), &mut Pace::hurried())
        .unwrap();
    assert!(is_found(&ids, 7));
    ids.trees.fill_filters();
    assert!(is_found(&ids, 7));
    ids.trees.ids[Kind::Event as usize]
        .tree
        .write([(key(8), place.bytes())].into_iter(), &mut Pace::hurried())
        .unwrap();
    assert!(!is_found(&ids, 8));
}

#[tokio::test]
async fn with_too_many_files_they_are_merged_before_more_are_written() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let ids = Ids::open(dir.path()).unwrap();
    let bulks = (0..).take_while(|bulk| {
        write(&ids, bulk * 20..bulk * 20 + 20);
        ids.trees.has_room()
    });
    let written = u32::try_from(bulks.count() * 20 + 20).unwrap();
    drop(ids);
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    assert!(!spaces.ids.trees.has_room());
    let known = usize::try_from(written).unwrap();
    assert_eq!(store.ingest(many(40)).await.unwrap(), Ingested::Stored { new: 40, repeated: 0 });
    until(|| spaces.ids.trees.has_room() && spaces.ids.counts() == [0, 0, known + 41]).await;
    assert!((0..written).all(|number| is_found(&spaces.ids, number)));
}

#[test]
fn what_is_dead_is_counted_until_it_has_been_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let ids = Ids::open(dir.path()).unwrap();
    write(&ids, 0..100);
    let dead = Swept { until: u64::MAX, last: Last { event: 1, request: 1 }, count: 100 };
    ids.set_swept(dead);
    let step = |ids: &Ids, bulk: &mut Bulk| {
        bulk.ended(ids).unwrap();
        bulk.begin(ids, Last::default()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        ids.swept().count
    };
    let mut bulk = Bulk::open(&ids).unwrap();
    assert_eq!(step(&ids, &mut bulk), 100);
    // Closed before the end.
    drop(bulk);
    assert_eq!(ids.trees.len(), 100);
    drop(ids);
    let ids = Ids::open(dir.path()).unwrap();
    ids.set_swept(dead);
    let mut bulk = Bulk::open(&ids).unwrap();
    assert!((0..10_000).any(|_| step(&ids, &mut bulk) == 0));
    assert_eq!(ids.trees.len(), 0);
}
