//! Bodies in files, and what is left of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::files::{DAY_S, STEP_FILES};
use super::*;
use crate::store::{LeftBody, Page, StoreError};

const DAY: Duration = Duration::from_secs(DAY_S);

/// Stands at a day until it is set.
#[derive(Debug)]
struct Days(AtomicU64);

impl Clock for Days {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(i64::try_from(self.0.load(Ordering::SeqCst) * DAY_S + 7).unwrap()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn files(dir: &Path) -> (Files, Arc<Days>) {
    let clock = Arc::new(Days(20_000.into()));
    let files = Files { dir: dir.join("blobs"), clock: Arc::clone(&clock) as _, naming: Arc::default() };
    files.make_dir().unwrap();
    (files, clock)
}

fn id(text: &str) -> RequestId {
    RequestId::of("mail", text.as_bytes())
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_body_comes_back_and_only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = files(dir.path());
    let body: Vec<u8> =
        (0..3_000_000_u64).map(|n| (n.wrapping_mul(n | 1).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let kept = files.keep(&id("a"), &body, DAY).unwrap();
    assert_eq!(files.keep(&id("a"), &body, DAY).unwrap(), kept);
    assert!(files.read(&id("a"), kept).unwrap() == body);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(names(&files.dir), ["20001"]);
    let folder = files.folder(20_001);
    assert_eq!(names(&folder), [format!("{}.{:016x}", id("a"), kept.hash)]);
    assert_eq!([mode(&files.dir), mode(&folder), mode(&files.path(&id("a"), kept))], [0o700, 0o700, 0o600]);
}

#[test]
fn what_is_gone_or_not_whole_is_told_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = files(dir.path());
    let kept = files.keep(&id("a"), &[b'x'; 300_000], DAY).unwrap();
    let path = files.path(&id("a"), kept);
    let whole = fs::read(&path).unwrap();
    let other = zstd::encode_all(&[b'y'; 300_000][..], 1).unwrap();
    let bomb = zstd::encode_all(&vec![b'x'; 30_000_000][..], 1).unwrap();
    for wrong in [&whole[..whole.len() / 2], b"", b"garbage", &other, &bomb] {
        fs::write(&path, wrong).unwrap();
        assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Corrupt(_))), "{} bytes", wrong.len());
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Corrupt(_))));
    // Not even a file.
    fs::create_dir(&path).unwrap();
    assert!(matches!(files.read(&id("a"), kept), Err(StoreError::Unavailable(_))));
}

#[test]
fn a_body_stays_for_its_life_and_a_crash_leaves_nothing_for_longer() {
    let dir = tempfile::tempdir().unwrap();
    let (files, clock) = files(dir.path());
    let short = files.keep(&id("a"), b"a body", DAY * 7).unwrap();
    clock.0.store(20_003, Ordering::SeqCst);
    // It came again, and lives longer this time.
    let long = files.keep(&id("a"), b"a body", DAY * 30).unwrap();
    // A process died here.
    fs::write(files.folder(20_007).join("0011.new"), "a bo").unwrap();
    let is_there = |blob| files.read(&id("a"), blob).is_ok();
    for (day, expected) in [(20_007, [true; 2]), (20_008, [true; 2]), (20_009, [false, true]), (20_034, [false, true])]
    {
        clock.0.store(day, Ordering::SeqCst);
        assert!(files.sweep_step().unwrap());
        assert_eq!([is_there(short), is_there(long)], expected, "{day}");
    }
    fs::write(files.dir.join("not ours"), "").unwrap();
    clock.0.store(20_035, Ordering::SeqCst);
    assert!(files.sweep_step().unwrap());
    assert_eq!(names(&files.dir), ["not ours"]);
}

#[test]
fn much_is_removed_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = files(dir.path());
    fs::create_dir(files.folder(7)).unwrap();
    for number in 0..=STEP_FILES {
        fs::write(files.folder(7).join(number.to_string()), "").unwrap();
    }
    assert!(!files.sweep_step().unwrap());
    assert_eq!(names(&files.folder(7)).len(), 1);
    assert!(files.sweep_step().unwrap());
    assert!(names(&files.dir).is_empty());
}

/// What is said to refer to files.
struct Said(Result<Option<Blob>>);

#[async_trait]
impl Refers for Said {
    async fn blob_of(&self, _: &RequestId, _: bool) -> Result<Option<Blob>> {
        self.0.clone()
    }
}

