//! The store in memory has none.

use async_trait::async_trait;

use super::super::Fake;
use crate::domain::id::{EndpointId, ReplayId};
use crate::domain::job::Job;
use crate::domain::plan::Ingest;
use crate::domain::replay::Replay;
use crate::domain::reprocess::IncompleteRequest;
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
    async fn keep_job(&self, _: &Job) -> Result<bool> {
        unreachable!()
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
impl Requests for Fake {
    async fn incomplete(&self, _: &PageQuery, _: First) -> Result<Page<IncompleteRequest>> {
        unreachable!()
    }
    async fn reprocess(&self, _: Ingest) -> Result<Option<Ingested>> {
        unreachable!()
    }
}
