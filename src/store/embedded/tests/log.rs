//! The log and its layers: what is torn, what is left over, what is seen of them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::*;
use crate::store::embedded::layers::{Layer, Layers, Row};
use crate::store::embedded::log::{self, Log, TURN_BYTES};
use crate::store::embedded::range::Range;

fn row(key: &[u8], value: Option<&str>) -> Row {
    Row { space: Space::Events, key: key.into(), value: value.map(Into::into), is_new: false }
}

/// Keys and values.
type Rows = Vec<(Vec<u8>, Option<String>)>;

/// What the turns of a directory leave, each in the order of its keys.
fn turns(dir: &Path) -> Vec<(u64, Rows)> {
    let rows = |layer: &Layer| {
        let mut rows = Vec::new();
        layer.for_each(Space::Events, |key, value| {
            rows.push((key.to_vec(), value.map(|value| String::from_utf8(value.to_vec()).unwrap())));
        });
        rows
    };
    log::turns(dir, 0).unwrap().into_iter().map(|turn| (turn, rows(&log::read(dir, turn).unwrap()))).collect()
}

#[test]
fn what_was_not_written_to_its_end_ends_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), 1).unwrap();
    assert_eq!(turns(dir.path()), [(1, vec![])]);
    log.append(&[row(b"a", Some("1")), row(b"b", Some("2"))]).unwrap();
    let kept = log.len().unwrap();
    log.append(&[row(b"b", None), row(b"c", Some("3"))]).unwrap();
    let end = log.len().unwrap();
    let (a, b, c) = (b"a".to_vec(), b"b".to_vec(), b"c".to_vec());
    let one = vec![(a.clone(), Some("1".into())), (b.clone(), Some("2".into()))];
    let both = vec![(a, Some("1".into())), (b, None), (c, Some("3".into()))];
    assert_eq!(turns(dir.path()), [(1, both)]);
    let path = dir.path().join("log.1");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, TURN_BYTES);
    for at in kept..end {
        // A byte that is not on the disk, or everything from it on.
        for (from, to) in [(at, at + 1), (at, end)] {
            let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
            let mut torn = whole.clone();
            torn[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(&path, &torn).unwrap();
            assert_eq!(turns(dir.path()), [(1, one.clone())], "{from}..{to}");
        }
        fs::write(&path, &whole[..usize::try_from(at).unwrap()]).unwrap();
        assert_eq!(turns(dir.path()), [(1, one.clone())], "cut at {at}");
    }
    // A turn whose head is torn was never written to.
    for at in 0..24 {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        fs::write(&path, &torn).unwrap();
        assert_eq!(turns(dir.path()), []);
    }
}

#[test]
fn what_an_earlier_turn_left_is_not_read_in_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), 1).unwrap();
    for number in 0..10 {
        log.append(&[row(&[number], Some("old"))]).unwrap();
    }
    assert_eq!(log.next().unwrap(), 1);
    log.append(&[row(b"b", Some("2"))]).unwrap();
    assert_eq!(turns(dir.path()).iter().map(|(turn, rows)| (*turn, rows.len())).collect::<Vec<_>>(), [(1, 10), (2, 1)]);
    assert_eq!(log::turns(dir.path(), 1).unwrap(), [2]);
    // The same file again, with frames of the same length: they end where old ones begin.
    assert_eq!(log.next().unwrap(), 2);
    for number in 0..3 {
        log.append(&[row(&[number], Some("new"))]).unwrap();
    }
    let turns = turns(dir.path());
    assert_eq!(turns.iter().map(|(turn, rows)| (*turn, rows.len())).collect::<Vec<_>>(), [(2, 1), (3, 3)]);
}

#[test]
fn a_turn_that_needed_more_room_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), 1).unwrap();
    let large = "x".repeat(usize::try_from(TURN_BYTES).unwrap());
    log.append(&[row(b"a", Some(&large))]).unwrap();
    log.sync().unwrap();
    let len = || dir.path().join("log.1").metadata().unwrap().len();
    assert!(len() > TURN_BYTES);
    assert_eq!(turns(dir.path())[0].1[0].1.as_ref(), Some(&large));
    log.next().unwrap();
    log.next().unwrap();
    assert_eq!(len(), TURN_BYTES);
}

#[test]
fn what_is_read_was_written_again() {
    let dir = tempfile::tempdir().unwrap();
    Log::open(dir.path(), 1).unwrap().append(&[row(b"a", Some("1"))]).unwrap();
    let path = dir.path().join("log.1");
    let before = fs::read(&path).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    OpenOptions::new().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(turns(dir.path()), [(1, vec![(b"a".to_vec(), Some("1".into()))])]);
    assert!(path.metadata().unwrap().modified().unwrap() > long_ago, "the disk may not have what the kernel shows");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_row_of_the_log_that_no_version_writes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(dir.path(), 1).unwrap();
    let salt = {
        let bytes = fs::read(dir.path().join("log.1")).unwrap();
        u64::from_be_bytes(bytes[8..16].try_into().unwrap())
    };
    log.append(&[row(b"a", Some("1"))]).unwrap();
    let rows = [&[200_u8, 0][..], &1_u32.to_be_bytes(), &0_u32.to_be_bytes(), b"k"].concat();
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&rows, salt);
    let frame = [&u32::try_from(rows.len()).unwrap().to_be_bytes()[..], &hash.to_be_bytes(), &rows].concat();
    let file = OpenOptions::new().write(true).open(dir.path().join("log.1")).unwrap();
    file.write_all_at(&frame, log.len().unwrap()).unwrap();
    assert!(log::read(dir.path(), 1).is_err());
}

