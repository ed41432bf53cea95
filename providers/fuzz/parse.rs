//! Whatever comes in, through every adapter's `parse`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../tests/cases.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod cases;
#[path = "../tests/property.rs"]
#[allow(dead_code, reason = "each target holds one")]
mod property;

static SOURCES: LazyLock<Vec<cases::Source>> = LazyLock::new(cases::sources);

fuzz_target!(|input: &[u8]| property::parse(&SOURCES, input));
