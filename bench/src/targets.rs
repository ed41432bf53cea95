//! The targets, as ratios within one run, and whether they are met.

use crate::floors::{self, Floor};
use crate::report::{Report, Run};

/// One target, measured.
pub(crate) struct Target {
    /// What is asked for.
    pub(crate) name: &'static str,
    /// The figure, if the runs it needs are there.
    pub(crate) measured: Option<f64>,
    /// The figure of the committed report.
    pub(crate) committed: Option<f64>,
    /// What it may be at most, or must be at least.
    pub(crate) bound: Bound,
}

/// Which side is good.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Bound {
    /// Whether a figure is on the good side.
    pub(crate) fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

type Figure = fn(&Report) -> Option<f64>;

const TARGETS: [(&str, Bound, Figure); 13] = [
    ("CPU of an accepted request / bare handler", Bound::AtMost(2.5), accept_ratio),
    ("CPU of a delivery / bare client", Bound::AtMost(1.6), deliver_ratio),
    ("end to end, embedded, events/s", Bound::AtLeast(15_000.0), |all| through(all, "embedded")),
    ("end to end, Redis everysec, events/s", Bound::AtLeast(6_000.0), |all| through(all, "redis-everysec")),
    ("  the goal", Bound::AtLeast(9_000.0), |all| through(all, "redis-everysec")),
    ("batches of 1,000 accepted, embedded, events/s", Bound::AtLeast(100_000.0), |all| batches(all, "embedded")),
    ("batches of 1,000 accepted, Redis, events/s", Bound::AtLeast(15_000.0), |all| batches(all, "redis-everysec")),
    ("p99 end to end at half of capacity, ms", Bound::AtMost(10.0), half_p99),
    ("idle with 10,000 endpoints, CPU %", Bound::AtMost(1.0), |all| figure(all, "idle", "CPU %")),
    ("idle with 10,000 endpoints, MiB", Bound::AtMost(60.0), |all| figure(all, "idle", "memory MiB")),
    ("cost of an event, largest / smallest store", Bound::AtMost(1.15), flat),
    ("Redis bytes of an event / its JSON", Bound::AtMost(2.2), |all| figure(all, "memory", "times its JSON")),
    ("Redis bytes of a pending delivery", Bound::AtMost(160.0), |all| {
        figure(all, "memory", "bytes a pending delivery")
    }),
];

/// All targets, with what was measured and what is committed.
pub(crate) fn all(report: &Report, committed: &Report) -> Vec<Target> {
    let target = |(name, bound, figure): (_, _, Figure)| Target {
        name,
        measured: figure(report),
        committed: figure(committed),
        bound,
    };
    TARGETS.into_iter().map(target).collect()
}

fn find<'a>(all: &'a Report, name: &str, store: &str, load: &str, endpoints: usize) -> Option<&'a Run> {
    let is_it = |run: &&Run| run.name == name && run.store == store && run.load == load && run.endpoints == endpoints;
    all.runs.iter().find(is_it)
}

fn floor<'a>(all: &'a Report, name: &str) -> Option<&'a Floor> {
    all.floors.iter().find(|floor| floor.name == name)
}

/// CPU of the gateway for one event, accepted and delivered to so many endpoints.
fn cost(all: &Report, endpoints: usize) -> Option<f64> {
    let name = if endpoints == 0 { "accept" } else { "healthy" };
    Some(find(all, name, "embedded", "resend", endpoints)?.cpu_us_per_event("gateway"))
}

fn accept_ratio(all: &Report) -> Option<f64> {
    Some(cost(all, 0)? / floor(all, floors::HANDLER)?.cpu_us)
}

/// The slope: what ten endpoints cost more than none, for each.
pub(crate) fn delivery_cpu_us(all: &Report) -> Option<f64> {
    Some((cost(all, 10)? - cost(all, 0)?) / 10.0)
}

fn deliver_ratio(all: &Report) -> Option<f64> {
    Some(delivery_cpu_us(all)? / floor(all, floors::CLIENT)?.cpu_us)
}

/// What an accepted request and a delivery cost, and what the floors of their parts cost together: reading it and committing
/// its rows, posting it and committing what came of it.
pub(crate) fn beside_floors(all: &Report) -> Option<[(f64, f64); 2]> {
    let sum = |one, other| Some(floor(all, one)?.cpu_us + floor(all, other)?.cpu_us);
    let accepted = (cost(all, 0)?, sum(floors::HANDLER, floors::COMMIT)?);
    Some([accepted, (delivery_cpu_us(all)?, sum(floors::CLIENT, floors::RECORD)?)])
}

fn through(all: &Report, store: &str) -> Option<f64> {
    find(all, "healthy", store, "resend", 1).map(Run::through_per_s)
}

fn batches(all: &Report, store: &str) -> Option<f64> {
    find(all, "accept", store, "sendgrid-1000", 0).map(|run| run.accepted_per_s)
}

fn half_p99(all: &Report) -> Option<f64> {
    Some(find(all, "half", "embedded", "resend", 1)?.end_to_end?.p99 / 1000.0)
}

fn figure(all: &Report, run: &str, figure: &str) -> Option<f64> {
    all.runs.iter().find(|one| one.name == run)?.figures.get(figure).copied()
}

fn flat(all: &Report) -> Option<f64> {
    let mut runs = all.runs.iter().rev().filter(|run| run.name == "flat" && run.store == "embedded");
    runs.next()?.figures.get("times a small store's").copied()
}
