//! What was measured, as values that are written and read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::generator::Sent;
use crate::generator::record::{Record, UNANSWERED};
use crate::receiver::ledger::Counts;

/// One measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What it is called.
    pub(crate) name: String,
    /// Which store.
    pub(crate) store: String,
    /// Which load.
    pub(crate) load: String,
    /// How many endpoints.
    pub(crate) endpoints: usize,
    /// How many connections posted.
    pub(crate) connections: usize,
    /// Requests a second, if they were sent at a rate.
    pub(crate) rate: Option<f64>,
    /// Requests sent.
    pub(crate) requests: u64,
    /// Requests by what was answered; `0` is no answer.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Events in requests that were answered 200.
    pub(crate) accepted: u64,
    /// Such events a second, from the first byte out to the last answer in.
    pub(crate) accepted_per_s: f64,
    /// Deliveries.
    pub(crate) delivered: u64,
    /// Deliveries a second, from the first byte out to the last delivery.
    pub(crate) delivered_per_s: f64,
    /// From when a request was to be sent to its 200.
    pub(crate) answer: Option<Quantiles>,
    /// From when a request was to be sent to its delivery.
    pub(crate) end_to_end: Option<Quantiles>,
    /// CPU nanoseconds by process, until the last delivery.
    pub(crate) cpu_ns: BTreeMap<String, u64>,
    /// The gateway's peak, in bytes.
    pub(crate) peak_memory: u64,
    /// Bytes that the store grew by.
    pub(crate) store_bytes: u64,
    /// Accepted and not delivered to an endpoint that lives.
    pub(crate) losses: u64,
    /// Delivered again.
    pub(crate) duplicates: u64,
    /// Deliveries that the receiver refused, as it was told to.
    pub(crate) refused: u64,
    /// Signatures checked.
    pub(crate) verified: u64,
    /// Signatures that were wrong, and requests that held no event of ours.
    pub(crate) wrong: u64,
    /// Whether the generator ran out of requests: then the load ended early, and the rates still hold.
    pub(crate) ran_out: bool,
}

/// How long it took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// Half took no longer.
    pub(crate) p50: f64,
    /// Nine of ten.
    pub(crate) p90: f64,
    /// Ninety-nine of a hundred.
    pub(crate) p99: f64,
    /// None.
    pub(crate) max: f64,
}

impl Quantiles {
    /// Of these nanoseconds; nothing of none.
    pub(crate) fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let last = nanos.len().checked_sub(1)?;
        let at = |share: f64| nanos[(last as f64 * share).round() as usize] as f64 / 1000.0;
        Some(Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) })
    }
}

impl Run {
    /// What the generator saw.
    pub(crate) fn of(records: &[Record], sent: &Sent) -> Self {
        let mut run = Self { requests: records.len() as u64, ran_out: sent.ran_out, ..Self::default() };
        let accepted = records.iter().filter(|record| record.status == 200);
        run.answer = Quantiles::of(accepted.clone().map(|record| record.answered - record.due).collect());
        run.accepted = accepted.map(|record| u64::from(record.events)).sum();
        run.accepted_per_s = run.accepted as f64 / seconds(sent.began, sent.ended);
        for record in records {
            *run.statuses.entry(record.status).or_default() += 1;
        }
        run
    }

    /// What the receiver saw.
    pub(crate) fn count(&mut self, before: Counts, after: Counts) {
        self.delivered = after.delivered - before.delivered;
        self.duplicates = after.duplicates - before.duplicates;
        self.refused = after.refused - before.refused;
        self.verified = after.verified - before.verified;
        self.wrong = after.forged + after.strangers - before.forged - before.strangers;
    }

    /// The rate of the deliveries, the last of which was then.
    pub(crate) fn deliver_until(&mut self, last: u64, sent: &Sent) {
        if last > 0 {
            self.delivered_per_s = self.delivered as f64 / seconds(sent.began, last);
        }
    }

    /// CPU microseconds of a process for each accepted event.
    pub(crate) fn cpu_us_per_event(&self, process: &str) -> f64 {
        let nanos = self.cpu_ns.get(process).copied().unwrap_or(0);
        nanos as f64 / 1000.0 / self.accepted.max(1) as f64
    }

    /// Requests that were not answered, or not as they should be.
    pub(crate) fn failed(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| !matches!(status, 200 | 503)).map(|(_, count)| count).sum()
    }

    /// What must never be.
    pub(crate) fn faults(&self) -> Vec<String> {
        let unanswered = self.statuses.get(&UNANSWERED).copied().unwrap_or(0);
        let faults = [
            (self.losses, "accepted and never delivered"),
            (self.wrong, "deliveries that were forged or none of ours"),
            (unanswered, "requests without an answer"),
            (self.failed() - unanswered, "requests answered neither 200 nor 503"),
            (u64::from(self.accepted == 0), "run in which nothing was accepted"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{}: {count} {what}", self.name)).collect()
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from).max(1) as f64 / 1e9
}
