//! The erasure of a person. There is no index of requests: all keys are looked through.
//!
//! What is erased keeps its key and its lifetime: of an event its stamp, of a request where the rest of it was. A mark in
//! each partition keeps a request from being reprocessed there, for its events are in any.

use std::time::Duration;

use async_trait::async_trait;
use redis::Pipeline;
use serde::{Deserialize, Serialize};

use super::call::is_settled;
use super::chunks::{CHUNK_GRACE, Chunks, chunk_keys};
use super::keys::{Entry, Partition, all, letter, name};
use super::link::{Call, Link, corrupt, missing, read};
use super::raw::{split, swap};
use super::read::{self, get, made, parse};
use super::requests::understood;
use super::rows::seconds;
use super::{RedisStore, anew, scripts};
use crate::crash;
use crate::domain::attempt_log::Detail;
use crate::domain::delivery::{Class, Delivery, EndReason, Status};
use crate::domain::id::{EndpointId, ReplayId, RequestId};
use crate::domain::plan::StoredEvent;
use crate::store::blobs::{Blob, Refers};
use crate::store::{Anew, Erasures, KeptAnswer, LeftBody, Page, PageQuery, Result, StoreError};

/// How many deliveries one call ends: each may have many attempts, with long answers.
const PART_LEN: usize = 10;
/// How often a change is tried that somebody else was faster than.
const TRIES_MAX: usize = 10;

/// What is kept of an event that is barred: a stamp, and nothing else, as of one that was erased.
const NEVER: &str = "0000000000000000";

/// What the value of a request that was erased begins with.
const ERASED: u8 = b'!';

/// What follows it: where its body was.
#[derive(Default, Serialize, Deserialize)]
struct Rest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<Chunks>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<Blob>,
}

/// Whether this is the value of a request that was erased.
pub(super) fn is_erased(value: &[u8]) -> bool {
    value.first() == Some(&ERASED)
}

impl Rest {
    /// Of one that cannot be read nothing is known.
    fn of(value: &[u8]) -> Self {
        if is_erased(value) {
            return serde_json::from_slice(&value[1..]).unwrap_or_default();
        }
        split(value).map(|(head, _)| Self { chunks: head.chunks, blob: head.blob }).unwrap_or_default()
    }

    fn value(&self) -> Result<Vec<u8>> {
        let rest = serde_json::to_vec(self).map_err(|_| corrupt("what cannot be written of a request"))?;
        Ok([&[ERASED][..], &rest].concat())
    }
}

async fn erase_request(store: &RedisStore, id: &RequestId) -> Result<()> {
    let (key, life) = (Partition::of_request(id).request(id), seconds(store.lifetimes.events));
    let mut marks = Pipeline::new();
    for partition in all() {
        marks.cmd("SET").arg(partition.erased(id)).arg(1).arg("EX").arg(life);
    }
    store.link.kept().pipe(&marks).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
    for _ in 0..TRIES_MAX {
        let Some(value) = store.link.send::<Option<Vec<u8>>>(get(key.clone())).await? else {
            let mut set = redis::Cmd::new();
            set.arg("SET").arg(&key).arg(Rest::default().value()?).arg("NX").arg("EX").arg(life);
            if store.link.kept().send::<Option<String>>(set).await?.is_some() {
                return Ok(());
            }
            continue;
        };
        let rest = Rest::of(&value);
        if is_erased(&value) || swap(&store.link, id, &value, &rest.value()?).await? {
            crash::point("request.erased");
            return remove_rest(store, id, rest).await;
        }
    }
    Err(StoreError::Unavailable("a request changed again and again".into()))
}

