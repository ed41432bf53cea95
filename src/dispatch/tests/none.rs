//! The store in memory has no replays, no logs, no numbers and no searches, and one job.

use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::Fake;
use crate::domain::delivery_counts::{Counted, DeliveryCounts, Hour};
use crate::domain::id::{EndpointId, ReplayId};
use crate::domain::job::Job;
use crate::domain::plan::StoredEvent;
use crate::domain::replay::Replay;
use crate::domain::search::{MailId, Search};
use crate::store::*;

#[async_trait]
impl Replays for Fake {
    async fn replay(&self, _: Vec<Replay>) -> Result<Vec<Replayed>> {
        unreachable!()
    }
    async fn pending_of(&self, _: &ReplayId) -> Result<usize> {
        unreachable!()
    }
    async fn cancel(&self, _: &ReplayId, _: usize) -> Result<usize> {
        unreachable!()
    }
    async fn deliveries_to(&self, _: &EndpointId, _: &ScanFrom, _: usize) -> Result<Scanned> {
        unreachable!()
    }
    async fn keep_job(&self, job: &Job) -> Result<bool> {
        self.fail()?;
        self.with(|state| state.requests.job = Some(job.clone()));
        Ok(true)
    }
    async fn job(&self, _: &ReplayId) -> Result<Option<Job>> {
        unreachable!()
    }
    async fn jobs(&self, _: &PageQuery) -> Result<Page<Job>> {
        unreachable!()
    }
    async fn active_jobs(&self) -> Result<Vec<Job>> {
        Ok(vec![])
    }
}

#[async_trait]
impl Attempts for Fake {
    async fn attempts(&self, _: &EndpointId, _: &PageQuery) -> Result<LogPage> {
        unreachable!()
    }
}

#[async_trait]
impl Counts for Fake {
    async fn count_deliveries(&self, _: &Counted) -> Result<()> {
        Ok(())
    }
    async fn delivery_counts(&self, _: &EndpointId, _: RangeInclusive<Hour>) -> Result<DeliveryCounts> {
        unreachable!()
    }
    async fn pending_to(&self, _: &EndpointId) -> Result<usize> {
        unreachable!()
    }
}

#[async_trait]
impl Searches for Fake {
    async fn search(&self, _: &Search, _: &PageQuery) -> Result<Searched> {
        unreachable!()
    }
    async fn events_of_mail(&self, _: &[MailId], _: &PageQuery) -> Result<Page<StoredEvent>> {
        unreachable!()
    }
}
