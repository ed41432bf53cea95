//! What an event and a pending delivery take in Redis.

use std::collections::BTreeMap;

use super::plan;
use crate::Failure;
use crate::args::{Options, StoreKind};
use crate::bed::{Bed, Plan};
use crate::load::Load;
use crate::redis::Redis;
use crate::report::Run;

/// Endpoints that wait, where pending deliveries are measured.
const ENDPOINTS: usize = 10;
/// Events, at most: each key is asked for its size.
const EVENTS_MAX: u64 = 20_000;

/// Events without endpoints, then as many with ten that hold; the difference is of the deliveries.
pub(super) fn run(options: &Options) -> Result<Run, Failure> {
    let store = if options.store == StoreKind::Embedded { StoreKind::RedisEverysec } else { options.store };
    let options = Options { store, ..options.clone() };
    let load = options.load.unwrap_or(Load::SendGrid(50));
    let requests = Some(load.requests_for(options.count.min(EVENTS_MAX)));
    // What is answered 503 may be stored all the same, and would be counted for nothing.
    let plan = Plan { load, requests, connections: 2, seconds: 600.0, rate: None, ..plan("memory", &options) };

    let mut bed = Bed::start(&Options { endpoints: 0, ..options.clone() })?;
    let mut run = bed.measure(&plan)?;
    let events = run.accepted.max(1) as f64;
    let redis = bed.redis.as_ref().ok_or("Redis is what is measured")?;
    let (by_kind, json) = sizes(redis)?;
    let raw = by_kind.get("r").copied().unwrap_or(0);
    for (kind, bytes) in &by_kind {
        run.figures.insert(format!("bytes an event in `{kind}`"), *bytes as f64 / events);
    }
    let without_raw = run.store_bytes.saturating_sub(raw) as f64 / events;
    run.figures.insert("stored JSON bytes".into(), json);
    run.figures.insert("bytes an event".into(), without_raw);
    run.figures.insert("times its JSON".into(), without_raw / json.max(1.0));
    drop(bed);

    let patient = ["timeout_s = 60".to_owned()];
    let endpoint_lines = options.endpoint_lines.iter().cloned().chain(patient).collect();
    let mut bed = Bed::start(&Options { endpoints: ENDPOINTS, endpoint_lines, ..options })?;
    let pending = bed.measure(&Plan { holds: true, ..plan })?;
    let more = pending.store_bytes.saturating_sub(run.store_bytes) as f64;
    run.figures.insert("bytes a pending delivery".into(), more / (pending.accepted.max(1) as f64 * ENDPOINTS as f64));
    Ok(run)
}

/// Bytes by kind of key, and the mean length of a stored event.
fn sizes(redis: &Redis) -> Result<(BTreeMap<String, u64>, f64), Failure> {
    let mut session = redis.session()?;
    let (mut by_kind, mut cursor) = (BTreeMap::<String, u64>::new(), "0".to_owned());
    let (mut lengths, mut events) = (0, 0_u64);
    loop {
        let page = session.ask(&format!("SCAN {cursor} COUNT 1000"))?;
        let mut parts = page.lines();
        parts.next().unwrap_or("0").clone_into(&mut cursor);
        for key in parts {
            let kind = key.split(':').nth(2).unwrap_or(key);
            *by_kind.entry(kind.to_owned()).or_default() +=
                session.ask(&format!("MEMORY USAGE {key} SAMPLES 0"))?.parse::<u64>()?;
            if kind == "e" {
                lengths += session.ask(&format!("STRLEN {key}"))?.parse::<u64>()?;
                events += 1;
            }
        }
        if cursor == "0" {
            return Ok((by_kind, lengths as f64 / events.max(1) as f64));
        }
    }
}