/// What is kept of it elsewhere.
async fn remove_rest(store: &RedisStore, id: &RequestId, Rest { chunks, blob }: Rest) -> Result<()> {
    understood(&store.link, std::slice::from_ref(id)).await.into_iter().collect::<Result<()>>()?;
    let mut pipe = Pipeline::new();
    for key in chunk_keys(id, chunks.unwrap_or_default()) {
        pipe.cmd("UNLINK").arg(key);
    }
    store.link.kept().pipe(&pipe).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
    if let (Some(blobs), Some(blob), id) = (store.blobs.clone(), blob, id.clone()) {
        let removed = tokio::task::spawn_blocking(move || blobs.remove(&id, blob)).await;
        removed.map_err(|_| StoreError::Unavailable("shutting down".into()))??;
    }
    Ok(())
}

/// A delivery to be ended: its replay, its endpoint, when it was made.
type Made = (Option<ReplayId>, EndpointId, String);

/// Whether it was; or it has been replayed again since it was looked at.
async fn erase_event(store: &RedisStore, event: &StoredEvent) -> Result<bool> {
    let (id, partition) = (&event.id, Partition::of_mail(event.mail));
    let Some((stamp, _)) = made(&store.link, id).await? else { return Ok(true) };
    let mut cmd = redis::Cmd::new();
    cmd.arg("HGETALL").arg(partition.key(&format!("a:{id}")));
    let replays: Vec<(String, String)> = store.link.send(cmd).await?;
    let live = event.endpoints.iter().zip(stamp..).map(|(endpoint, made)| (None, endpoint.clone(), made.to_string()));
    let mut deliveries: Vec<Made> = live.collect();
    for (field, made) in &replays {
        let (replay, endpoint) = field.split_once('|').ok_or_else(|| corrupt("a replay's name"))?;
        deliveries.push((Some(replay.into()), endpoint.into(), made.clone()));
    }
    let call = |part: &[Made], replays: i64| {
        let keys = [&format!("e:{id}"), &format!("a:{id}"), "st:pending", "st:replays", "st:canceled", "announce"];
        let mut call = Call::new(&scripts::ERASE, partition, &keys);
        call.num(seconds(store.lifetimes.events)).arg(event.mail.to_string()).arg(EndReason::Erased.as_str());
        call.num(replays).num(part.len());
        for (replay, endpoint, made) in part {
            let class = if replay.is_some() { Class::Low } else { class(event) };
            call.arg(name(id, replay.as_ref())).arg(letter(class)).arg(endpoint.as_str()).arg(made);
        }
        call
    };
    for part in deliveries.chunks(PART_LEN) {
        store.link.kept().run_one::<i64>(call(part, -1)).await?;
    }
    crash::point("deliveries.erased");
    let replays = i64::try_from(replays.len()).unwrap_or(i64::MAX);
    store.link.kept().run_one(call(&[], replays)).await
}

/// The class of the deliveries that began with it.
fn class(event: &StoredEvent) -> Class {
    event.kind.in_feed(event.mail).map_or(Class::Normal, Class::of)
}

/// Some of all keys, and where to go on. The server tells by what it counts them, which is another after a restart: then
/// it is begun again. In a cluster partition by partition, for they move.
async fn keys(link: &Link, kind: &str, cursor: Option<&str>, limit: usize) -> Result<(Vec<String>, Option<String>)> {
    let (number, cursor) = match cursor {
        Some(cursor) if link.is_cluster() => cursor.split_once('/').ok_or(StoreError::BadCursor)?,
        cursor => ("0", cursor.unwrap_or_default()),
    };
    let partition = all().find(|one| one.0.to_string() == number).ok_or(StoreError::BadCursor)?;
    let known = cursor.split_once(':');
    let pattern = if link.is_cluster() { partition.key(&format!("{kind}*")) } else { format!("{{wp:*}}:{kind}*") };
    let mut pipe = Pipeline::new();
    pipe.cmd("INFO").arg("server");
    pipe.cmd("SCAN").arg(known.map_or("0", |(_, at)| at)).arg("MATCH").arg(pattern).arg("COUNT").arg(limit);
    pipe.add_command(is_settled(partition));
    let mut answers = link.pipe_to(partition, &pipe).await?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(missing()));
    let info: String = read(next()?)?;
    let run = anew::field(&info, "run_id").ok_or_else(|| corrupt("a server without a `run_id`"))?;
    let (at, keys): (String, Vec<String>) = read(next()?)?;
    if next().is_err() {
        link.refresh().await;
        return Err(StoreError::Unavailable("keys are on their way to another server of the cluster".into()));
    }
    let place = |number: u16, at: &str| if link.is_cluster() { format!("{number}/{at}") } else { at.to_owned() };
    let after = all().find(|one| one.0 == partition.0 + 1).filter(|_| link.is_cluster());
    match known {
        Some((known, _)) if known != run => Ok((Vec::new(), Some(place(partition.0, &format!("{run}:0"))))),
        _ if at == "0" => Ok((keys, after.map(|after| place(after.0, "")))),
        _ => Ok((keys, Some(place(partition.0, &format!("{run}:{at}"))))),
    }
}

