//! The closed set of families that `/metrics` tells. `docs/metrics.md` is written from it.

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counters by how long something took.
    Histogram,
}

impl Type {
    /// The word in the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is said of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name, which ends in its unit. Rules and dashboards name it, so it never changes.
    pub name: &'static str,
    /// What it is.
    pub kind: Type,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one line.
    pub help: &'static str,
}

macro_rules! families {
    ($($variant:ident $name:literal $kind:ident $labels:tt: $help:literal,)*) => {
        /// A family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Family {
            $(#[doc = $help] $variant,)*
        }

        impl Family {
            /// All there are, in the order they are told in.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What is said of it.
            pub const fn about(self) -> About {
                match self {
                    $(Self::$variant => About { name: $name, kind: Type::$kind, labels: &$labels, help: $help },)*
                }
            }
        }
    };
}

families! {
    Requests "waypost_inbound_requests_total" Counter ["source", "outcome"]: "Requests of providers, by what they were answered; without a source, what named none of the config.",
    RequestDuration "waypost_inbound_request_duration_seconds" Histogram ["source"]: "From the head of a provider's request to its answer.",
    BodyBytes "waypost_inbound_body_bytes_total" Counter ["source"]: "Bytes of the bodies that were read whole.",
    Events "waypost_inbound_events_total" Counter ["source", "type", "outcome"]: "Events of requests that were taken; without a type, parts that are none of the event types or unreadable.",
    StoreDuration "waypost_store_call_duration_seconds" Histogram ["operation"]: "How long a call of the store took; one may carry many requests or attempts.",
    StoreErrors "waypost_store_errors_total" Counter ["operation"]: "Calls of the store that failed, in whole or in part.",
    StoreReady "waypost_store_ready" Gauge []: "1 if the store can take work, as /readyz asks it.",
    Attempts "waypost_delivery_attempts_total" Counter ["outcome"]: "Attempts to deliver, by the hundred of the status that was answered, or why there was no answer.",
    AttemptDuration "waypost_delivery_attempt_duration_seconds" Histogram []: "How long an attempt took, its answer included.",
    AttemptsInFlight "waypost_delivery_attempts_in_flight" Gauge []: "Attempts under way, until they are recorded; at most delivery.in_flight_max.",
    Ended "waypost_deliveries_ended_total" Counter ["status"]: "Deliveries that ended and were recorded, by how; those that failed are dead letters.",
    Delay "waypost_delivery_delay_seconds" Histogram []: "From the receipt of an event to its delivery; of replays nothing.",
    LeasesLost "waypost_delivery_leases_lost_total" Counter []: "Attempts that were too late to be recorded: another gateway had the delivery by then.",
    BreakersOpen "waypost_delivery_breakers_open" Gauge []: "Endpoints that this gateway serves and only probes, for they failed ten times in a row.",
    Endpoints "waypost_endpoints" Gauge ["state"]: "Endpoints, enabled or by why they are disabled; each gateway tells of all.",
    BuildInfo "waypost_build_info" Gauge ["version"]: "1, with the version.",
    StartTime "process_start_time_seconds" Gauge []: "When the process was started, in seconds since 1970.",
    Cpu "process_cpu_seconds_total" Counter []: "Time that it spent on CPUs, in user and system mode.",
    Memory "process_resident_memory_bytes" Gauge []: "Memory that it holds.",
    OpenFiles "process_open_fds" Gauge []: "Open file descriptors.",
    FilesMax "process_max_fds" Gauge []: "Open file descriptors that it may have.",
}
