//! The master key that an embedded store makes for itself, in a file of its directory.
//!
//! It lies beside what it seals, so it protects a copy of the rows alone, not one of the whole directory; that is what
//! `store.master_keys` is for.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::secret_file::{SecretFile, Which};
use crate::domain::seal::{KEY_LEN, MasterKey};
use crate::store::{Result, StoreError};

/// What leads the id of such a key.
const NAME: &str = "master.key";

/// The place of the key, whether it is there or not. Whoever has the store open may use it.
#[derive(Debug)]
pub struct KeyFile(SecretFile);

impl KeyFile {
    /// The one of the store in this directory.
    pub fn of(dir: &Path) -> Self {
        Self(SecretFile::of(dir, Which::Master))
    }

    /// The key, if it has been made. Warns of a file that others may read.
    ///
    /// # Errors
    /// When the file is there and holds no key, or cannot be read.
    pub fn read(&self) -> Result<Option<MasterKey>> {
        let Some(text) = self.0.read()? else { return Ok(None) };
        let key = MasterKey::read(&id(&text), &text);
        key.map(Some).map_err(|error| {
            let path = self.0.path();
            let path = path.display();
            StoreError::Refused(format!("{path}: the key {error}; restore it from a backup of the directory"))
        })
    }

    /// Makes it of these random bytes, or reads the one that is there. When this returns, it would survive a power cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(&self, random: [u8; KEY_LEN]) -> Result<MasterKey> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let text = STANDARD.encode(random);
        self.0.make(&text)?;
        tracing::info!(path = %self.0.path().display(), "the store has made its master key; back it up");
        MasterKey::read(&id(&text), &text).map_err(|error| StoreError::Corrupt(error.to_string()))
    }
}

/// Tells one such key from another, should the file be lost and made again.
fn id(base64: &str) -> String {
    format!("{NAME}-{}", hex::encode(&Sha256::digest(base64)[..4]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_read_by_whoever_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path());
        assert!(file.read().unwrap().is_none());
        let made = file.make([1; KEY_LEN]).unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(&path).unwrap();
        let again = KeyFile::of(dir.path());
        assert_eq!(again.make([2; KEY_LEN]).unwrap().id(), made.id());
        assert_eq!(again.read().unwrap().unwrap().id(), made.id());
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_left_half_made_is_no_key_and_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("master.key.new"), "AAAA").unwrap();
        let file = KeyFile::of(dir.path());
        assert!(file.read().unwrap().is_none());
        file.make([1; KEY_LEN]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap().trim_end(), STANDARD.encode([1; KEY_LEN]));
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "hunter2").unwrap();
        for told in [KeyFile::of(dir.path()).read().err(), KeyFile::of(dir.path()).make([1; KEY_LEN]).err()] {
            let told = told.unwrap().to_string();
            assert!(told.contains(&format!("{}: the key is no base64", path.display())), "{told}");
            assert!(!told.contains("hunter2"));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "hunter2");
    }

    #[test]
    fn two_keys_have_two_ids() {
        let made = |byte| KeyFile::of(tempfile::tempdir().unwrap().path()).make([byte; KEY_LEN]).unwrap();
        assert_ne!(made(1).id(), made(2).id());
        assert!(made(1).id().starts_with("master.key-"), "{:?}", made(1));
    }
}
