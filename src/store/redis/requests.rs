//! Requests with parts that were not understood: which there are, and what they say when they are read again.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Cmd, Pipeline, Value};
use serde::{Deserialize, Serialize};

use super::RedisStore;
use super::erase::is_erased;
use super::ingest::{EXPIRED, Planned, committed_of, tell};
use super::keys::{Partition, all};
use super::link::{Link, corrupt, read};
use super::read::get;
use crate::crash;
use crate::domain::id::RequestId;
use crate::domain::plan::{Ingest, RawRequest};
use crate::domain::reprocess::IncompleteRequest;
use crate::store::{Committed, First, Page, PageQuery, Requests, Result, StoreError};

/// What of a request was not understood, and what a list tells of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Lacks {
    source: Arc<str>,
    #[serde(default)]
    provider: Arc<str>,
    received_at: Timestamp,
    pub(super) unmapped: u32,
    pub(super) unreadable: u32,
}

impl Lacks {
    /// None of a request that was understood.
    pub(super) fn of(raw: &RawRequest) -> Option<Self> {
        raw.is_incomplete().then(|| Self {
            source: Arc::clone(&raw.request.source),
            provider: raw.provider.into(),
            received_at: raw.request.received_at,
            unmapped: raw.unmapped,
            unreadable: raw.unreadable,
        })
    }

    pub(super) fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|_| corrupt("what cannot be written of a request"))
    }

    pub(super) fn read(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|_| corrupt("what was not understood of a request, which cannot be read"))
    }
}

/// A place in the lists: a stamp, and one partition's before another's where they are equal.
type Spot = (u64, Partition);

fn spot(cursor: &str) -> Option<Spot> {
    let (stamp, partition) = cursor.split_once('-')?;
    let partition = partition.parse().ok().and_then(|number: u16| all().find(|known| known.0 == number))?;
    Some((stamp.parse().ok()?, partition))
}

fn cursor((stamp, partition): Spot) -> String {
    format!("{stamp}-{}", partition.0)
}

/// What a partition has after this place.
fn range(partition: Partition, from: Option<Spot>, first: First, len: usize) -> Cmd {
    let mut cmd = Cmd::new();
    let name = if first == First::Oldest { "ZRANGEBYSCORE" } else { "ZREVRANGEBYSCORE" };
    let (begin, end) = if first == First::Oldest { ("-inf", "+inf") } else { ("+inf", "-inf") };
    let begin = match from {
        None => begin.to_owned(),
        Some((stamp, last)) => {
            let is_after = if first == First::Oldest { partition > last } else { partition < last };
            format!("{}{stamp}", if is_after { "" } else { "(" })
        }
    };
    cmd.arg(name).arg(partition.key("incomplete")).arg(begin).arg(end);
    cmd.arg("WITHSCORES").arg("LIMIT").arg(0).arg(len);
    cmd
}

async fn incomplete(link: &Link, page: &PageQuery, first: First) -> Result<Page<IncompleteRequest>> {
    let from = page.cursor.as_deref().map(|cursor| spot(cursor).ok_or(StoreError::BadCursor)).transpose()?;
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(range(partition, from, first, page.limit + 1));
    }
    let mut found: Vec<(Spot, RequestId)> = Vec::new();
    for (partition, answer) in all().zip(link.pipe(&pipe).await?) {
        let entries = read::<Vec<(String, u64)>>(answer?)?.into_iter();
        found.extend(entries.map(|(id, stamp)| ((stamp, partition), id.as_str().into())));
    }
    found.sort();
    if first == First::Latest {
        found.reverse();
    }
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|(spot, _)| cursor(*spot));
    let mut pipe = Pipeline::new();
    for ((_, partition), id) in &found {
        pipe.add_command(get(partition.lacks(id)));
    }
    let (mut items, mut gone) = (Vec::with_capacity(found.len()), Pipeline::new());
    for ((spot @ (_, partition), id), answer) in found.into_iter().zip(link.pipe(&pipe).await?) {
        match read::<Option<Vec<u8>>>(answer?)?.map(|json| Lacks::read(&json)).transpose() {
            Ok(Some(Lacks { source, provider, received_at, unmapped, unreadable })) => {
                let cursor = cursor(spot);
                items.push(IncompleteRequest { id, source, provider, received_at, unmapped, unreadable, cursor });
            }
            // It has expired, or whoever understood it died before it was taken from the list.
            Ok(None) => drop(gone.add_command(unlist(partition, &id))),
            Err(error) => tracing::error!(request.id = %id, %error, "a request is not listed"),
        }
    }
    link.pipe(&gone).await?;
    Ok(Page { items, next })
}

fn unlist(partition: Partition, id: &RequestId) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("ZREM").arg(partition.key("incomplete")).arg(id.as_str()).clone()
}

/// What is still not understood of a request. What was understood once is not looked for again, whichever version says
/// otherwise.
async fn remember(link: &Link, raw: &RawRequest) -> Result<()> {
    let Some(lacks) = Lacks::of(raw) else {
        return understood(link, std::slice::from_ref(&raw.id)).await.into_iter().collect();
    };
    let (key, mut cmd) = (Partition::of_request(&raw.id).lacks(&raw.id), Cmd::new());
    cmd.arg("SET").arg(key).arg(lacks.json()?).arg("XX").arg("KEEPTTL");
    link.kept().send::<Value>(cmd).await.map(drop)
}

/// Requests that are understood are no longer listed.
pub(super) async fn understood(link: &Link, ids: &[RequestId]) -> Vec<Result<()>> {
    let mut pipe = Pipeline::new();
    for id in ids {
        let partition = Partition::of_request(id);
        pipe.cmd("DEL").arg(partition.lacks(id)).add_command(unlist(partition, id));
    }
    let answers = link.pipe_each(&pipe).await;
    answers.chunks(2).map(|both| both.iter().try_for_each(|answer| answer.clone().map(drop))).collect()
}

#[async_trait]
impl Requests for RedisStore {
    async fn incomplete(&self, page: &PageQuery, first: First) -> Result<Page<IncompleteRequest>> {
        incomplete(&self.link, page, first).await
    }

    async fn reprocess(&self, again: Ingest) -> Result<Option<Committed>> {
        self.link.check().await?;
        let Ingest { raw: Some(raw), generation, units, states, .. } = again else { return Ok(None) };
        let mut first = Cmd::new();
        first.arg("GETRANGE").arg(Partition::of_request(&raw.id).request(&raw.id)).arg(0).arg(0);
        let first: Vec<u8> = self.link.send(first).await?;
        if first.is_empty() || is_erased(&first) {
            return Ok(None);
        }
        tell(self, &states).await.into_iter().try_for_each(|told| told)?;
        let received_at = Some(raw.request.received_at);
        let planned = units.into_iter().map(|unit| Planned::new(generation, unit, received_at)).collect();
        let committed = self.units.call(planned).await;
        if committed.iter().any(|unit| matches!(unit, Ok(1))) {
            self.work.notify_one();
        }
        if committed.iter().any(|unit| matches!(unit, Ok(EXPIRED))) {
            return Ok(None);
        }
        let answer = committed_of(committed.into_iter())?;
        if matches!(answer, Committed::Stored(_)) {
            crash::point("reprocess.committed");
            remember(&self.link, &raw).await?;
        }
        // Again, for the connection may have broken and led to another server meanwhile.
        self.link.check().await?;
        Ok(Some(answer))
    }
}
