//! Waypost: one gateway for the webhooks of email providers.

pub mod clock;
pub mod domain;
pub mod store;
