//! Files that nothing refers to: a crash left them without their commit, or the commit is yet to come.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::super::{LeftBody, Page, Result, StoreError, place};
use super::files::{Files, NEW, gone};
use super::{Blob, Blobs, stopping};
use crate::domain::id::RequestId;

/// No body is larger; what is read of one that is not whole may say anything.
const LEN_MAX: u64 = 64 * 1024 * 1024;

/// Who knows what refers to files.
#[async_trait]
pub(in super::super) trait Refers: Sync {
    /// The file that a request refers to, as far as is committed; `for_sure` only if what tells it would survive.
    async fn blob_of(&self, id: &RequestId, for_sure: bool) -> Result<Option<Blob>>;
}

/// A file of a body, or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    day: u64,
    name: String,
    written_at: Timestamp,
}

impl Named {
    fn place(&self) -> String {
        format!("{}/{}", self.day, self.name)
    }

    /// Whose body it is, and its hash; nothing of one that was being written.
    pub(super) fn body(&self) -> Option<(RequestId, u64)> {
        let (id, hash) = self.name.split_once('.')?;
        let id = RequestId::from(id);
        Some((id.bits().map(|_| id)?, u64::from_str_radix(hash, 16).ok()?))
    }

    fn is_ours(&self) -> bool {
        self.name.ends_with(NEW) || self.body().is_some()
    }

    /// Whether something refers to it, as what cannot be read may.
    async fn is_used(&self, refers: &dyn Refers, for_sure: bool) -> Result<bool> {
        let Some((id, hash)) = self.body() else { return Ok(false) };
        match refers.blob_of(&id, for_sure).await {
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(request.id = %id, %error, "the file of a body stays");
                Ok(true)
            }
            blob => Ok(blob?.is_some_and(|blob| (blob.day, blob.hash) == (self.day, hash))),
        }
    }
}