#[tokio::test]
async fn what_nothing_refers_to_is_removed_and_what_something_does_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (files, clock) = files(dir.path());
    let blobs = Blobs::open(&files.dir, clock).unwrap();
    let body = Bytes::from_static(b"a body");
    let kept = blobs.keep(id("a"), body.clone(), DAY).await.unwrap();
    let other = Blob { day: kept.day + 1, ..kept };
    let place = format!("{}/{}.{:016x}", kept.day, id("a"), kept.hash);
    let path = files.path(&id("a"), kept);
    for (said, stays) in [
        (Ok(Some(kept)), true),
        (Err(StoreError::Corrupt("a request".into())), true),
        (Ok(None), false),
        (Ok(Some(other)), false),
    ] {
        files.settle(&id("a"), &body, kept).unwrap();
        let said = Said(said);
        let Page { items, next } = blobs.left_from(&said, None, 10).await.unwrap();
        let places: Vec<_> = items.iter().map(|left| left.place.as_str()).collect();
        assert_eq!((places, next), (if stays { vec![] } else { vec![place.as_str()] }, None));
        assert_eq!(blobs.left_body(&place).await.unwrap(), b"a body");
        let written_at = Timestamp::try_from(fs::metadata(&path).unwrap().modified().unwrap()).unwrap();
        let before = LeftBody { place: place.clone(), written_at: written_at - SignedDuration::from_nanos(1) };
        blobs.remove_left(&said, &before).await.unwrap();
        assert!(path.exists(), "it was written again");
        blobs.remove_left(&said, &LeftBody { written_at, ..before }).await.unwrap();
        assert_eq!(path.exists(), stays);
    }
    assert_eq!(blobs.left_body(&place).await.unwrap(), b"");
    let down = Said(Err(StoreError::Unavailable("away".into())));
    let left = LeftBody { place, written_at: Timestamp::UNIX_EPOCH };
    blobs.settle(&Said(Ok(Some(kept))), id("a"), body.clone(), kept).await;
    assert!(blobs.left_from(&down, None, 10).await.is_err() && blobs.remove_left(&down, &left).await.is_err());
    assert_eq!(blobs.read(&id("a"), kept).unwrap(), body);
    // Another body of the request is not written in its place, and none that was erased meanwhile.
    fs::remove_file(&path).unwrap();
    blobs.settle(&Said(Ok(Some(kept))), id("a"), Bytes::from_static(b"another"), kept).await;
    assert!(!path.exists());
    blobs.settle(&Said(Ok(None)), id("a"), body.clone(), kept).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_was_being_written_is_read_as_far_as_it_goes_and_another_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (files, clock) = files(dir.path());
    let blobs = Blobs::open(&files.dir, clock).unwrap();
    fs::create_dir(files.folder(20_001)).unwrap();
    let text: Vec<u8> = (0..300_000_u64).flat_map(|n| xxh3_64(&n.to_be_bytes()).to_be_bytes()).collect();
    let whole = zstd::encode_all(&text[..], 1).unwrap();
    fs::write(files.folder(20_001).join("0011.new"), &whole[..whole.len() / 2]).unwrap();
    let left = blobs.left_from(&Said(Ok(None)), None, 10).await.unwrap().items;
    let read = blobs.left_body(&left[0].place).await.unwrap();
    assert!(read.len() > 1_000_000 && text.starts_with(&read));
    blobs.remove_left(&Said(Ok(None)), &left[0]).await.unwrap();
    assert!(names(&files.folder(20_001)).is_empty());
    fs::write(files.dir.join("blobs.id"), "another\n").unwrap();
    let told = blobs.left_from(&Said(Ok(None)), None, 10).await.unwrap_err().to_string();
    assert!(told.contains("is it mounted?"), "{told}");
}

#[test]
fn all_files_are_found_in_parts_and_none_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = files(dir.path());
    for number in 0..7 {
        files.keep(&id(&number.to_string()), b"a body", DAY * (number % 3)).unwrap();
    }
    fs::write(files.folder(20_001).join("not ours"), "").unwrap();
    fs::create_dir(files.folder(20_009)).unwrap();
    for limit in [1, 2, 3, 100] {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (some, next) = files.named_from(cursor.as_deref(), limit).unwrap();
            assert!(some.len() <= limit);
            all.extend(some.iter().map(|named| named.body().unwrap().0));
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        all.sort();
        let mut expected: Vec<_> = (0..7).map(|number| id(&number.to_string())).collect();
        expected.sort();
        assert_eq!(all, expected, "{limit}");
    }
    assert!(files.named_from(Some("somewhere"), 1).is_err());
}

#[tokio::test]
async fn what_is_past_is_removed_at_once_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (files, clock) = files(dir.path());
    fs::create_dir(files.folder(7)).unwrap();
    let blobs = Blobs::open(&files.dir, clock).unwrap();
    while files.folder(7).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kept = blobs.keep(id("a"), Bytes::from_static(b"a body"), DAY).await.unwrap();
    assert_eq!(blobs.read(&id("a"), kept).unwrap(), "a body");
}
