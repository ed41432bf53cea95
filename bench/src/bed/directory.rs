//! A directory of the run's own, on a real disk, that goes with the run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Failure;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The directory. Dropped, it is removed.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes one below `parent`, by default beside this program: a target directory is seldom in memory, as `/tmp` may be.
    pub(crate) fn make(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None => std::env::current_exe()?.with_file_name("bench-data"),
        };
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that a directory takes on the disk. What goes while it is counted counts for nothing.
pub(crate) fn bytes(dir: &Path) -> Result<u64, Failure> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { bytes(&entry.path()).unwrap_or(0) } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
