//! What this process counts for `GET /metrics`: requests in, calls of the store, attempts, and the process itself.
//!
//! Each gateway tells its own since it was started; `docs/metrics.md` lists the [families]. Labels are of closed sets, and
//! names of sources in the config: no endpoint, address or URL, so what is told is bounded. To count is to add to a number
//! that is at hand: nothing is allocated, and nothing waits but for the table of sources.

use std::sync::Arc;

use jiff::Timestamp;

mod deliveries;
pub mod families;
mod inbound;
mod process;
mod store;
mod text;
mod values;

pub use deliveries::{Deliveries, Lanes};
pub use inbound::{Answered, AtSource, Inbound};
pub use process::Process;
pub use store::{Operation, StoreCalls};

use crate::domain::endpoint::{DisabledReason, Endpoint};
use families::Family;
use text::Text;

/// Of the text that [`Metrics::text`] makes: the version of the Prometheus exposition format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    started_at: Timestamp,
    /// What comes in.
    pub inbound: Inbound,
    /// Calls of the store.
    pub store: StoreCalls,
    /// What goes out.
    pub deliveries: Deliveries,
}

/// What is not counted, but looked at when it is asked for.
#[derive(Debug, Default)]
pub struct Observed<'a> {
    /// The sources of the config.
    pub sources: Vec<&'a str>,
    /// Whether the store can take work.
    pub is_store_ready: bool,
    /// The endpoint set.
    pub endpoints: &'a [Endpoint],
    /// What the system says of the process.
    pub process: Process,
}

impl Metrics {
    /// Of a process that was started then.
    pub fn of_process_since(started_at: Timestamp) -> Self {
        Self { started_at, ..Self::default() }
    }

    /// All of it, in the text format of Prometheus.
    pub fn text(&self, observed: &Observed<'_>) -> String {
        // One that never got anything is told too: a rate needs to have seen its zero.
        let _: Vec<Arc<AtSource>> = observed.sources.iter().map(|name| self.inbound.at(name)).collect();
        let mut text = Text::default();
        for family in Family::ALL {
            text.begin(*family);
            self.tell(*family, observed, &mut text);
        }
        text.done()
    }

    fn tell(&self, family: Family, observed: &Observed<'_>, text: &mut Text) {
        let process = &observed.process;
        match family {
            Family::Requests => self.inbound.tell_requests(text),
            Family::RequestDuration => self.inbound.each(|name, at| at.tell_durations(name, text)),
            Family::BodyBytes => self.inbound.each(|name, at| at.tell_bytes(name, text)),
            Family::Events => self.inbound.each(|name, at| at.tell_events(name, text)),
            Family::StoreDuration => self.store.tell_durations(text),
            Family::StoreErrors => self.store.tell_errors(text),
            Family::StoreReady => text.one(&[], u64::from(observed.is_store_ready)),
            Family::Attempts => self.deliveries.tell_attempts(text),
            Family::AttemptDuration => self.deliveries.tell_durations(text),
            Family::AttemptsInFlight => text.one(&[], self.deliveries.lanes().in_flight),
            Family::Ended => self.deliveries.tell_ended(text),
            Family::Delay => self.deliveries.tell_delays(text),
            Family::LeasesLost => self.deliveries.tell_lost(text),
            Family::BreakersOpen => text.one(&[], self.deliveries.lanes().breakers_open),
            Family::Endpoints => tell_endpoints(observed.endpoints, text),
            Family::BuildInfo => text.one(&[env!("CARGO_PKG_VERSION")], 1),
            Family::StartTime => text.one(&[], self.started_at.as_duration().as_secs_f64()),
            Family::Cpu => text.one(&[], process.cpu.as_secs_f64()),
            Family::Memory => process.resident_bytes.into_iter().for_each(|bytes| text.one(&[], bytes)),
            Family::OpenFiles => process.open_files.into_iter().for_each(|count| text.one(&[], count)),
            Family::FilesMax => process.files_max.into_iter().for_each(|count| text.one(&[], count)),
        }
    }
}

fn tell_endpoints(endpoints: &[Endpoint], text: &mut Text) {
    let reason = |endpoint: &Endpoint| endpoint.disabled.as_ref().map(|disabled| disabled.reason);
    for wanted in [None].into_iter().chain(DisabledReason::ALL.map(Some)) {
        let count = endpoints.iter().filter(|endpoint| reason(endpoint) == wanted).count();
        text.one(&[wanted.map_or("enabled", DisabledReason::as_str)], count);
    }
}

#[cfg(test)]
mod tests;
