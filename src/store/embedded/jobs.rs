//! Jobs of bulk replay: a row for each, and which there are, by when they were made and which are active.

use fjall::Slice;

use super::core::Core;
use super::read::{View, collect, cursor};
use super::rows::{Expiring, Id, after, corrupt, decode, micros};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::id::ReplayId;
use crate::domain::job::Job;
use crate::store::replays::passing_over;
use crate::store::{Page, PageQuery, Result};

/// What the keys of a space lead with: a job's row, by when it was made, that it is active, that it was canceled.
const ROW: u8 = b'j';
const MADE: u8 = b'm';
const ACTIVE: u8 = b'a';
const CANCELED: u8 = b'x';

/// When it was made, then its id.
const MADE_LEN: usize = 8 + size_of::<Id>();

fn key(of: u8, rest: &[u8]) -> Vec<u8> {
    [&[of], rest].concat()
}

fn made(job: &Job, id: Id) -> Vec<u8> {
    [&micros(job.created_at).to_be_bytes()[..], &id].concat()
}

/// Whether the replay is to make nothing any more.
pub(super) fn is_canceled(txn: &Txn<'_>, replay: Id) -> Result<bool> {
    Ok(txn.get(Space::Jobs, &key(CANCELED, &replay))?.is_some())
}

pub(super) fn note_canceled(txn: &mut Txn<'_>, replay: Id) {
    txn.put(Space::Jobs, &key(CANCELED, &replay), Slice::empty());
}

/// Removes all that is kept of a job. Whatever it was to replay has expired.
pub(super) fn forget_job(txn: &mut Txn<'_>, id: &[u8]) -> Result<()> {
    if let Some(job) = txn.get_json::<Job>(Space::Jobs, &key(ROW, id))? {
        let id = job.id.bits().ok_or_else(|| corrupt("a job's id"))?;
        txn.remove(Space::Jobs, &key(MADE, &made(&job, id)));
    }
    for of in [ROW, ACTIVE, CANCELED] {
        txn.remove(Space::Jobs, &key(of, id));
    }
    Ok(())
}

impl Core {
    /// Whether it was kept: nobody else has changed it meanwhile.
    pub(super) fn keep_job(&mut self, txn: &mut Txn<'_>, job: &Job, now: u64) -> Result<bool> {
        let Some(id) = job.id.bits() else { return Ok(false) };
        let known: Option<Job> = txn.get_json(Space::Jobs, &key(ROW, &id))?;
        if known.as_ref().map_or(0, |known| known.version) + 1 != job.version {
            return Ok(false);
        }
        if known.is_none() {
            txn.put(Space::Jobs, &key(MADE, &made(job, id)), Slice::empty());
            let expires = after(now, self.lifetimes.events);
            txn.put(Space::Expiry, &Expiring::Job(&id).key(expires), Slice::empty());
        }
        txn.synced = true;
        txn.put_json(Space::Jobs, &key(ROW, &id), job)?;
        if job.state.is_active() {
            txn.put(Space::Jobs, &key(ACTIVE, &id), Slice::empty());
        } else {
            txn.remove(Space::Jobs, &key(ACTIVE, &id));
        }
        Ok(true)
    }
}

impl View<'_> {
    pub(super) fn job(&self, id: &ReplayId) -> Result<Option<Job>> {
        let Some(id) = id.bits() else { return Ok(None) };
        self.job_at(&id)
    }

    fn job_at(&self, id: &[u8]) -> Result<Option<Job>> {
        self.get(Space::Jobs, &key(ROW, id))?.map(|row| decode(&row)).transpose()
    }

    fn readable_at(&self, id: &[u8]) -> Result<Option<Job>> {
        passing_over(&hex::encode(id), self.job_at(id))
    }

    pub(super) fn jobs(&self, page: &PageQuery) -> Result<Page<Job>> {
        let end = cursor(page, MADE_LEN)?;
        let rows = self.back_from(Space::Jobs, &[MADE], &end).map(|row| {
            let (key, _) = row?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), ()))
        });
        collect(rows, page, |(made, ())| self.readable_at(made.get(8..).unwrap_or_default()))
    }

    pub(super) fn active_jobs(&self) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for row in self.back_from(Space::Jobs, &[ACTIVE], &[u8::MAX; size_of::<Id>()]) {
            let (key, _) = row?;
            jobs.extend(self.readable_at(key.get(1..).unwrap_or_default())?);
        }
        Ok(jobs)
    }
}
