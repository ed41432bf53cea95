//! `waypost key new`: a key for the config.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Failure;
use crate::domain::seal::KEY_LEN;
use crate::keyring::random;

/// Prints it. Long enough for an API key too.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) fn new() -> Result<(), Failure> {
    println!("{}", STANDARD.encode(random::<KEY_LEN>()?));
    Ok(())
}
