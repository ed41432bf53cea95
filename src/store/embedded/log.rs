//! What a commit is written to and synced in, before the engine has it.
//!
//! The engine syncs its files under locks that its commits take, so that a commit would now and then wait for tens of
//! milliseconds. A commit therefore goes to a file whose room was written beforehand: a sync of it moves its bytes and
//! nothing else. Two files take turns. While one is written, the rows of the other are given to the engine.
//!
//! A file begins with its turn's number and salt. Each commit is one frame: its length, a salted hash, its rows. What is
//! left of earlier turns, or was not written to its end, has another hash, and ends the file: of what was acknowledged only what
//! need not be synced can be there.
//!
//! What a sync that failed may have left in memory only is trusted nowhere: an open writes and syncs all it reads anew,
//! gives it to the engine, and begins a turn of its own.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::layers::{Layer, Row};
use super::spaces::Space;

/// The room written beforehand in each file, and how much of it makes a turn. Without optimization little, so that tests
/// come by the turns.
pub(super) const TURN_BYTES: u64 = if cfg!(debug_assertions) { 64 * 1024 } else { 32 * 1024 * 1024 };
/// How many files take turns.
pub(super) const FILES: u32 = 2;
/// The number of a turn, its salt, a hash of both.
const HEAD_LEN: usize = 24;
/// The length of a frame's rows, and their hash.
const FRAME_LEN: usize = 12;
/// A row's space, whether it is removed, and the lengths of its key and its value.
const ROW_LEN: usize = 10;
/// A buffer that grew beyond this is given back.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// The turn that is being written.
pub(super) struct Log {
    files: [Arc<File>; 2],
    turn: u64,
    salt: u64,
    len: u64,
    /// How much of it survives the loss of power.
    synced: u64,
    buffer: Vec<u8>,
}

fn path(dir: &Path, turn: u64) -> PathBuf {
    dir.join(format!("log.{}", turn % 2))
}

impl Log {
    /// Opens a directory, and begins a turn. The engine has all those before.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub(super) fn open(dir: &Path, turn: u64) -> io::Result<Self> {
        let file = |turn| File::options().create(true).truncate(false).write(true).open(path(dir, turn));
        let files = [Arc::new(file(0)?), Arc::new(file(1)?)];
        files.iter().try_for_each(|file| make_room(file))?;
        File::open(dir)?.sync_all()?;
        let mut log = Self { files, turn, salt: 0, len: 0, synced: 0, buffer: Vec::new() };
        log.begin()?;
        Ok(log)
    }

    /// Ends this turn and begins the next, if the engine has the one before. Answers the one that ended.
    pub(super) fn next(&mut self) -> io::Result<u64> {
        // Or the engine would have a part of a commit that is lost, and what is synced next would come behind a gap.
        if self.is_unsynced() {
            self.sync()?;
        }
        let ended = self.turn;
        self.turn += 1;
        make_room(self.file())?;
        self.begin()?;
        Ok(ended)
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut salt = [0; 8];
        aws_lc_rs::rand::fill(&mut salt).map_err(io::Error::other)?;
        self.salt = u64::from_be_bytes(salt);
        self.file().write_all_at(&head(self.turn, self.salt), 0)?;
        (self.len, self.synced) = (HEAD_LEN as u64, HEAD_LEN as u64);
        Ok(())
    }

    fn file(&self) -> &File {
        self.at(self.turn)
    }

    fn at(&self, turn: u64) -> &Arc<File> {
        &self.files[usize::from(turn % 2 == 1)]
    }

    /// The file of a turn.
    pub(super) fn file_of(&self, turn: u64) -> io::Result<File> {
        self.at(turn).try_clone()
    }

    /// How much of the turn has been written, if there is any commit.
    pub(super) fn len(&self) -> Option<u64> {
        (self.len > HEAD_LEN as u64).then_some(self.len)
    }

    /// Writes one commit.
    pub(super) fn append(&mut self, rows: &[Row]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.resize(FRAME_LEN, 0);
        for row in rows {
            write_row(&mut self.buffer, row)?;
        }
        let (frame, rows) = self.buffer.split_at_mut(FRAME_LEN);
        frame[..4].copy_from_slice(&len_u32(rows.len())?.to_be_bytes());
        frame[4..].copy_from_slice(&xxh3_64_with_seed(rows, self.salt).to_be_bytes());
        self.file().write_all_at(&self.buffer, self.len)?;
        self.len += self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Whether there is a commit that may not survive the loss of power.
    pub(super) fn is_unsynced(&self) -> bool {
        self.synced < self.len
    }

    /// What is to be synced: the file of this turn, and how much was appended to it.
    pub(super) fn to_sync(&self) -> (Arc<File>, u64) {
        (Arc::clone(self.at(self.turn)), self.len)
    }

    /// So much of this turn has been synced.
    pub(super) fn synced(&mut self, len: u64) {
        self.synced = len;
    }

    /// What was appended survives the loss of power from now on.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file().sync_data()?;
        self.synced = self.len;
        Ok(())
    }
}

/// Gives a file its room, neither more nor less. Zeros are written, since room that is only set aside
/// is marked as written by the first sync of each part of it.
fn make_room(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    if len == TURN_BYTES { Ok(()) } else { fill_up(file, len) }
}

