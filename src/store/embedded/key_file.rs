//! The master key that an embedded store makes for itself, in a file of its directory.
//!
//! It lies beside what it seals, so it protects a copy of the rows alone, not one of the whole directory; that is what
//! `store.master_keys` is for.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::crash;
use crate::domain::seal::{KEY_LEN, MasterKey};
use crate::store::{Result, StoreError};

const NAME: &str = "master.key";
/// A key that is not yet in its place; nothing was sealed with it.
const NEW_NAME: &str = "master.key.new";
const MODE: u32 = 0o600;

/// The place of the key, whether it is there or not. Whoever has the store open may use it.
#[derive(Debug)]
pub struct KeyFile {
    dir: PathBuf,
}

impl KeyFile {
    /// The one of the store in this directory.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The key, if it has been made. Warns of a file that others may read.
    ///
    /// # Errors
    /// When the file is there and holds no key, or cannot be read.
    pub fn read(&self) -> Result<Option<MasterKey>> {
        let path = self.dir.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("cannot be read", &error)),
        };
        let mode = self.settle(&path).map_err(|error| self.failed("cannot be read", &error))?;
        if mode & 0o077 != 0 {
            let mode = format!("{mode:o}");
            tracing::warn!(path = %path.display(), mode, "others may read the master key in this file; chmod 600 it");
        }
        let text = text.trim_end();
        let key = MasterKey::read(&id(text), text);
        key.map(Some).map_err(|error| {
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
        self.write(&text).map_err(|error| self.failed("cannot be written", &error))?;
        crash::point("master_key.made");
        tracing::info!(path = %self.dir.join(NAME).display(), "the store has made its master key; back it up");
        MasterKey::read(&id(&text), &text).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// Nobody sees a part of it: the name is given to the whole file. One that has the name keeps it.
    fn write(&self, text: &str) -> io::Result<()> {
        let new = self.dir.join(NEW_NAME);
        // Left behind by a process that died here.
        fs::remove_file(&new).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        let mut file = File::options().write(true).create_new(true).mode(MODE).open(&new)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        crash::point("master_key.written");
        fs::hard_link(&new, self.dir.join(NAME))?;
        fs::remove_file(&new)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Syncs what whoever made it may have died before it synced; tells who may read it.
    fn settle(&self, path: &Path) -> io::Result<u32> {
        let file = File::open(path)?;
        file.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        Ok(file.metadata()?.permissions().mode() & 0o777)
    }

    fn failed(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{} {what}: {error}", self.dir.join(NAME).display()))
    }
}

/// Tells one such key from another, should the file be lost and made again.
fn id(base64: &str) -> String {
    format!("{NAME}-{}", hex::encode(&Sha256::digest(base64)[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_read_by_whoever_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path());
        assert!(file.read().unwrap().is_none());
        let made = file.make([1; KEY_LEN]).unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
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
        fs::write(dir.path().join(NEW_NAME), "AAAA").unwrap();
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
