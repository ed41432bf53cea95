//! What was measured, as values that are written and read again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::floors::Floor;
use crate::generator::Sent;
use crate::generator::record::{Record, UNANSWERED};
use crate::receiver::ledger::Counts;
use crate::{Failure, table};

/// What one call of the program has measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The machine, in a line.
    pub(crate) machine: String,
    /// What nothing can be faster than.
    pub(crate) floors: Vec<Floor>,
    /// The runs.
    pub(crate) runs: Vec<Run>,
}

impl Report {
    /// Reads one back.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Prints it, writes it, and fails where something was lost.
    #[expect(clippy::print_stdout, reason = "this is the command's answer")]
    pub(crate) fn finish(mut self, json: Option<&Path>) -> Result<(), Failure> {
        self.machine = machine();
        self.floors.iter().for_each(|floor| println!("{}", table::floor(floor)));
        self.runs.iter().for_each(|run| println!("{}", table::run(run)));
        self.write(json)?;
        let faults: Vec<_> = self.runs.iter().flat_map(Run::faults).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
    }

    /// Writes it, if it is to be written.
    pub(crate) fn write(&self, json: Option<&Path>) -> Result<(), Failure> {
        match json {
            Some(path) => Ok(std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?),
            None => Ok(()),
        }
    }
}

/// Processor, how many of them, and the kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} x {}, Linux {}", model.map_or("unknown", |(_, model)| model), kernel.trim())
}

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
    /// From a request's first byte to its 200. The wait for a connection is not in it.
    #[serde(default)]
    pub(crate) answer_from_first_byte: Option<Quantiles>,
    /// From a request's first byte to its delivery.
    #[serde(default)]
    pub(crate) end_to_end_from_first_byte: Option<Quantiles>,
    /// CPU nanoseconds by process, until the last delivery.
    pub(crate) cpu_ns: BTreeMap<String, u64>,
    /// How much of the machine went to what is no part of the run, in percent. Much of it spoils the figures.
    #[serde(default)]
    pub(crate) others_percent: f64,
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
    /// Figures of this scenario's own, by name and unit.
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, f64>,
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
        run.answer_from_first_byte =
            Quantiles::of(accepted.clone().map(|record| record.answered - record.sent).collect());
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

    /// What the machine did meanwhile, in CPU nanoseconds.
    pub(crate) fn count_others(&mut self, machine: u64, seconds: f64) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = machine.saturating_sub(self.cpu_ns.values().sum()) as f64 / 1e9;
        self.others_percent = others / (seconds * cores) * 100.0;
    }

    /// The rate of the deliveries, the last of which was then.
    pub(crate) fn deliver_until(&mut self, last: u64, sent: &Sent) {
        if last > 0 {
            self.delivered_per_s = self.delivered as f64 / seconds(sent.began, last);
        }
    }

    /// Requests a second that were accepted.
    pub(crate) fn accepted_requests_per_s(&self) -> f64 {
        let requests = self.statuses.get(&200).copied().unwrap_or(0);
        self.accepted_per_s * requests as f64 / self.accepted.max(1) as f64
    }

    /// Events a second that were accepted and delivered to every endpoint: what goes through from end to end.
    pub(crate) fn through_per_s(&self) -> f64 {
        let endpoints = self.delivered as f64 / self.accepted.max(1) as f64;
        self.accepted_per_s.min(self.delivered_per_s / endpoints.max(1.0))
    }

    /// The same in requests.
    pub(crate) fn requests_per_s_through(&self) -> f64 {
        self.through_per_s() * self.accepted_requests_per_s() / self.accepted_per_s.max(1.0)
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
            (u64::from(self.accepted == 0 && self.requests > 0), "run in which nothing was accepted"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{}: {count} {what}", self.name)).collect()
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from).max(1) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let Quantiles { p50, p90, p99, max } =
            Quantiles::of((0..=100).rev().map(|micros| micros * 1000).collect()).unwrap();
        assert_eq!([p50, p90, p99, max], [50.0, 90.0, 99.0, 100.0]);
        assert!(Quantiles::of(Vec::new()).is_none());
    }

    #[test]
    fn a_loss_is_a_fault_and_a_refusal_is_none() {
        let statuses = BTreeMap::from([(200, 5), (503, 9)]);
        let run = Run { requests: 14, accepted: 5, statuses, ..Run::default() };
        assert!(run.faults().is_empty());
        assert_eq!(Run { losses: 1, ..run.clone() }.faults().len(), 1);
        let statuses = BTreeMap::from([(200, 5), (0, 1), (401, 2)]);
        assert_eq!(Run { statuses, ..run }.faults().len(), 2);
    }
}
