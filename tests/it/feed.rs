//! The feed, as those read it who ask for its parts, follow its stream, or have the gateway keep their place.

mod consumers;
mod example;
mod property;
mod readers;
mod sse;
mod streams;
