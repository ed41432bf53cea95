//! Requests in: the providers' callbacks, and the API.
//!
//! [`routes`] has every route in one table, which `/openapi.json` is made of too; [`problem::Problem`] chooses every status
//! that is no success, of a closed set of [types](problem_types).

mod api;
mod audit;
mod auth;
mod batches;
mod body;
mod buffer;
mod compat;
mod content;
mod details;
mod feed;
pub mod gather;
mod health;
mod idempotency;
mod inbound;
mod jobs;
mod keys;
mod large;
mod lists;
mod metrics;
mod openapi;
pub mod problem;
pub mod problem_types;
mod recipients;
mod rejecting;
mod replays;
mod requests;
pub mod routes;
mod search;
mod sending;
mod share;
pub mod sources;
pub mod state;
mod stats;
mod suppressions;
mod throttle;
mod token;
mod webhooks;
