//! Files that nothing refers to: a crash left them without their commit.
//!
//! Such a file is first set aside, by another name, and then it is looked once more whether something refers to it by now.
//! A commit comes before the look of whoever made it, so either that look misses the file, or this one finds the commit.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::super::{Result, StoreError};
use super::files::{Files, LEFT, NEW, STEP_FILES, aside, gone};
use super::{Blob, Blobs, stopping};
use crate::crash;
use crate::domain::id::RequestId;

/// One that is younger is probably still being written.
const WRITING: Duration = Duration::from_secs(2);

/// Who knows what refers to files.
#[async_trait]
pub(in super::super) trait Refers: Sync {
    /// The file that a request refers to, as far as is committed.
    async fn blob_of(&self, id: &RequestId) -> Result<Option<Blob>>;
}

/// A file of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: RequestId,
    day: u64,
    hash: u64,
    /// By its own name, even if it is set aside.
    path: PathBuf,
}

impl Named {
    fn is(&self, blob: Option<Blob>) -> bool {
        blob.is_some_and(|blob| (blob.day, blob.hash) == (self.day, self.hash))
    }
}

/// Removes those of some files that nothing refers to; answers where to go on, none at the end.
pub(in super::super) async fn remove_left(
    blobs: &Blobs,
    refers: &dyn Refers,
    cursor: Option<&str>,
) -> Result<Option<String>> {
    let (files, cursor) = (blobs.files.clone(), cursor.map(str::to_owned));
    let (all, next) = off_thread(move || files.named_from(cursor.as_deref(), STEP_FILES)).await?;
    for named in all {
        let is_used = is_used(refers, &named).await?;
        if !is_used {
            let (files, left) = (blobs.files.clone(), named.clone());
            off_thread(move || files.set_aside(&left)).await?;
            crash::point("blob.set_aside");
        }
        let is_used = is_used || self::is_used(refers, &named).await?;
        let files = blobs.files.clone();
        off_thread(move || files.settle_aside(&named, is_used)).await?;
    }
    Ok(next)
}

/// Whether something refers to it, as what cannot be read may.
async fn is_used(refers: &dyn Refers, named: &Named) -> Result<bool> {
    match refers.blob_of(&named.id).await {
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(request.id = %named.id, %error, "the file of a body stays");
            Ok(true)
        }
        blob => Ok(named.is(blob?)),
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|_| stopping())?
}

impl Files {
    /// About so many of the files of bodies, by day and name, after this one; and where to go on. What was being written
    /// when its process died goes at once.
    pub(super) fn named_from(&self, cursor: Option<&str>, limit: usize) -> Result<(Vec<Named>, Option<String>)> {
        self.list(cursor, limit).map_err(|error| self.failed("cannot be listed", &error))
    }

    fn list(&self, cursor: Option<&str>, limit: usize) -> io::Result<(Vec<Named>, Option<String>)> {
        let unknown = || io::Error::new(ErrorKind::InvalidInput, "it has no such cursor");
        let after = cursor.map(|cursor| cursor.split_once('/').ok_or_else(unknown)).transpose()?;
        let (first, after) = after.unwrap_or(("0", ""));
        let first: u64 = first.parse().map_err(|_| unknown())?;
        let mut days = Vec::new();
        for folder in fs::read_dir(&self.dir)? {
            days.extend(folder?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        days.retain(|day| *day >= first);
        days.sort_unstable();
        let Some(day) = days.first().copied() else { return Ok((Vec::new(), None)) };
        let mut all = self.named(day)?;
        if day == first {
            all.retain(|named| named.name() > after);
        }
        all.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        all.dedup();
        let next = match all.get(limit) {
            Some(_) => Some(format!("{day}/{}", all[limit - 1].name())),
            None => days.get(1).map(|day| format!("{day}/")),
        };
        all.truncate(limit);
        Ok((all, next))
    }

    /// The files of a folder; one that goes meanwhile holds nothing.
    fn named(&self, day: u64) -> io::Result<Vec<Named>> {
        let folder = self.folder(day);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(NEW) {
                remove_old(&entry)?;
                continue;
            }
            let name = name.strip_suffix(LEFT).unwrap_or(&name);
            let Some((id, hash)) = name.split_once('.') else { continue };
            let (id, hash) = (RequestId::from(id), u64::from_str_radix(hash, 16));
            if let (Some(_), Ok(hash)) = (id.bits(), hash) {
                all.push(Named { id, day, hash, path: folder.join(name) });
            }
        }
        Ok(all)
    }

    fn set_aside(&self, named: &Named) -> Result<()> {
        let set = gone(fs::rename(&named.path, aside(&named.path)));
        set.map_err(|error| self.failed("keeps a body", &error))
    }

    /// What was set aside, if anything was, has its name again or goes.
    fn settle_aside(&self, named: &Named, is_used: bool) -> Result<()> {
        let aside = aside(&named.path);
        let settled = match is_used {
            true => gone(fs::rename(&aside, &named.path)),
            false => gone(fs::remove_file(&aside)).and_then(|()| self.sync_folder(named.day)),
        };
        settled.map_err(|error| self.failed("keeps a body", &error))
    }
}

impl Named {
    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

fn remove_old(entry: &fs::DirEntry) -> io::Result<()> {
    let age = entry.metadata().and_then(|data| data.modified()).map(|at| at.elapsed().unwrap_or_default());
    match age {
        Ok(age) if age < WRITING => Ok(()),
        Ok(_) => gone(fs::remove_file(entry.path())),
        Err(error) => gone(Err(error)),
    }
}
