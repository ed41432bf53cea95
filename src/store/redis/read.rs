//! What was stored, for those who ask.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Cmd, Pipeline};

use super::attempts::filled;
use super::keys::{Entry, Partition, STAMP_LEN, all, stamp};
use super::link::{Call, Link, corrupt, read};
use super::rows::Row;
use super::scripts;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{EndpointId, EventId};
use crate::domain::plan::StoredEvent;
use crate::store::{LaneState, Page, PageQuery, Result, StoreError};

pub(super) async fn event(link: &Link, id: &EventId) -> Result<Option<StoredEvent>> {
    Ok(made(link, id).await?.map(|(_, event)| event))
}

/// An event, and when it was committed.
pub(super) async fn made(link: &Link, id: &EventId) -> Result<Option<(u64, StoredEvent)>> {
    let mut pipe = Pipeline::new();
    for partition in all() {
        pipe.add_command(get(partition.event(id)));
    }
    for answer in link.pipe(&pipe).await? {
        if let Some(kept) = read::<Option<Vec<u8>>>(answer?)?.filter(|kept| !is_erased(kept)) {
            return parse(&kept).map(Some);
        }
    }
    Ok(None)
}

pub(super) fn get(key: String) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("GET").arg(key);
    cmd
}

/// Whether nothing is kept of an event but its stamp.
pub(super) fn is_erased(kept: &[u8]) -> bool {
    kept.len() == STAMP_LEN && stamp(kept).is_some()
}

/// What is kept of an event: its stamp, then its JSON.
pub(super) fn parse(kept: &[u8]) -> Result<(u64, StoredEvent)> {
    let unreadable = || corrupt("an event that cannot be read");
    let made = stamp(kept).ok_or_else(unreadable)?;
    let event = serde_json::from_slice(kept.get(STAMP_LEN..).unwrap_or_default()).map_err(|_| unreadable())?;
    Ok((made, event))
}

/// The most items of one page.
pub(super) const PAGE_LEN_MAX: usize = 1_000;

pub(super) async fn deliveries_of(link: &Link, id: &EventId) -> Result<Vec<Delivery>> {
    let Some((made, stored)) = made(link, id).await? else { return Ok(Vec::new()) };
    let partition = Partition::of_mail(stored.mail);
    let mut call = Call::new(&scripts::ROWS, partition, &[&format!("d:{id}"), &format!("a:{id}")]);
    call.arg(id.as_str()).num(stored.endpoints.len());
    for endpoint in &stored.endpoints {
        call.arg(endpoint.as_str());
    }
    let (began, mut again): (Vec<Vec<u8>>, Vec<Again>) = link.run_one(call).await?;
    // Each delivery has a stamp of its own, counted from that of its event.
    let began = stored.endpoints.iter().zip(began.into_iter().zip(made..));
    let mut deliveries = Vec::with_capacity(stored.endpoints.len() + again.len());
    for (endpoint, (row, made)) in began {
        deliveries.push(Row::parse(&row, made)?.delivery(partition, id, endpoint, None));
    }
    again.sort_by_key(|(_, made, _)| *made);
    for (field, made, row) in again {
        let (replay, endpoint) = field.split_once('|').ok_or_else(|| corrupt("a replay's name"))?;
        let row = Row::parse(&row, made)?;
        deliveries.push(row.delivery(partition, id, &endpoint.into(), Some(replay.into())));
    }
    filled(link, deliveries).await
}

/// A replay as its script answers it: `<replay>|<endpoint>`, when it was made, row.
type Again = (String, u64, Vec<u8>);

/// An entry of a status index as its script answers it: member, score, row.
type Indexed = (String, u64, Vec<u8>);
/// A place in a status index: score, then member.
type IndexPlace = (u64, String);

fn index_place(cursor: &str) -> Option<IndexPlace> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (score, member) = text.split_once('|')?;
    Entry::parse(member)?;
    Some((score.parse().ok()?, member.to_owned()))
}

pub(super) async fn deliveries(link: &Link, status: Status, page: &PageQuery) -> Result<Page<Delivery>> {
    let limit = page.limit.min(PAGE_LEN_MAX);
    let known = |cursor| index_place(cursor).ok_or(StoreError::BadCursor);
    let from = page.cursor.as_deref().map(known).transpose()?;
    let index = format!("st:{}", status.as_str());
    let script = if status == Status::Pending { &scripts::PENDING } else { &scripts::PAGE };
    let mut calls = Vec::new();
    for partition in all() {
        let mut call = Call::new(script, partition, &[&index, "st:replays"]);
        match &from {
            Some((score, member)) => call.num(*score).arg(member),
            None => call.arg("").arg(""),
        };
        call.num(limit + 1);
        calls.push(call);
    }
    let answers: Vec<Vec<Indexed>> = link.run_all(calls).await?;
    let led = |(partition, found): (Partition, Vec<Indexed>)| found.into_iter().map(move |one| (partition, one));
    let mut found: Vec<(Partition, Indexed)> = all().zip(answers).flat_map(led).collect();
    found.sort_by(|(_, one), (_, other)| (other.1, &other.0).cmp(&(one.1, &one.0)));
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|(_, (member, score, _))| URL_SAFE_NO_PAD.encode(format!("{score}|{member}")));
    let mut items = Vec::with_capacity(found.len());
    for (partition, (member, score, row)) in found {
        let entry = Entry::parse(&member).ok_or_else(|| corrupt("an index entry that cannot be read"))?;
        let row = match Row::parse(&row, score) {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(delivery = member, %error, "a delivery is not listed");
                continue;
            }
        };
        // An ended delivery without a row has expired, and its entry will go too.
        if row.status == status {
            items.push(row.delivery(partition, &entry.event, &entry.endpoint, entry.replay));
        }
    }
    Ok(Page { items: filled(link, items).await?, next })
}

pub(super) async fn lane_states(link: &Link, endpoints: &[EndpointId]) -> Result<Vec<(EndpointId, LaneState)>> {
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = Pipeline::new();
    for partition in all() {
        let mut cmd = Cmd::new();
        cmd.arg("HMGET").arg(partition.key("ls"));
        for endpoint in endpoints {
            cmd.arg(endpoint.as_str());
        }
        pipe.add_command(cmd);
    }
    let mut latest: Vec<Option<LaneState>> = endpoints.iter().map(|_| None).collect();
    for answer in link.pipe(&pipe).await? {
        for (slot, text) in latest.iter_mut().zip(read::<Vec<Option<String>>>(answer?)?) {
            let Some(text) = text else { continue };
            let json = text.split_once('|').map_or("", |(_, json)| json);
            let state: LaneState = serde_json::from_str(json).map_err(|_| corrupt("a lane's state"))?;
            if slot.is_none_or(|known| known.at < state.at) {
                *slot = Some(state);
            }
        }
    }
    let remembered = endpoints.iter().zip(latest).filter_map(|(endpoint, state)| Some((endpoint.clone(), state?)));
    Ok(remembered.filter(|(_, state)| state.breaker != Default::default()).collect())
}
