//! Whatever comes in, through every adapter's `verify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_providers_fuzz::verify(input));