impl Blobs {
    /// Those of so many files that nothing refers to.
    pub(in super::super) async fn left_from(
        &self,
        refers: &dyn Refers,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LeftBody>> {
        let (files, id, cursor) = (self.files.clone(), self.id.clone(), cursor.map(str::to_owned));
        let list = move || {
            // Where it is not mounted there is nothing, and somewhere else there is something.
            place::still(&files.dir, &id)?;
            files.named_from(cursor.as_deref(), limit)
        };
        let (all, next) = spawn_blocking(list).await.map_err(|_| stopping())??;
        let mut items = Vec::new();
        for named in all {
            if !named.is_used(refers, false).await? {
                items.push(LeftBody { place: named.place(), written_at: named.written_at });
            }
        }
        Ok(Page { items, next })
    }

    /// As much of such a file as can be read.
    pub(in super::super) async fn left_body(&self, place: &str) -> Result<Vec<u8>> {
        let (files, (day, name)) = (self.files.clone(), parse(place)?);
        spawn_blocking(move || files.read_some(day, &name)).await.map_err(|_| stopping())?
    }

    /// Removes such a file, unless something refers to it by now, or it was written again.
    pub(in super::super) async fn remove_left(&self, refers: &dyn Refers, body: &LeftBody) -> Result<()> {
        let (day, name) = parse(&body.place)?;
        let named = Named { day, name, written_at: body.written_at };
        if named.is_used(refers, true).await? {
            return Ok(());
        }
        let files = self.files.clone();
        spawn_blocking(move || files.remove_named(&named)).await.map_err(|_| stopping())?
    }

    /// Writes a body again that something refers to, if its file has gone and there is a place to write. It is a repair, and
    /// nobody fails for it.
    pub(in super::super) async fn settle(&self, refers: &dyn Refers, id: RequestId, body: Bytes, blob: Blob) {
        let Ok(write) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let (files, request) = (self.files.clone(), id.clone());
        let written = spawn_blocking(move || {
            let written = files.settle(&request, &body, blob);
            drop(write);
            written
        });
        let mut settled = written.await.unwrap_or_else(|_| Err(stopping()));
        if matches!(settled, Ok(true)) && refers.blob_of(&id, false).await.is_ok_and(|known| known != Some(blob)) {
            // It was erased meanwhile.
            let (files, request) = (self.files.clone(), id.clone());
            let removed = spawn_blocking(move || files.remove(&request, blob)).await;
            settled = removed.unwrap_or_else(|_| Err(stopping())).map(|()| false);
        }
        if let Err(error) = settled {
            tracing::warn!(request.id = %id, %error, "the file of a body may be missing");
        }
    }
}

/// A day and a name in its folder.
fn parse(place: &str) -> Result<(u64, String)> {
    let (day, name) = place.split_once('/').ok_or(StoreError::BadCursor)?;
    let day = day.parse().map_err(|_| StoreError::BadCursor)?;
    if name.contains(['/', '\\']) { Err(StoreError::BadCursor) } else { Ok((day, name.to_owned())) }
}

impl Files {
    /// At most so many of the files, by day and name, after this one; and where to go on.
    pub(super) fn named_from(&self, cursor: Option<&str>, limit: usize) -> Result<(Vec<Named>, Option<String>)> {
        let (first, after) = cursor.map_or(Ok((0, String::new())), parse)?;
        let failed = |error: io::Error| self.failed("cannot be listed", &error);
        let mut days = Vec::new();
        for folder in fs::read_dir(&self.dir).map_err(failed)? {
            days.extend(folder.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        days.retain(|day| *day >= first);
        days.sort_unstable();
        let Some(day) = days.first().copied() else { return Ok((Vec::new(), None)) };
        let mut all = self.named(day).map_err(failed)?;
        all.retain(|named| day > first || named.name > after);
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let next = match all.get(limit) {
            Some(_) => Some(all[limit - 1].place()),
            None => days.get(1).map(|day| format!("{day}/")),
        };
        all.truncate(limit);
        Ok((all, next))
    }

    /// The files of a folder; what goes meanwhile is not there.
    fn named(&self, day: u64) -> io::Result<Vec<Named>> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(self.folder(day)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(all),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let written_at = match entry.metadata().and_then(|data| written_at(&data)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                written_at => written_at?,
            };
            let Ok(name) = entry.file_name().into_string() else { continue };
            all.push(Named { day, name, written_at });
        }
        all.retain(Named::is_ours);
        Ok(all)
    }

    /// Nobody names a file meanwhile in this process; in another one, within a moment.
    fn remove_named(&self, named: &Named) -> Result<()> {
        let path = self.folder(named.day).join(&named.name);
        let remove = || {
            let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
            if written_at(&fs::metadata(&path)?)? == named.written_at {
                fs::remove_file(&path)?;
            }
            Ok(())
        };
        let removed = gone(remove()).and_then(|()| self.sync_folder(named.day));
        removed.map_err(|error| self.failed("keeps a body", &error))
    }

    fn read_some(&self, day: u64, name: &str) -> Result<Vec<u8>> {
        let path = self.folder(day).join(name);
        let unreadable = |error: &io::Error| StoreError::Corrupt(format!("{}: {error}", path.display()));
        let mut body = Vec::new();
        match File::open(&path).and_then(zstd::Decoder::new).map(|file| file.take(LEN_MAX).read_to_end(&mut body)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // One that was being written ends somewhere, which is no error of the disk.
            Err(error) | Ok(Err(error)) if error.raw_os_error().is_some() => return Err(unreadable(&error)),
            _ => {}
        }
        Ok(body)
    }
}

/// One that tells no time was written just now.
fn written_at(data: &fs::Metadata) -> io::Result<Timestamp> {
    let written_at = Timestamp::try_from(data.modified()?).unwrap_or(Timestamp::MAX);
    Ok(if written_at <= Timestamp::UNIX_EPOCH { Timestamp::MAX } else { written_at })
}
