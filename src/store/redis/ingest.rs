//! From a plan to what is stored: the token, the raw request, then each event.

use redis::{Cmd, Pipeline};
use waypost_providers::ReplayGuard;

use super::gather::{Shape, run_gathered};
use super::keys::{Partition, letter};
use super::link::{Call, Link, read};
use super::rows::seconds;
use super::{RedisStore, raw, scripts};
use crate::crash;
use crate::domain::plan::{Generation, Ingest, PlannedDelivery, Unit};
use crate::domain::retention::Lifetimes;
use crate::store::{Ingested, Result};

/// A unit and the endpoint set it was planned with.
pub(super) type Planned = (Generation, Unit);

pub(super) async fn ingest(store: &RedisStore, ingest: Ingest) -> Result<Ingested> {
    if !ingest.guards.is_empty() {
        if !remember(store, &ingest.guards).await? {
            return Ok(Ingested::Forged);
        }
        crash::point("token.remembered");
    }
    raw::keep(store, ingest.raw).await?;
    crash::point("raw.stored");
    let planned = ingest.units.into_iter().map(|unit| (ingest.generation, unit)).collect();
    let (mut new, mut repeated, mut stale, mut failed) = (0, 0, false, None);
    for answer in store.units.call(planned).await {
        match answer {
            Ok(1) => new += 1,
            Ok(2) => repeated += 1,
            Ok(3) => stale = true,
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    if new > 0 {
        store.work.notify_one();
    }
    match failed {
        Some(error) => Err(error),
        None if stale => Ok(Ingested::Stale),
        None => Ok(Ingested::Stored { new, repeated }),
    }
}

/// Whether the token is new, or was used with the same content, under each of its keys. They may live in several
/// partitions, so of several all are looked at first: a forgery leaves none of them behind.
async fn remember(store: &RedisStore, guards: &[ReplayGuard]) -> Result<bool> {
    let get = |guard: &ReplayGuard| Cmd::new().arg("GET").arg(token_key(guard)).clone();
    if guards.len() > 1 && !are_same(store, guards, get).await? {
        return Ok(false);
    }
    let set = |guard: &ReplayGuard| {
        let mut set = Cmd::new();
        set.arg("SET").arg(token_key(guard)).arg(&guard.digest[..]);
        set.arg("NX").arg("GET").arg("EX").arg(seconds(store.lifetimes.tokens)).clone()
    };
    are_same(store, guards, set).await
}

fn token_key(guard: &ReplayGuard) -> String {
    Partition::of_bytes(&guard.token).key(&format!("t:{}", hex::encode(guard.token)))
}

/// Whether no command answers another digest than its guard's.
async fn are_same(store: &RedisStore, guards: &[ReplayGuard], command: impl Fn(&ReplayGuard) -> Cmd) -> Result<bool> {
    let mut pipe = Pipeline::new();
    for guard in guards {
        pipe.add_command(command(guard));
    }
    let mut is_same = true;
    for (guard, answer) in guards.iter().zip(store.link.pipe(&pipe).await?) {
        let known: Option<Vec<u8>> = read(answer?)?;
        is_same &= known.is_none_or(|digest| digest == guard.digest);
    }
    Ok(is_same)
}

/// Commits what has gathered.
pub(super) async fn commit(link: &Link, lifetimes: Lifetimes, planned: Vec<Planned>) -> Vec<Result<i64>> {
    let shape = Shape {
        partition: |(_, unit): &Planned| Partition::of_mail(unit.mail),
        rows: |(_, unit): &Planned| 1 + unit.deliveries.len(),
    };
    let answers = run_gathered(link, &planned, &shape, |partition, units| call(partition, lifetimes, units)).await;
    crash::point("units.committed");
    answers
}

fn call(partition: Partition, lifetimes: Lifetimes, planned: &[&Planned]) -> Call {
    let mut call = Call::new(&scripts::INGEST, partition, &["gen", "feed", "lanes", "st:pending", "st:skipped"]);
    // Most units of a request go to the same endpoints, which are told once.
    let mut plans: Vec<&[PlannedDelivery]> = Vec::new();
    let mut chosen = Vec::with_capacity(planned.len());
    for (_, unit) in planned {
        let known = plans.iter().rposition(|plan| *plan == unit.deliveries.as_slice());
        chosen.push(known.unwrap_or_else(|| {
            plans.push(&unit.deliveries);
            plans.len() - 1
        }));
    }
    call.num(seconds(lifetimes.events)).num(plans.len());
    for plan in plans {
        call.num(plan.len());
        for delivery in plan {
            call.arg(delivery.endpoint.as_str()).arg(letter(delivery.class)).num(u8::from(delivery.skipped));
        }
    }
    call.num(planned.len());
    for ((generation, unit), plan) in planned.iter().zip(chosen) {
        call.arg(unit.id.as_str()).arg(unit.kind.as_str()).arg(unit.mail.to_string()).arg(&unit.json);
        call.num(generation.0).num(plan + 1);
        let Some(condition) = &unit.condition else {
            call.arg("");
            continue;
        };
        call.arg(hex::encode(condition.entity)).arg(&condition.value);
        call.num(condition.at.as_microsecond()).num(u8::from(condition.first_sight_reports));
    }
    call
}
