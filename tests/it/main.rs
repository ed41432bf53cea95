//! Waypost as a whole, and each engine of its store.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod client;
mod clocks;
mod commands;
mod contract;
mod crash;
mod crash_points;
mod embedded;
mod formats;
mod gateway;
mod gateways;
mod hooks;
mod inbound;
mod interop;
mod lanes;
mod ledger;
mod order;
mod outage;
mod peers;
mod port;
mod readme;
mod redis_contract;
mod redis_faults;
mod redis_fixture;
mod redis_harness;
mod redis_store;
mod sick;
mod signal;
mod simulate;
mod stale_endpoints;
mod stopping;
mod support;
mod tidy;
mod tidy_text;
mod tls;
mod wire;
