//! What became of each request, as a file that the parent reads.

use std::path::Path;

use crate::Failure;

/// The status of a request that was not answered.
pub(crate) const UNANSWERED: u16 = 0;
/// Numbers of one record in the file.
const WORDS: usize = 6;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// The number of its first event.
    pub(crate) first: u64,
    /// How many events it has.
    pub(crate) events: u32,
    /// The answer.
    pub(crate) status: u16,
    /// When it was to be sent.
    pub(crate) due: u64,
    /// When it was.
    pub(crate) sent: u64,
    /// When the answer was there.
    pub(crate) answered: u64,
}

/// Writes them all.
pub(crate) fn write(path: &Path, records: &[Record]) -> Result<(), Failure> {
    let words = records.iter().flat_map(|record| {
        let Record { first, events, status, due, sent, answered } = *record;
        [first, u64::from(events), u64::from(status), due, sent, answered]
    });
    Ok(std::fs::write(path, words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?)
}

/// Reads them back.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, Failure> {
    let words = read_words(path)?;
    let records = words.chunks_exact(WORDS).map(|words| {
        Ok(Record {
            first: words[0],
            events: words[1].try_into()?,
            status: words[2].try_into()?,
            due: words[3],
            sent: words[4],
            answered: words[5],
        })
    });
    records.collect()
}

/// Reads a file of numbers.
pub(crate) fn read_words(path: &Path) -> Result<Vec<u64>, Failure> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect())
}
