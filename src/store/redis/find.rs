//! Asks those who know where the primaries are: a server of a cluster, or a sentinel.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Value};

use super::call::{checked, corrupt, read, unavailable};
use super::dial::Dialer;
use super::keys::{PARTITIONS, all};
use crate::domain::redis_url::Host;
use crate::store::{Result, StoreError};

const RESPONSE_MAX: Duration = Duration::from_millis(500);
/// So many servers of a cluster are remembered at most.
const HOSTS_MAX: usize = 1_000;

/// Where everything is.
pub(super) struct Found {
    /// The primary of each partition.
    pub(super) primaries: [Host; PARTITIONS as usize],
    /// Who else can be asked the next time.
    pub(super) others: Vec<Host>,
}

async fn ask(connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value> {
    let mut cmd = Cmd::new();
    for word in words {
        cmd.arg(*word);
    }
    checked(connection.req_packed_command(&cmd).await.map_err(|error| unavailable(&error))?)
}

/// Asks a server of a cluster.
pub(super) async fn primaries(dialer: &Dialer, host: &Host) -> Result<Found> {
    let mut connection = dialer.dial(host, RESPONSE_MAX).await?;
    let answer = ask(&mut connection, &["CLUSTER", "SLOTS"]).await.map_err(|error| match error {
        StoreError::Unavailable(why) if why.contains("cluster support disabled") => StoreError::Refused(format!(
            "Redis at {host} is no cluster: write `redis://` in store.url instead of `redis+cluster://`"
        )),
        other => other,
    })?;
    let ranges = ranges(answer, host).ok_or_else(|| corrupt("slots of another shape"))?;
    let mut primaries = Vec::with_capacity(PARTITIONS.into());
    for slot in all().map(|partition| partition.slot()) {
        let primary = ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        let unserved = || StoreError::Unavailable(format!("no server of the cluster has the slot {slot}"));
        primaries.push(primary.and_then(|range| range.hosts.first()).cloned().ok_or_else(unserved)?);
    }
    let mut others: Vec<Host> = ranges.into_iter().flat_map(|range| range.hosts).collect();
    others.sort();
    others.dedup();
    others.truncate(HOSTS_MAX);
    let primaries = primaries.try_into().map_err(|_| corrupt("slots of another shape"))?;
    Ok(Found { primaries, others })
}

/// Slots that have the same servers, the primary first.
struct Range {
    first: u16,
    last: u16,
    hosts: Vec<Host>,
}

fn ranges(answer: Value, asked: &Host) -> Option<Vec<Range>> {
    let Value::Array(entries) = answer else { return None };
    let range = |entry: Value| {
        let Value::Array(parts) = entry else { return None };
        let mut parts = parts.into_iter();
        let (first, last) = (number(&parts.next()?)?, number(&parts.next()?)?);
        Some(Range { first, last, hosts: parts.filter_map(|part| host(part, asked)).collect() })
    };
    entries.into_iter().map(range).collect()
}

fn number(value: &Value) -> Option<u16> {
    let Value::Int(number) = value else { return None };
    u16::try_from(*number).ok()
}

/// A server as others tell of it: of itself it may tell nothing but the port.
fn host(part: Value, asked: &Host) -> Option<Host> {
    let Value::Array(parts) = part else { return None };
    let (name, port) = (parts.first()?, number(parts.get(1)?)?);
    let name = match name {
        Value::BulkString(name) if !name.is_empty() => String::from_utf8(name.clone()).ok()?,
        Value::Nil | Value::BulkString(_) => asked.name.clone(),
        _ => return None,
    };
    // What Redis writes where it knows no name.
    (name != "?").then_some(Host { name, port })
}

/// Asks a sentinel.
pub(super) async fn primary(dialer: &Dialer, host: &Host, name: &str) -> Result<Found> {
    let mut connection = dialer.dial_sentinel(host, RESPONSE_MAX).await?;
    let unknown = || StoreError::Unavailable(format!("the sentinel at {host} knows no primary `{name}`"));
    let answer = ask(&mut connection, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).await?;
    let (at, port) = read::<Option<(String, u16)>>(answer)?.ok_or_else(unknown)?;
    let primary = Host { name: at, port };
    Ok(Found { primaries: std::array::from_fn(|_| primary.clone()), others: Vec::new() })
}
