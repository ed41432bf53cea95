//! The store in memory has no replays, no logs, no numbers, no searches, no feed, nothing of who uses the API, one job, and nobody to
//! erase.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Fake;
use crate::domain::address::Address;
use crate::domain::audit::Entry;
use crate::domain::consumer::Consumer;
use crate::domain::delivery_counts::{Counted, DeliveryCounts, Hour};
use crate::domain::feed::Cursor;
use crate::domain::id::{EndpointId, ReplayId, RequestId, SuppressionId};
use crate::domain::job::Job;
use crate::domain::plan::StoredEvent;
use crate::domain::replay::Replay;
use crate::domain::search::{MailId, Search};
use crate::store::access::{Access, Bits, Claim, Kept};
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
impl Feed for Fake {
    async fn feed(&self, _: Option<&Cursor>, _: usize) -> Result<FeedPart> {
        unreachable!()
    }
    async fn feed_end(&self) -> Result<Cursor> {
        unreachable!()
    }
    fn feed_grown(&self) -> watch::Receiver<()> {
        unreachable!()
    }
    async fn consumer(&self, _: &str) -> Result<(Option<Consumer>, Timestamp)> {
        unreachable!()
    }
    async fn put_consumer(&self, _: &Consumer) -> Result<bool> {
        unreachable!()
    }
    async fn remove_consumer(&self, _: &str) -> Result<bool> {
        unreachable!()
    }
    async fn consumers(&self) -> Result<Vec<Consumer>> {
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

#[async_trait]
impl Access for Fake {
    async fn note(&self, _: &[Entry]) -> Result<()> {
        unreachable!()
    }
    async fn audit(&self, _: &PageQuery) -> Result<Page<Kept>> {
        unreachable!()
    }
    async fn address_id(&self, _: &Address) -> Result<SuppressionId> {
        unreachable!()
    }
    async fn claim(&self, _: Bits, _: &Claim) -> Result<Claim> {
        unreachable!()
    }
    async fn settle(&self, _: Bits, _: &str) -> Result<()> {
        unreachable!()
    }
    async fn note_uses(&self, _: &BTreeMap<String, Timestamp>) -> Result<()> {
        unreachable!()
    }
    async fn uses(&self, _: Vec<String>) -> Result<Vec<Option<Timestamp>>> {
        unreachable!()
    }
}

#[async_trait]
impl Erasures for Fake {
    async fn requests_from(&self, _: Option<&str>, _: usize) -> Result<Page<RequestId>> {
        unreachable!()
    }
    async fn events_from(&self, _: Option<&str>, _: usize) -> Result<Page<StoredEvent>> {
        unreachable!()
    }
    async fn answers_from(&self, _: Option<&str>, _: usize) -> Result<Page<KeptAnswer>> {
        unreachable!()
    }
    async fn erase_requests(&self, _: &[RequestId]) -> Result<()> {
        unreachable!()
    }
    async fn is_erased(&self, _: &RequestId) -> Result<bool> {
        unreachable!()
    }
    async fn bar_events(&self, _: &[StoredEvent]) -> Result<()> {
        unreachable!()
    }
    async fn left_from(&self, _: Option<&str>, _: usize) -> Result<Page<LeftBody>> {
        unreachable!()
    }
    async fn left_body(&self, _: &str) -> Result<Vec<u8>> {
        unreachable!()
    }
    async fn remove_left(&self, _: &LeftBody) -> Result<()> {
        unreachable!()
    }
    async fn erase_event(&self, _: &StoredEvent) -> Result<()> {
        unreachable!()
    }
    async fn forget_answer(&self, _: &str) -> Result<()> {
        unreachable!()
    }
    async fn write_anew(&self, _: Option<&str>) -> Result<Anew> {
        unreachable!()
    }
}
