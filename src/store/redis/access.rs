//! The audit log, a stream in the first partition; claims, each a key of its own; and the last use of API keys.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::Cmd;

use super::RedisStore;
use super::keys::Partition;
use super::link::{Call, Link, corrupt};
use super::rows::{seconds, timestamp};
use super::scripts;
use crate::domain::address::Address;
use crate::domain::audit::{Entry, LIFETIME};
use crate::domain::id::SuppressionId;
use crate::store::access::{Access, Bits, CLAIM_LIFETIME, Claim, ENTRIES_MAX, Kept};
use crate::store::{Page, PageQuery, Result, StoreError};

pub(super) const AUDIT: &str = "audit";
const USED: &str = "keys_used";

/// The lifetime of an entry, for scripts.
pub(super) fn lifetime_ms() -> u64 {
    seconds(LIFETIME) * 1_000
}

pub(super) fn json(entry: &Entry) -> Result<Vec<u8>> {
    serde_json::to_vec(entry).map_err(|_| corrupt("an entry that cannot be written"))
}

pub(super) async fn note(link: &Link, entries: &[Entry]) -> Result<()> {
    for part in entries.chunks(ENTRIES_MAX) {
        let mut call = Call::new(&scripts::NOTE, Partition::FIRST, &[AUDIT]);
        call.num(lifetime_ms());
        for entry in part {
            call.arg(json(entry)?);
        }
        link.kept().run_one::<i64>(call).await?;
    }
    Ok(())
}

/// The id of an entry of the stream, which is what cursors are: two numbers.
fn is_place(text: &str) -> bool {
    text.split_once('-').is_some_and(|(ms, count)| ms.parse::<u64>().is_ok() && count.parse::<u64>().is_ok())
}

async fn audit(link: &Link, page: &PageQuery) -> Result<Page<Kept>> {
    let end = match &page.cursor {
        None => "+".to_owned(),
        Some(cursor) if is_place(cursor) => format!("({cursor}"),
        Some(_) => return Err(StoreError::BadCursor),
    };
    let mut time = Cmd::new();
    time.arg("TIME");
    let (now_s, _): (u64, u64) = link.send(time).await?;
    let mut range = Cmd::new();
    range.arg("XREVRANGE").arg(Partition::FIRST.key(AUDIT)).arg(end);
    range.arg(now_s.saturating_sub(seconds(LIFETIME)) * 1_000).arg("COUNT").arg(page.limit + 1);
    let mut rows: Vec<(String, (String, Vec<u8>))> = link.send(range).await?;
    let has_more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let next = rows.last().filter(|_| has_more).map(|(place, _)| place.clone());
    let readable = |(place, (_, json)): (String, (String, Vec<u8>))| match serde_json::from_slice(&json) {
        Ok(entry) => Some(Kept { id: format!("aud_{place}"), entry }),
        Err(_) => {
            tracing::error!(entry.id = place, "an entry of the audit log is passed over: it cannot be read");
            None
        }
    };
    Ok(Page { items: rows.into_iter().filter_map(readable).collect(), next })
}

fn claim_key(key: Bits) -> String {
    Partition::of_bytes(&key).key(&format!("claim:{}", hex::encode(key)))
}

/// What tells the request, what is made of it, and what it made, if it has: in hex, but for the last.
fn text(claim: &Claim) -> String {
    let made = claim.made.as_ref().map(|made| format!("|{made}"));
    format!("{}{}{}", hex::encode(claim.digest), hex::encode(claim.bits), made.unwrap_or_default())
}

fn parse(text: &str) -> Option<Claim> {
    let (both, made) = match text.split_once('|') {
        Some((both, made)) => (both, Some(made.to_owned())),
        None => (text, None),
    };
    let bits = |hex: &str| hex::decode(hex).ok()?.try_into().ok();
    let (digest, rest) = both.split_at_checked(2 * size_of::<Bits>())?;
    Some(Claim { digest: bits(digest)?, bits: bits(rest)?, made })
}

fn read(text: &str) -> Result<Claim> {
    parse(text).ok_or_else(|| corrupt("a claim that cannot be read"))
}

#[async_trait]
impl Access for RedisStore {
    async fn note(&self, entries: &[Entry]) -> Result<()> {
        note(&self.link, entries).await
    }

    async fn audit(&self, page: &PageQuery) -> Result<Page<Kept>> {
        audit(&self.link, page).await
    }

    async fn address_id(&self, address: &Address) -> Result<SuppressionId> {
        Ok(SuppressionId::of(&self.address_keys.get(&self.link).await?.hash(address)))
    }

    async fn claim(&self, key: Bits, claim: &Claim) -> Result<Claim> {
        let mut set = Cmd::new();
        set.arg("SET").arg(claim_key(key)).arg(text(claim)).arg("NX").arg("EX").arg(seconds(CLAIM_LIFETIME)).arg("GET");
        let known: Option<String> = self.link.kept().send(set).await?;
        known.map_or_else(|| Ok(claim.clone()), |known| read(&known))
    }

    async fn settle(&self, key: Bits, made: &str) -> Result<()> {
        let mut get = Cmd::new();
        get.arg("GET").arg(claim_key(key));
        let Some(known) = self.link.send::<Option<String>>(get).await? else { return Ok(()) };
        let settled = Claim { made: Some(made.to_owned()), ..read(&known)? };
        let mut set = Cmd::new();
        set.arg("SET").arg(claim_key(key)).arg(text(&settled)).arg("XX").arg("KEEPTTL");
        self.link.kept().send::<Option<String>>(set).await?;
        Ok(())
    }

    async fn note_uses(&self, uses: &BTreeMap<String, Timestamp>) -> Result<()> {
        let mut call = Call::new(&scripts::USED, Partition::FIRST, &[USED]);
        for (name, at) in uses {
            call.arg(name).num(at.as_microsecond());
        }
        self.link.run_one::<i64>(call).await?;
        Ok(())
    }

    async fn uses(&self, names: Vec<String>) -> Result<Vec<Option<Timestamp>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = Cmd::new();
        get.arg("HMGET").arg(Partition::FIRST.key(USED)).arg(&names);
        let found: Vec<Option<String>> = self.link.send(get).await?;
        Ok(found.into_iter().map(|at| timestamp(&at?)).collect())
    }
}