/// Statuses in the order that they are looked through.
const STATUSES: [Status; 5] = [Status::Pending, Status::Delivered, Status::Failed, Status::Skipped, Status::Canceled];

async fn remove_left_parts(link: &Link, cursor: Option<&str>, limit: usize, age: Duration) -> Result<Option<String>> {
    let longest_ms = CHUNK_GRACE.saturating_sub(age).as_millis();
    let (keys, next) = keys(link, "r:req_*:", cursor, limit).await?;
    let mut calls = Vec::new();
    for partition in all() {
        let prefix = partition.prefix();
        let names: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix(&prefix)).collect();
        if !names.is_empty() {
            let mut call = Call::new(&scripts::LEFT, partition, &names);
            call.num(longest_ms.to_string()).num(seconds(CHUNK_GRACE) * 1_000);
            calls.push(call);
        }
    }
    link.kept().run_all::<i64>(calls).await?;
    Ok(next)
}

#[async_trait]
impl Refers for RedisStore {
    async fn blob_of(&self, id: &RequestId, for_sure: bool) -> Result<Option<Blob>> {
        let get = get(Partition::of_request(id).request(id));
        let value: Option<Vec<u8>> = match for_sure {
            true => self.link.kept().send(get).await?,
            false => self.link.send(get).await?,
        };
        let value = value.filter(|value| !is_erased(value));
        value.map_or(Ok(None), |value| Ok(split(&value)?.0.blob))
    }
}

#[async_trait]
impl Erasures for RedisStore {
    async fn requests_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<RequestId>> {
        let (keys, next) = keys(&self.link, "r:req_", cursor, limit).await?;
        let ids = keys.iter().filter_map(|key| Some(RequestId::from(key.split_once(":r:")?.1)));
        // Chunks have longer names.
        Ok(Page { items: ids.filter(|id| id.bits().is_some()).collect(), next })
    }

    async fn events_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<StoredEvent>> {
        let (keys, next) = keys(&self.link, "e:evt_", cursor, limit).await?;
        let mut pipe = Pipeline::new();
        for key in &keys {
            pipe.add_command(get(key.clone()));
        }
        let mut items = Vec::new();
        for (key, answer) in keys.iter().zip(self.link.pipe(&pipe).await?) {
            let kept = read::<Option<Vec<u8>>>(answer?)?.filter(|kept| !read::is_erased(kept));
            match kept.map(|kept| parse(&kept)).transpose() {
                Ok(event) => items.extend(event.map(|(_, event)| event)),
                Err(error) => tracing::error!(key, %error, "an event is passed over"),
            }
        }
        Ok(Page { items, next })
    }

