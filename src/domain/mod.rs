//! Every decision, as pure functions of values with time as an argument. No I/O, no clock, no randomness.

pub mod access;
pub mod breaker;
pub mod delivery;
pub mod endpoint;
pub mod endpoint_fields;
pub mod fan_out;
pub mod field;
pub mod format;
pub mod given;
pub mod header;
pub mod id;
pub mod kept;
pub mod ownership;
pub mod plan;
pub mod proxy;
pub mod rate;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod risk;
pub mod seal;
pub mod secret;
pub mod signing;
pub mod source;
pub mod subscription;
pub mod target;
