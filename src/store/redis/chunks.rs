//! Bodies as they are stored: compressed, and large ones in parts, each under a key of its own.
//!
//! Parts are written before what refers to them, and live for a while until then. The script that stores what refers to them
//! lets them live as long as that, and longer; so one that lives no longer than that while is referred to by nothing.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::RedisStore;
use super::keys::Partition;
use super::link::{Link, read};
use super::rows::seconds;
use crate::crash;
use crate::domain::id::RequestId;
use crate::store::{Result, StoreError};

/// Larger bodies are compressed.
const PLAIN_LEN_MAX: usize = 4 * 1024;
/// Larger bodies travel in chunks: one huge argument would stall every client.
pub(super) const INLINE_LEN_MAX: usize = 64 * 1024;
const CHUNK_LEN: usize = 256 * 1024;
/// How many chunks one pipeline carries.
const CHUNKS_AT_ONCE: usize = 2;
/// The most that what one pipeline carries takes, and some more. Buffers of more than half a MiB go back to the system, or to
/// any other thread; of smaller ones the allocator keeps several for each thread that ever had one.
const PART_LEN_MAX: usize = CHUNK_LEN * (CHUNKS_AT_ONCE + 2);
/// How much longer chunks live than what refers to them, and how long before anything does.
pub(super) const CHUNK_GRACE: Duration = Duration::from_secs(3600);

/// Where the parts of a body are.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Chunks {
    pub(super) count: usize,
    /// Of what they hold.
    hash: u64,
}

/// The keys of the chunks of a request.
pub(super) fn chunk_keys(id: &RequestId, chunks: Chunks) -> impl Iterator<Item = String> {
    let partition = Partition::of_request(id);
    (0..chunks.count).map(move |number| chunk_key(partition, id, chunks, number))
}

fn chunk_key(partition: Partition, id: &RequestId, chunks: Chunks, number: usize) -> String {
    format!("{}:{:016x}:{number}", partition.request(id), chunks.hash)
}

/// What is stored of a body.
pub(super) struct Packed {
    pub(super) zstd: bool,
    /// What is not in chunks.
    pub(super) here: Bytes,
    pub(super) chunks: Option<Chunks>,
}

/// Compresses a body, and writes what is large meanwhile: none of it is in memory twice.
pub(super) async fn pack(store: &RedisStore, id: &RequestId, body: Bytes) -> Result<Packed> {
    if body.len() <= PLAIN_LEN_MAX {
        return Ok(Packed { zstd: false, here: body, chunks: None });
    }
    // What one takes beside its body is the same whether many come or one.
    let _place = if body.len() > CHUNK_LEN { Some(store.packing.acquire().await) } else { None };
    let failed = |error: io::Error| StoreError::Unavailable(format!("cannot compress: {error}"));
    // Of what they hold, though they are not known yet: two versions of zstd may differ.
    let hash = xxh3_64_with_seed(&body, zstd::zstd_safe::version_number().into());
    let mut chunks = Chunks { count: 0, hash };
    let room = if body.len() > CHUNK_LEN { PART_LEN_MAX } else { body.len() };
    let encoder = zstd::Encoder::new(Vec::with_capacity(room), 1).map_err(failed)?;
    let mut packing = Packing { encoder, body, at: 0 };
    loop {
        // Off the runtime's threads, for a large body takes a while.
        let step = tokio::task::spawn_blocking(|| packing.step()).await;
        packing = step.map_err(|_| StoreError::Unavailable("shutting down".into()))?.map_err(failed)?;
        let part = packing.encoder.get_mut();
        let is_last = packing.at == packing.body.len();
        if is_last && chunks.count == 0 && part.len() <= INLINE_LEN_MAX {
            return Ok(Packed { zstd: true, here: std::mem::take(part).into(), chunks: None });
        }
        write_chunks(&store.link, id, &mut chunks, part).await?;
        if is_last {
            crash::point("chunks.written");
            return Ok(Packed { zstd: true, here: Bytes::new(), chunks: Some(chunks) });
        }
        part.clear();
    }
}

/// A body that is being compressed.
struct Packing {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    body: Bytes,
    /// So much of it is.
    at: usize,
}

impl Packing {
    /// As much as one pipeline carries, or all that is left.
    fn step(mut self) -> io::Result<Self> {
        while self.at < self.body.len() && self.encoder.get_ref().len() < CHUNK_LEN * CHUNKS_AT_ONCE {
            let end = self.body.len().min(self.at + CHUNK_LEN);
            self.encoder.write_all(&self.body[self.at..end])?;
            self.at = end;
        }
        if self.at == self.body.len() {
            self.encoder.do_finish()?;
        }
        Ok(self)
    }
}

/// What is there already is the same, and may be referred to.
async fn write_chunks(link: &Link, id: &RequestId, chunks: &mut Chunks, part: &[u8]) -> Result<()> {
    let (partition, mut pipe) = (Partition::of_request(id), Pipeline::new());
    for chunk in part.chunks(CHUNK_LEN) {
        let mut set = Cmd::with_capacity(6, PART_LEN_MAX);
        set.arg("SET").arg(chunk_key(partition, id, *chunks, chunks.count));
        set.arg(chunk).arg("NX").arg("EX").arg(seconds(CHUNK_GRACE));
        pipe.add_command(set);
        chunks.count += 1;
    }
    link.kept().pipe(&pipe).await?.into_iter().try_for_each(|answer| answer.map(drop))
}

/// A body, if all of it is there.
pub(super) async fn read_chunks(
    link: &Link,
    partition: Partition,
    id: &RequestId,
    chunks: Chunks,
) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    let numbers: Vec<usize> = (0..chunks.count).collect();
    for group in numbers.chunks(CHUNKS_AT_ONCE) {
        let mut pipe = Pipeline::new();
        for number in group {
            let mut get = Cmd::new();
            get.arg("GET").arg(chunk_key(partition, id, chunks, *number));
            pipe.add_command(get);
        }
        for answer in link.pipe(&pipe).await? {
            let Some(part) = read::<Option<Vec<u8>>>(answer?)? else { return Ok(None) };
            body.extend_from_slice(&part);
        }
    }
    Ok(Some(body))
}