    async fn answers_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<KeptAnswer>> {
        let (number, cursor) = cursor.and_then(|cursor| cursor.split_once(':')).unwrap_or(("0", ""));
        let number: usize = number.parse().map_err(|_| StoreError::BadCursor)?;
        let status = STATUSES.get(number).ok_or(StoreError::BadCursor)?;
        let page = PageQuery { cursor: Some(cursor.to_owned()).filter(|cursor| !cursor.is_empty()), limit };
        let Page { items, next } = read::deliveries(&self.link, *status, &page).await?;
        let mut answers = Vec::new();
        for Delivery { event_id, endpoint_id, replay_id, attempts, .. } in items {
            let name = name(&event_id, replay_id.as_ref());
            for mut attempt in attempts.into_iter().filter(|attempt| !attempt.truncated) {
                let place = format!("{}:{name}|{endpoint_id}", attempt.number);
                answers.push(KeptAnswer { place, at: attempt.started_at, detail: Detail::take(&mut attempt) });
            }
        }
        let after = || (number + 1 < STATUSES.len()).then(|| format!("{}:", number + 1));
        Ok(Page { items: answers, next: next.map(|next| format!("{number}:{next}")).or_else(after) })
    }

    async fn erase_requests(&self, ids: &[RequestId]) -> Result<()> {
        for id in ids {
            erase_request(self, id).await?;
        }
        Ok(())
    }

    async fn is_erased(&self, id: &RequestId) -> Result<bool> {
        let mut cmd = redis::Cmd::new();
        cmd.arg("GETRANGE").arg(Partition::of_request(id).request(id)).arg(0).arg(0);
        Ok(is_erased(&self.link.send::<Vec<u8>>(cmd).await?))
    }

    async fn bar_events(&self, events: &[StoredEvent]) -> Result<()> {
        let (life, mut sets) = (seconds(self.lifetimes.events), Pipeline::new());
        for event in events {
            let key = Partition::of_mail(event.mail).event(&event.id);
            sets.cmd("SET").arg(key).arg(NEVER).arg("NX").arg("EX").arg(life);
        }
        self.link.kept().pipe(&sets).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn left_from(&self, cursor: Option<&str>, limit: usize) -> Result<Page<LeftBody>> {
        self.check_place().await?;
        match &self.blobs {
            Some(blobs) => blobs.left_from(self, cursor, limit).await,
            None => Ok(Page { items: Vec::new(), next: None }),
        }
    }

    async fn left_body(&self, place: &str) -> Result<Vec<u8>> {
        self.blobs.as_ref().ok_or(StoreError::BadCursor)?.left_body(place).await
    }

    async fn remove_left(&self, body: &LeftBody) -> Result<()> {
        self.blobs.as_ref().ok_or(StoreError::BadCursor)?.remove_left(self, body).await
    }

    async fn remove_left_parts(&self, cursor: Option<&str>, limit: usize, age: Duration) -> Result<Option<String>> {
        remove_left_parts(&self.link, cursor, limit, age).await
    }

    async fn erase_event(&self, event: &StoredEvent) -> Result<()> {
        for _ in 0..TRIES_MAX {
            if erase_event(self, event).await? {
                self.work.notify_one();
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("an event was replayed again and again".into()))
    }

    async fn forget_answer(&self, place: &str) -> Result<()> {
        let (number, member) = place.split_once(':').ok_or(StoreError::BadCursor)?;
        let Entry { event, replay, endpoint } = Entry::parse(member).ok_or(StoreError::BadCursor)?;
        let mut calls = Vec::new();
        // Its event may have gone, which told where it is.
        for partition in all() {
            let keys = [&format!("p:{endpoint}")[..], &format!("d:{event}")];
            let mut call = Call::new(&scripts::FORGET, partition, &keys);
            call.arg(name(&event, replay.as_ref())).arg(endpoint.as_str()).arg(number);
            calls.push(call);
        }
        self.link.kept().run_all::<i64>(calls).await.map(drop)
    }

    async fn write_anew(&self, begun: Option<&str>) -> Result<Anew> {
        anew::step(&self.link, begun).await
    }
}
