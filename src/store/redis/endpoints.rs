//! The endpoint set, its generation in every partition, and the living gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Cmd;

use super::keys::{Partition, all};
use super::link::{Call, Link, corrupt, read};
use super::rows::micros;
use super::{access, scripts};
use crate::crash;
use crate::domain::audit::Entry;
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{EndpointId, GatewayId};
use crate::domain::plan::Generation;
use crate::store::access::ENTRIES_MAX;
use crate::store::{Endpoints, Result};

/// Reads the partitions' generations first and the set last: so what is answered is never older than its generation,
/// and a partition that is ahead of the set can only be one that outlived it.
pub(super) async fn endpoints(link: &Link) -> Result<Endpoints> {
    let get = |key: &str| Call::plain(&["GET", key]);
    let generations = all().map(|partition| get(&partition.key("gen"))).collect();
    let key = |name| Partition::FIRST.key(name);
    let set = Call::plain(&["HGETALL", &key("endpoints")]);
    let set = vec![get(&key("generation")), get(&key("numbered")), set];
    let mut answers = link.run_then(generations, set).await?;
    let set = answers.pop().ok_or_else(|| corrupt("no endpoint set"))?;
    let numbered = answers.pop().ok_or_else(|| corrupt("no highest number"))?;
    let numbered = read::<Option<u64>>(numbered?)?.unwrap_or_default();
    let mut all = Vec::new();
    for json in read::<BTreeMap<String, Vec<u8>>>(set?)?.into_values() {
        all.push(serde_json::from_slice::<Endpoint>(&json).map_err(|_| corrupt("an endpoint that cannot be read"))?);
    }
    let mut known = Vec::new();
    for answer in answers {
        known.push(read::<Option<u64>>(answer?)?.unwrap_or_default());
    }
    let generation = known.iter().copied().max().unwrap_or_default();
    if known.iter().any(|known| *known < generation) {
        raise(link, generation, &[]).await?;
    }
    Ok(Endpoints { generation: Generation(generation), numbered, all })
}

/// Raises the generation everywhere; whoever changed the set may have died before it did. Lanes of endpoints that are
/// gone forget what they remembered, so that one that is made again by this name begins anew.
async fn raise(link: &Link, generation: u64, removed: &[EndpointId]) -> Result<()> {
    let mut calls = Vec::new();
    let mut add = |partition, key| {
        let mut call = Call::new(&scripts::RAISE, partition, &[key, "ls"]);
        call.num(generation);
        for id in removed {
            call.arg(id.as_str());
        }
        calls.push(call);
    };
    add(Partition::FIRST, "generation");
    for partition in all() {
        add(partition, "gen");
    }
    link.run_all::<i64>(calls).await?;
    Ok(())
}

pub(super) async fn change(
    link: &Link,
    base: Generation,
    changes: &[Endpoint],
    removed: &[EndpointId],
    entries: &[Entry],
) -> Result<Option<Generation>> {
    // A script is not to take long. These may then tell of a change that somebody else was first to make.
    let (before, entries) = entries.split_at(entries.len().saturating_sub(ENTRIES_MAX));
    access::note(link, before).await?;
    let keys = ["endpoints", "generation", "numbered", access::AUDIT];
    let mut call = Call::new(&scripts::ENDPOINTS, Partition::FIRST, &keys);
    let numbered = changes.iter().map(|change| change.number).max().unwrap_or_default();
    call.num(base.0).num(numbered).num(access::lifetime_ms()).num(entries.len()).num(changes.len());
    for entry in entries {
        call.arg(access::json(entry)?);
    }
    for endpoint in changes {
        let json = serde_json::to_vec(endpoint).map_err(|_| corrupt("an endpoint that cannot be written"))?;
        call.arg(endpoint.id.as_str()).arg(json);
    }
    for id in removed {
        call.arg(id.as_str());
    }
    let raised: u64 = link.kept().run_one(call).await?;
    if raised == 0 {
        return Ok(None);
    }
    crash::point("endpoints.committed");
    raise(link, raised, removed).await?;
    Ok(Some(Generation(raised)))
}

pub(super) async fn heartbeat(link: &Link, gateway: &GatewayId, ttl: Duration) -> Result<Vec<GatewayId>> {
    let mut call = Call::new(&scripts::HEARTBEAT, Partition::FIRST, &["gateways"]);
    call.arg(gateway.as_str()).num(micros(ttl));
    let mut alive: Vec<String> = link.run_one(call).await?;
    alive.sort();
    Ok(alive.iter().map(|id| id.as_str().into()).collect())
}

pub(super) async fn leave(link: &Link, gateway: &GatewayId) -> Result<()> {
    let mut cmd = Cmd::new();
    cmd.arg("ZREM").arg(Partition::FIRST.key("gateways")).arg(gateway.as_str());
    link.send::<i64>(cmd).await?;
    Ok(())
}
