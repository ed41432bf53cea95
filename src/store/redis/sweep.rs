//! Removes where words lead once the events there have expired: slowly, key by key, so that all have been looked through
//! in a small part of the lifetime of events. Gateways do it each for itself, beginning anywhere.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::task::JoinHandle;

use super::keys::all;
use super::link::{Link, corrupt, missing, read};
use super::rows::seconds;
use super::search::{BUCKETS, bucket, member_stamp};
use crate::store::{Result, random};

/// So many keys of each partition are looked through in one step.
const STEP_KEYS: u32 = 128;
/// So many members of one key at a time.
const MEMBERS_MAX: usize = 500;
/// All keys are looked through in this part of the lifetime: so much more than what is alive is kept at most.
const LIFETIME_SHARE: u32 = 32;
/// Between two steps at least.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Starts sweeping, for ever.
pub(super) fn start(link: Arc<Link>, lifetime: Duration) -> Result<JoinHandle<()>> {
    let pause = (lifetime / LIFETIME_SHARE / (BUCKETS / STEP_KEYS)).max(PAUSE_MIN);
    let mut number = u32::from(u16::from_be_bytes(random()?));
    Ok(tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            match step(&link, lifetime, number).await {
                Ok(()) => number = (number + STEP_KEYS) % BUCKETS,
                Err(error) => {
                    tracing::debug!(%error, "sweeping was interrupted");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }))
}

/// Looks through keys from this one on.
async fn step(link: &Link, lifetime: Duration, number: u32) -> Result<()> {
    let mut keys = Vec::new();
    for partition in all() {
        keys.extend((number..number + STEP_KEYS).map(|number| bucket(partition, number % BUCKETS)));
    }
    let mut pipe = Pipeline::new();
    pipe.cmd("TIME");
    for key in &keys {
        pipe.add_command(members(key, "-"));
    }
    let mut answers = link.pipe(&pipe).await?.into_iter();
    let (now, _): (u64, u64) = read(answers.next().ok_or_else(missing)??)?;
    // An event lives up to a second longer than it must.
    let expired = now.saturating_sub(seconds(lifetime) + 1) * 1_000_000;
    for (key, answer) in keys.iter().zip(answers) {
        sweep(link, key, answer?, expired).await?;
    }
    Ok(())
}

/// Removes from one key what was committed before then, having read its first members.
async fn sweep(link: &Link, key: &str, first: Value, expired: u64) -> Result<()> {
    let mut found: Vec<String> = read(first)?;
    loop {
        let is_expired = |member: &&String| member_stamp(member).is_none_or(|stamp| stamp < expired);
        let gone: Vec<_> = found.iter().filter(is_expired).collect();
        if !gone.is_empty() {
            link.send::<i64>(Cmd::new().arg("ZREM").arg(key).arg(gone).clone()).await?;
        }
        if found.len() < MEMBERS_MAX {
            return Ok(());
        }
        let last = found.last().ok_or_else(|| corrupt("an index of words"))?;
        found = link.send(members(key, &format!("({last}"))).await?;
    }
}

fn members(key: &str, from: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("ZRANGE").arg(key).arg(from).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(MEMBERS_MAX);
    cmd
}