/// Xorshift.
fn random(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % end
}

#[test]
fn rows_are_seen_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let db = fjall::Database::builder(dir.path()).open().unwrap();
    let state = &mut 7;
    for round in 0..40 {
        let engine = db.keyspace(&format!("{round}"), fjall::KeyspaceCreateOptions::default).unwrap();
        let layers = Layers { latest: Arc::default(), before: (round % 3 > 0).then(Arc::default) };
        let mut model = BTreeMap::new();
        // From the engine to the latest; parts of a layer are read 256 at a time.
        for layer in std::iter::once(None).chain(layers.before.iter().map(Some)).chain([Some(&layers.latest)]) {
            for _ in 0..random(state, 1_200) {
                let (key, number) = ([b"k", &random(state, 900).to_be_bytes()[6..]].concat(), random(state, 1_000));
                let value = (random(state, 4) > 0).then(|| number.to_string());
                match (layer, &value) {
                    (Some(layer), value) => layer.add([row(&key, value.as_deref())]),
                    (None, Some(value)) => engine.insert(&key, value).unwrap(),
                    (None, None) => engine.remove(&key).unwrap(),
                }
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
        }
        for _ in 0..20 {
            let [start, end] = [(); 2].map(|()| [b"k", &random(state, 1_000).to_be_bytes()[6..]].concat());
            let whole = Span::from(Space::Events, start.clone());
            let span = if random(state, 3) > 0 { whole.to(end.clone()) } else { whole };
            let in_span = |key: &Vec<u8>| *key >= start && span.end.as_ref().is_none_or(|end| key < end);
            let wanted: Vec<_> = model.iter().filter(|(key, _)| in_span(key)).collect();
            let seen = |span: &Span| {
                let rows = Range::new(span, &layers, engine.range::<&[u8], _>(span.bounds())).map(Result::unwrap);
                rows.map(|(key, value)| (key.to_vec(), String::from_utf8(value.to_vec()).unwrap())).collect::<Vec<_>>()
            };
            let (ahead, mut back) = (seen(&span), seen(&span.clone().back()));
            back.reverse();
            assert_eq!(ahead.iter().map(|(key, value)| (key, value)).collect::<Vec<_>>(), wanted);
            assert_eq!(ahead, back);
        }
        for key in 0..900_u64 {
            let key = [b"k", &key.to_be_bytes()[6..]].concat();
            let seen = layers.get(Space::Events, &key).unwrap_or_else(|| engine.get(&key).unwrap());
            assert_eq!(seen.as_deref(), model.get(&key).map(String::as_bytes));
        }
    }
}

#[test]
fn what_came_and_went_in_one_turn_leaves_nothing() {
    let mut layers = Layers::default();
    let new = |key: &[u8]| Row { is_new: true, ..row(key, Some("1")) };
    layers.latest.add([new(b"a"), new(b"b"), row(b"c", Some("1"))]);
    layers.latest.add([row(b"b", Some("2"))]);
    layers.latest.add([row(b"a", None), row(b"c", None)]);
    assert_eq!(layers.latest.bytes(Space::Events), 3);
    assert_eq!(layers.get(Space::Events, b"a"), None);
    assert_eq!(layers.get(Space::Events, b"c"), Some(None));
    // In another turn than it came in, the engine may have it.
    layers.turn();
    layers.latest.add([row(b"b", None)]);
    assert_eq!(layers.get(Space::Events, b"b"), Some(None));
}

#[tokio::test]
async fn many_turns_lose_nothing_and_are_seen_throughout() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    let applied = || spaces.of(Space::Meta).get(apply::APPLIED).unwrap().map(|turn| rows::number(&turn).unwrap().0);
    for batch in 0..60 {
        let mut ingest = many(100);
        for unit in &mut ingest.units {
            unit.id = EventId::of("resend", &format!("{batch} {}", unit.id));
        }
        store.ingest(ingest).await.unwrap();
        assert_eq!(count(&spaces, Space::Events), (batch + 1) * 100);
    }
    until(|| applied() >= Some(3)).await;
    drop((spaces, store));
    let store = open(dir.path()).unwrap();
    let spaces = store.shared.spaces().unwrap();
    assert_eq!((count(&spaces, Space::Events), spaces.of(Space::Events).iter().count()), (6_000, 6_000));
    // What came last is given to the engine by itself, though nobody calls.
    store.ingest(many(1)).await.unwrap();
    assert_eq!(spaces.of(Space::Events).iter().count(), 6_000);
    until(|| spaces.of(Space::Events).iter().count() == 6_001).await;
    until(|| spaces.layers().before.is_none()).await;
}