/// Leaves nothing in a file whose turn the engine has. Its head goes first: what is left of it is no turn.
pub(super) fn clear(file: &File) -> io::Result<()> {
    fill_up(file, 0)
}

/// Zeros from this place on, to where its room ends.
fn fill_up(file: &File, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while len < TURN_BYTES {
        file.write_all_at(&ZEROS, len)?;
        len += ZEROS.len() as u64;
    }
    file.set_len(TURN_BYTES)?;
    file.sync_all()
}

fn head(turn: u64, salt: u64) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(&turn.to_be_bytes());
    head[8..16].copy_from_slice(&salt.to_be_bytes());
    let hash = xxh3_64_with_seed(&head[..16], salt);
    head[16..].copy_from_slice(&hash.to_be_bytes());
    head
}

fn len_u32(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| io::Error::other("a commit is longer than 4 GiB"))
}

fn write_row(buffer: &mut Vec<u8>, row: &Row) -> io::Result<()> {
    let value = row.value.as_deref().unwrap_or_default();
    buffer.extend([row.space as u8, u8::from(row.value.is_none())]);
    buffer.extend(len_u32(row.key.len())?.to_be_bytes());
    buffer.extend(len_u32(value.len())?.to_be_bytes());
    buffer.extend_from_slice(&row.key);
    buffer.extend_from_slice(value);
    Ok(())
}

/// The turns of a directory that come after this one, the earliest first.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn turns(dir: &Path, after: u64) -> io::Result<Vec<u64>> {
    let mut turns = Vec::new();
    for file in [0, 1] {
        let mut file = match File::open(path(dir, file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut left = file.metadata()?.len();
        turns.extend(read_head(&mut file, &mut left)?.map(|(turn, _)| turn).filter(|turn| *turn > after));
    }
    turns.sort_unstable();
    Ok(turns)
}

/// The rows that a turn leaves. Its commits are written again and synced: the engine takes it in several steps, and is to
/// find the same at the next open if the power fails between them.
///
/// # Errors
/// When the file cannot be read and written, or says of a row what no version of Waypost writes.
pub(super) fn read(dir: &Path, turn: u64) -> io::Result<Layer> {
    let file = File::options().read(true).write(true).open(path(dir, turn))?;
    let (mut reader, mut left) = (BufReader::new(&file), file.metadata()?.len());
    let (layer, mut frame, mut at) = (Layer::default(), Vec::new(), HEAD_LEN as u64);
    if let Some((turn, salt)) = read_head(&mut reader, &mut left)? {
        file.write_all_at(&head(turn, salt), 0)?;
        while read_frame(&mut reader, &mut left, salt, &mut frame)? {
            layer.add(read_rows(&frame[FRAME_LEN..])?);
            file.write_all_at(&frame, at)?;
            at += frame.len() as u64;
        }
    }
    file.sync_data()?;
    Ok(layer)
}

/// So many bytes, if there are.
fn next<const LEN: usize>(file: &mut impl Read, left: &mut u64) -> io::Result<Option<[u8; LEN]>> {
    let Some(after) = left.checked_sub(LEN as u64) else { return Ok(None) };
    let mut bytes = [0; LEN];
    file.read_exact(&mut bytes)?;
    *left = after;
    Ok(Some(bytes))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// A turn's number and its salt, if it was ever written to.
fn read_head(file: &mut impl Read, left: &mut u64) -> io::Result<Option<(u64, u64)>> {
    let Some(start) = next::<HEAD_LEN>(file, left)? else { return Ok(None) };
    let (turn, salt) = (number(&start[..8]), number(&start[8..16]));
    Ok((start == head(turn, salt)).then_some((turn, salt)))
}

/// The next commit, if there is one.
fn read_frame(file: &mut impl Read, left: &mut u64, salt: u64, frame: &mut Vec<u8>) -> io::Result<bool> {
    let Some(start) = next::<FRAME_LEN>(file, left)? else { return Ok(false) };
    let (len, hash) = (number(&start[..4]), number(&start[4..]));
    let Some(after) = left.checked_sub(len).filter(|_| len > 0) else { return Ok(false) };
    frame.clear();
    frame.extend(start);
    file.take(len).read_to_end(frame)?;
    *left = after;
    Ok(xxh3_64_with_seed(&frame[FRAME_LEN..], salt) == hash)
}

fn read_rows(mut bytes: &[u8]) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (row, rest) = read_row(bytes).ok_or_else(|| io::Error::other("a row of the log has the wrong form"))?;
        rows.push(row);
        bytes = rest;
    }
    Ok(rows)
}

fn read_row(bytes: &[u8]) -> Option<(Row, &[u8])> {
    let ([space, is_removed, lens @ ..], rest) = bytes.split_first_chunk::<ROW_LEN>()?;
    let (key_len, value_len) = lens.split_at(4);
    let len = |bytes: &[u8]| usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok();
    let (key, rest) = rest.split_at_checked(len(key_len)?)?;
    let (value, rest) = rest.split_at_checked(len(value_len)?)?;
    let space = Space::read(*space)?;
    let value = (*is_removed == 0).then(|| value.into());
    Some((Row { space, key: key.into(), value, is_new: false }, rest))
}
