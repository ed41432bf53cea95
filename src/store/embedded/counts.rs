//! What became of deliveries, by hour and endpoint.

use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::Embedded;
use super::batch::decide;
use super::range::Span;
use super::read::View;
use super::rows::decode;
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::delivery_counts::{Counted, DeliveryCounts, HOURS_MAX, Hour};
use crate::domain::id::EndpointId;
use crate::store::{Counts, Result};

fn key(hour: u32, endpoint: &EndpointId) -> Vec<u8> {
    [&hour.to_be_bytes()[..], endpoint.as_str().as_bytes()].concat()
}

pub(super) fn add(txn: &mut Txn<'_>, counted: Counted) -> Result<()> {
    for ((endpoint, hour), more) in counted {
        let key = key(hour.0, &endpoint);
        let mut counts: DeliveryCounts = txn.get_json(Space::DeliveryCounts, &key)?.unwrap_or_default();
        counts.merge(more);
        txn.put_json(Space::DeliveryCounts, &key, &counts)?;
    }
    Ok(())
}

/// Removes what was counted from one hour on and before another. Whether that was all, before the batch had so many rows.
pub(super) fn forget(txn: &mut Txn<'_>, from: u32, before: u32, rows_max: usize) -> Result<bool> {
    let old = Span::from(Space::DeliveryCounts, from.to_be_bytes()).to(before.to_be_bytes());
    for row in txn.spaces.range(&old) {
        if txn.len() >= rows_max {
            return Ok(false);
        }
        txn.remove(Space::DeliveryCounts, &row?.0);
    }
    Ok(true)
}

impl View<'_> {
    pub(super) fn delivery_counts(&self, endpoint: &EndpointId, hours: RangeInclusive<Hour>) -> Result<DeliveryCounts> {
        let first = hours.start().0.max(hours.end().0.saturating_sub(HOURS_MAX - 1));
        let mut sum = DeliveryCounts::default();
        for hour in first..=hours.end().0 {
            if let Some(row) = self.get(Space::DeliveryCounts, &key(hour, endpoint))? {
                sum.merge(decode(&row)?);
            }
        }
        Ok(sum)
    }
}

#[async_trait]
impl Counts for Embedded {
    async fn count_deliveries(&self, counted: &Counted) -> Result<()> {
        let counted = counted.clone();
        self.ask(|answer| decide(answer, move |_, txn, _| add(txn, counted))).await
    }

    async fn delivery_counts(&self, endpoint: &EndpointId, hours: RangeInclusive<Hour>) -> Result<DeliveryCounts> {
        let endpoint = endpoint.clone();
        self.read(move |view| view.delivery_counts(&endpoint, hours)).await
    }

    async fn pending_to(&self, endpoint: &EndpointId) -> Result<usize> {
        let endpoint = endpoint.clone();
        self.ask(|answer| decide(answer, move |core, _, _| Ok(core.index.pending_to(&endpoint)))).await
    }
}
