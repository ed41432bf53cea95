//! Requests as they were received: small ones in one key, large ones in [chunks](super::chunks), or a file, that are written
//! before it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{Pipeline, Value};
use serde::{Deserialize, Serialize};

use super::chunks::{CHUNK_GRACE, Chunks, INLINE_LEN_MAX, Packed, chunk_keys, pack, read_chunks};
use super::keys::Partition;
use super::link::{Call, Link, corrupt, missing, read};
use super::read::get;
use super::requests::Lacks;
use super::rows::seconds;
use super::{RedisStore, erase, scripts};
use crate::domain::id::RequestId;
use crate::domain::plan::RawRequest;
use crate::store::blobs::{BLOB_LEN_MIN, Blob, Refers};
use crate::store::{Result, StoreError, StoredRequest};

/// What precedes the body, as one line of JSON. What of it was not understood is kept beside it, for that changes.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    #[serde(default, skip_serializing_if = "is_false")]
    zstd: bool,
    /// How many chunks hold the body; none when it follows here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chunks: Option<Chunks>,
    /// The file that holds the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) blob: Option<Blob>,
    /// How many bytes the body has; an older version did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    len: Option<usize>,
    request: StoredRequest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A request to be kept.
pub(super) struct Keep {
    pub(super) raw: RawRequest,
    pub(super) life: Duration,
    /// The keys of the events whose content is served out of it.
    pub(super) mails: Vec<String>,
}

/// Stores requests, each for its lifetime, unless they are there, or there is none. Answers whether each was there.
pub(super) async fn keep(store: &RedisStore, keeps: Vec<Option<Keep>>) -> Vec<Result<bool>> {
    let mut calls = Vec::new();
    let mut add = |set: Option<Call>| set.map(|set| calls.push(set)).is_some();
    let sets = join_all(keeps.into_iter().map(|keep| set(store, keep))).await;
    let added: Vec<Result<bool>> = sets.into_iter().map(|set| set.map(&mut add)).collect();
    let len = calls.len();
    let answers = store.link.kept().run(calls).await;
    let mut answers = answers.unwrap_or_else(|error| vec![Err(error); len]).into_iter();
    let mut was_there = |is_added| match is_added {
        true => match answers.next().ok_or_else(missing)?? {
            Value::Nil | Value::Int(0) => Ok(true),
            Value::Int(2) => Err(StoreError::Unavailable("a part of a large body has gone".into())),
            _ => Ok(false),
        },
        false => Ok(true),
    };
    added.into_iter().map(|is_added| was_there(is_added?)).collect()
}

/// What stores a request; nothing where it is known to be there.
async fn set(store: &RedisStore, keep: Option<Keep>) -> Result<Option<Call>> {
    let Some(keep) = keep else { return Ok(None) };
    if (keep.raw.request.body.len() > INLINE_LEN_MAX || !keep.mails.is_empty()) && is_there(store, &keep).await? {
        return Ok(None);
    }
    let Keep { raw, life: lifetime, .. } = keep;
    let partition = Partition::of_request(&raw.id);
    let lacks = Lacks::of(&raw).map(|lacks| lacks.json()).transpose()?;
    let RawRequest { id, provider, request, .. } = raw;
    let key = partition.request(&id);
    let blob = match &store.blobs {
        Some(blobs) if request.body.len() > BLOB_LEN_MIN => {
            Some(blobs.keep(id.clone(), request.body.clone(), lifetime).await?)
        }
        _ => None,
    };
    let len = Some(request.body.len());
    let body = if blob.is_some() { Bytes::new() } else { request.body.clone() };
    let Packed { zstd, here, chunks } = pack(store, &id, body).await?;
    let request = StoredRequest { id, provider: provider.into(), request, unmapped: 0, unreadable: 0 };
    let head = Head { zstd, chunks, blob, len, request };
    let mut value = serde_json::to_vec(&head).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    value.push(b'\n');
    value.extend_from_slice(&here);
    if lacks.is_none() && chunks.is_none() {
        let mut set = Call::plain(&["SET", &key]);
        set.arg(value).arg("NX").arg("EX").num(seconds(lifetime));
        return Ok(Some(set));
    }
    let (id, chunks) = (&head.request.id, chunks.unwrap_or_default());
    let mut keep = Call::new(&scripts::KEEP, partition, &[&format!("r:{id}"), &format!("n:{id}"), "incomplete"]);
    keep.num(seconds(lifetime)).arg(id.as_str()).arg(value).arg(lacks.unwrap_or_default());
    keep.num(seconds(CHUNK_GRACE)).num(chunks.count);
    for key in chunk_keys(id, chunks) {
        keep.arg(key);
    }
    Ok(Some(keep))
}

/// Whether a request is there. One that came before and whose events could not be committed then is to outlive them.
async fn is_there(store: &RedisStore, keep: &Keep) -> Result<bool> {
    let key = Partition::of_request(&keep.raw.id).request(&keep.raw.id);
    let mut pipe = Pipeline::new();
    for key in [&key].into_iter().chain(&keep.mails) {
        pipe.cmd("EXISTS").arg(key);
    }
    // Kept, for what is there may have been written a moment ago.
    let answers = store.link.kept().pipe(&pipe).await?.into_iter().map(|answer| read::<bool>(answer?));
    let answers = answers.collect::<Result<Vec<_>>>()?;
    let (was_there, are_in) = answers.split_first().ok_or_else(missing)?;
    // What cannot be read needs no file.
    if let (true, Some(blobs)) = (*was_there, &store.blobs)
        && let Ok(Some(blob)) = store.blob_of(&keep.raw.id, false).await
    {
        blobs.settle(store, keep.raw.id.clone(), keep.raw.request.body.clone(), blob).await;
    }
    match *was_there && are_in.contains(&false) {
        true => renew(store, &key, keep).await,
        false => Ok(*was_there),
    }
}

