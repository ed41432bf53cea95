//! A secret that an embedded store makes for itself, in a file of its directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::crash;
use crate::store::{Result, StoreError};

const MODE: u32 = 0o600;

/// Which secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The master key.
    Master,
    /// The key of the hashes of addresses.
    Address,
}

impl Which {
    /// The file's name; and the name of one that is not yet in its place, which nothing was made with.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Master => ("master.key", "master.key.new"),
            Self::Address => ("address.key", "address.key.new"),
        }
    }

    /// The names of its places to crash: when it is written, and when it has its name.
    fn crash_points(self) -> (&'static str, &'static str) {
        match self {
            Self::Master => ("master_key.written", "master_key.made"),
            Self::Address => ("address_key.written", "address_key.made"),
        }
    }
}

/// The place of the secret, whether it is there or not.
#[derive(Debug)]
pub(super) struct SecretFile {
    dir: PathBuf,
    which: Which,
}

impl SecretFile {
    /// The one of the store in this directory.
    pub(super) fn of(dir: &Path, which: Which) -> Self {
        Self { dir: dir.to_owned(), which }
    }

    /// Its path.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(self.which.names().0)
    }

    /// The text, if it has been made. Warns of a file that others may read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&self) -> Result<Option<String>> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("cannot be read", &error)),
        };
        let mode = self.settle(&path).map_err(|error| self.failed("cannot be read", &error))?;
        if mode & 0o077 != 0 {
            let mode = format!("{mode:o}");
            tracing::warn!(path = %path.display(), mode, "others may read the key in this file; chmod 600 it");
        }
        Ok(Some(text.trim_end().to_owned()))
    }

    /// Makes it. When this returns, it would survive a power cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn make(&self, text: &str) -> Result<()> {
        self.write(text).map_err(|error| self.failed("cannot be written", &error))?;
        Some(self.which.crash_points().1).into_iter().for_each(crash::point);
        Ok(())
    }

    /// Nobody sees a part of it: the name is given to the whole file. One that has the name keeps it.
    fn write(&self, text: &str) -> io::Result<()> {
        let new = self.dir.join(self.which.names().1);
        // Left behind by a process that died here.
        fs::remove_file(&new).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        let mut file = File::options().write(true).create_new(true).mode(MODE).open(&new)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        Some(self.which.crash_points().0).into_iter().for_each(crash::point);
        fs::hard_link(&new, self.path())?;
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
        StoreError::Unavailable(format!("{} {what}: {error}", self.path().display()))
    }
}
