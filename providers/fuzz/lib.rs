//! What both targets share: the sources of the fixtures, and the properties that the tests hold too.

use std::sync::LazyLock;

#[path = "../tests/cases.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod cases;
#[path = "../tests/property.rs"]
mod property;

static SOURCES: LazyLock<Vec<cases::Source>> = LazyLock::new(cases::sources);

/// Whatever comes in, through every adapter's `verify`.
pub fn verify(input: &[u8]) {
    property::verify(&SOURCES, input);
}

/// The same through every adapter's `parse`.
pub fn parse(input: &[u8]) {
    property::parse(&SOURCES, input);
}
