//! What an event and a pending delivery take in Redis.

use std::collections::BTreeMap;

use super::plan;
use crate::Failure;
use crate::args::{Options, StoreKind};
use crate::bed::{Answering, Bed, Plan};
use crate::load::Load;
use crate::report::Run;

/// Endpoints that wait, where pending deliveries are measured.
const ENDPOINTS: usize = 10;
/// The kind of key that holds raw requests.
const RAW: &str = "r";
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
    let (plain, json) = sizes(&bed)?;
    // Buffers are no data, so keys are counted one by one.
    let bytes: u64 = plain.iter().filter(|(kind, _)| *kind != RAW).map(|(_, bytes)| bytes).sum();
    run.figures.insert("stored JSON bytes".into(), json);
    run.figures.insert("bytes an event".into(), bytes as f64 / events);
    run.figures.insert("times its JSON".into(), bytes as f64 / events / json.max(1.0));
    run.figures
        .extend(plain.iter().map(|(kind, bytes)| (format!("bytes an event in `{kind}`"), *bytes as f64 / events)));
    drop(bed);

    let mut bed = Bed::start(&Options { endpoints: ENDPOINTS, ..options })?;
    let pending = bed.measure(&Plan { endpoints: Answering::Never, ..plan })?;
    let deliveries = pending.accepted.max(1) as f64 * ENDPOINTS as f64;
    let (held, _) = sizes(&bed)?;
    let mut sum = 0.0;
    for (kind, bytes) in held {
        let more = bytes as f64 - plain.get(&kind).copied().unwrap_or(0) as f64;
        sum += more / deliveries;
        run.figures.insert(format!("bytes a pending delivery in `{kind}`"), more / deliveries);
    }
    run.figures.insert("bytes a pending delivery".into(), sum);
    Ok(run)
}

/// Bytes by kind of key, and the mean length of a stored event.
fn sizes(bed: &Bed) -> Result<(BTreeMap<String, u64>, f64), Failure> {
    let redis = bed.redis.as_ref().ok_or("Redis is what is measured")?;
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