/// Lets a request live on as if it had just come, if it would not; answers whether it is still there.
async fn renew(store: &RedisStore, key: &str, Keep { raw, life, .. }: &Keep) -> Result<bool> {
    let (id, link) = (&raw.id, &store.link);
    let Some(value) = link.send::<Option<Vec<u8>>>(get(key.to_owned())).await? else { return Ok(false) };
    if erase::is_erased(&value) {
        return Ok(true);
    }
    let (mut head, _) = split(&value)?;
    let mut pipe = Pipeline::new();
    let mut expire = |key: &str, life| {
        pipe.cmd("EXPIRE").arg(key).arg(seconds(life)).arg("GT");
    };
    let chunks = head.chunks.unwrap_or_default();
    for key in chunk_keys(id, chunks) {
        expire(&key, *life + CHUNK_GRACE);
    }
    expire(key, *life);
    if let Some(blobs) = &store.blobs
        && head.blob.is_some_and(|blob| !blobs.is_kept(blob, *life))
    {
        head.blob = Some(blobs.keep(id.clone(), raw.request.body.clone(), *life).await?);
        // The same fields may have come between other boundaries.
        head.len = Some(raw.request.body.len());
        head.request.request.headers = raw.request.headers.clone();
        let mut line = serde_json::to_vec(&head).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        line.push(b'\n');
        // Unless it was erased meanwhile.
        swap(link, id, &value, &line).await?;
    }
    link.kept().pipe(&pipe).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
    Ok(true)
}

/// Puts another value in the place of a request's; answers whether it was still this one.
pub(super) async fn swap(link: &Link, id: &RequestId, known: &[u8], other: &[u8]) -> Result<bool> {
    let mut call = Call::new(&scripts::SWAP, Partition::of_request(id), &[&format!("r:{id}")]);
    call.arg(known).arg(other);
    link.kept().run_one(call).await
}

/// What precedes a body, and what follows.
pub(super) fn split(value: &[u8]) -> Result<(Head, &[u8])> {
    let unreadable = || corrupt("a request that cannot be read");
    let end = value.iter().position(|byte| *byte == b'\n').ok_or_else(unreadable)?;
    let head = serde_json::from_slice(&value[..end]).map_err(|_| unreadable())?;
    Ok((head, &value[end + 1..]))
}

/// Reads a request back.
pub(super) async fn request(store: &RedisStore, id: &RequestId) -> Result<Option<StoredRequest>> {
    if id.bits().is_none() {
        return Ok(None);
    }
    let link = &store.link;
    let partition = Partition::of_request(id);
    let mut pipe = Pipeline::new();
    pipe.add_command(get(partition.request(id)));
    pipe.add_command(get(partition.lacks(id)));
    let mut answers = link.pipe(&pipe).await?.into_iter().map(|answer| read::<Option<Vec<u8>>>(answer?));
    let (value, lacks) = (answers.next().ok_or_else(missing)??, answers.next().ok_or_else(missing)??);
    let Some(value) = value.filter(|value| !erase::is_erased(value)) else { return Ok(None) };
    let unreadable = || corrupt("a request that cannot be read");
    let (mut head, rest) = split(&value)?;
    let body = match head.chunks {
        // Read below.
        None if head.blob.is_some() => Vec::new(),
        None => rest.to_vec(),
        Some(chunks) => match read_chunks(link, partition, id, chunks).await? {
            Some(body) => body,
            None => return Ok(None),
        },
    };
    let unpack = move || if head.zstd { zstd::stream::decode_all(body.as_slice()) } else { Ok(body) };
    let body = tokio::task::spawn_blocking(unpack)
        .await
        .map_err(|_| StoreError::Unavailable("shutting down".into()))?
        .map_err(|_| unreadable())?;
    head.request.request.body = match head.blob {
        Some(blob) => read_blob(store, id.clone(), blob).await?,
        None => body.into(),
    };
    if let Some(lacks) = lacks.map(|json| Lacks::read(&json)).transpose()? {
        (head.request.unmapped, head.request.unreadable) = (lacks.unmapped, lacks.unreadable);
    }
    Ok(Some(head.request))
}

/// How many bytes the body of a request has.
pub(super) async fn request_len(store: &RedisStore, id: &RequestId) -> Result<Option<usize>> {
    if id.bits().is_none() {
        return Ok(None);
    }
    let key = Partition::of_request(id).request(id);
    let value = store.link.send::<Option<Vec<u8>>>(get(key)).await?;
    let Some(value) = value.filter(|value| !erase::is_erased(value)) else { return Ok(None) };
    match split(&value)?.0.len {
        Some(len) => Ok(Some(len)),
        None => Ok(request(store, id).await?.map(|stored| stored.request.body.len())),
    }
}

async fn read_blob(store: &RedisStore, id: RequestId, blob: Blob) -> Result<Bytes> {
    let Some(blobs) = store.blobs.clone() else {
        return Err(StoreError::Refused(
            "a body is in a file, and `store.blobs` names no directory; set it again".into(),
        ));
    };
    let read = tokio::task::spawn_blocking(move || blobs.read(&id, blob)).await;
    read.map_err(|_| StoreError::Unavailable("shutting down".into()))?
}
