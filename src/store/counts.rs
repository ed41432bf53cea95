//! What a store keeps of what became of deliveries, as numbers. See
//! [`domain::delivery_counts`](crate::domain::delivery_counts).

use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::Result;
use crate::domain::delivery_counts::{Counted, DeliveryCounts, Hour};
use crate::domain::id::EndpointId;

/// Numbers of deliveries by endpoint. What was counted in an hour is kept for the lifetime of events.
#[async_trait]
pub trait Counts: Send + Sync {
    /// Adds to what was counted; need not wait for a sync. After an error it may have been added or not.
    async fn count_deliveries(&self, counted: &Counted) -> Result<()>;

    /// What was counted of an endpoint in these hours, at most
    /// [`HOURS_MAX`](crate::domain::delivery_counts::HOURS_MAX) of them.
    async fn delivery_counts(&self, endpoint: &EndpointId, hours: RangeInclusive<Hour>) -> Result<DeliveryCounts>;

    /// How many deliveries to an endpoint are pending now.
    async fn pending_to(&self, endpoint: &EndpointId) -> Result<usize>;
}
