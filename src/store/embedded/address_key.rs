//! The key of the hashes of addresses, which an embedded store makes for itself beside its master key.

use std::path::Path;

use super::range::Span;
use super::secret_file::{SecretFile, Which};
use super::spaces::{Space, Spaces};
use crate::domain::address::AddressKey;
use crate::store::{Result, StoreError, random};

/// The key of the store in this directory, which is open; made if there never was one.
///
/// # Errors
/// When the file is gone while something is kept under its hashes, when it holds no key, or cannot be read or written.
pub(super) fn open(dir: &Path, spaces: &Spaces) -> Result<AddressKey> {
    let file = SecretFile::of(dir, Which::Address);
    let refused = |problem: &str| {
        StoreError::Refused(format!(
            "{}: {problem}; restore it from a backup of the directory, or put a new key there (`waypost key new` prints \
             one), which gives up the suppression list so far, and finds no event so far by its recipient or mail",
            file.path().display()
        ))
    };
    match file.read()? {
        Some(text) => AddressKey::read(&text).ok_or_else(|| refused("holds no key, which is the base64 of 32 bytes")),
        // With another one none of them would be found, and whoever is listed be written to.
        None if is_used(spaces)? => {
            Err(refused("is gone, and the suppression list and the index of events are kept under it"))
        }
        None => {
            let key = AddressKey::new(random()?);
            file.make(&key.text())?;
            Ok(key)
        }
    }
}

/// Whether anything is kept under the hashes.
fn is_used(spaces: &Spaces) -> Result<bool> {
    let is_any = |space| Ok(spaces.range(&Span::from(space, [])).next().transpose()?.is_some());
    Ok(is_any(Space::Suppressions)? || is_any(Space::Events)?)
}
