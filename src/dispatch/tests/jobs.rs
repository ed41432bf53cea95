//! Bulk replays.

mod none;
