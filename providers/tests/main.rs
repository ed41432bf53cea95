//! What the adapters promise, held against recorded and published requests, mutations of them, and others' libraries.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod cases;
mod change;
mod composed;
mod corpus;
mod credentials;
mod fixtures;
mod forms;
mod interop;
mod linear;
mod mapping;
mod memory;
mod mutations;
mod proofs;
mod property;
mod schema;
