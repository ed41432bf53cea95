//! Waypost: one gateway for the webhooks of email providers. This page is the map.
//!
//! A provider's request is verified and parsed by the `waypost-providers` crate, which is pure and holds the only maker
//! of a `Verified`; what nobody has verified cannot be parsed. Then the life of an event is three commits of one
//! [`store`]: `ingest`, `lease`, `finish`. [`http`] and [`dispatch`] meet only there, so either runs without the other.
//!
//! | module | what it does | it may import |
//! | --- | --- | --- |
//! | [`domain`] | every decision, as pure functions of values | the providers crate |
//! | [`outbound`] | bodies, headers and signatures, pure | `domain` |
//! | [`store`] | the contract, and its engines | `domain` |
//! | [`keyring`] | the master keys at hand: the config's, and the embedded store's own | `store` |
//! | [`metrics`] | what this process counts, and its text for Prometheus | `domain` |
//! | [`endpoints`] | this gateway's copy of the endpoint set, and its secrets | `keyring`, `outbound` |
//! | [`sources`] | the config's sources as they are now | `domain` |
//! | [`reprocess`] | reads requests that were not understood again | `endpoints`, `sources` |
//! | [`announce`] | brings operational events to the store | `endpoints` |
//! | [`dispatch`] | leases, posts, records; works at jobs | `metrics`, `store`, `outbound`, `endpoints`, `announce`, `reprocess` |
//! | [`http`] | routes in, and the answers | `metrics`, `store`, `endpoints`, `announce`, `reprocess` |
//! | [`config`] | settings: layers, checks, errors with a remedy | `domain` |
//! | [`app`] | wires everything; build, port, run until stopped | all |
//! | [`cli`] | one file for each command | `app`, `config` |
//!
//! Beside these: [`telemetry`] starts the logs, and [`crash`] names the places where a test may end the process.
//!
//! Time is an argument everywhere below `app`, `dispatch` and `http`; [`clock`] is the one place that reads it.

pub mod announce;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod dispatch;
pub mod domain;
pub mod endpoints;
pub mod http;
pub mod keyring;
pub mod metrics;
pub mod outbound;
pub mod reprocess;
pub mod sources;
pub mod store;
pub mod telemetry;
