//! Brings operational events to the store, by the same commit as any event.

use crate::domain::operational::{Occasion, plan};
use crate::endpoints::EndpointCache;
use crate::store::{Ingested, Result, Store, StoreError};

/// How often they are planned before it is given up; each time the endpoint set has just changed.
const PLANS_MAX: usize = 5;

/// Commits them for the endpoints that ask for them. What was committed before is not again.
///
/// # Errors
/// When the store cannot be used; then any of them may have been committed.
pub async fn announce(store: &dyn Store, endpoints: &EndpointCache, occasions: &[Occasion]) -> Result<()> {
    for _ in 0..PLANS_MAX {
        let snapshot = endpoints.snapshot();
        let generation = snapshot.generation();
        let planned = plan(occasions, generation, snapshot.all());
        let ingest = planned.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let is_current = if ingest.units.is_empty() {
            // There may be somebody who asks for them whom this gateway has not heard of.
            store.lease(&[]).await?.generation == generation
        } else {
            store.ingest(ingest).await? != Ingested::Stale
        };
        if is_current {
            return Ok(());
        }
        endpoints.refresh_from(generation, store).await?;
    }
    Err(StoreError::Unavailable("the endpoint set changed again and again".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::delivery::Status;
    use crate::domain::endpoint::{Endpoint, Origin};
    use crate::domain::retention::Lifetimes;
    use crate::domain::subscription::Subscription;
    use crate::outbound::request::tests::settings;
    use crate::store::PageQuery;
    use crate::store::embedded::Embedded;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn asking(id: &str) -> Endpoint {
        let events = Subscription::new(vec!["waypost.*".into()]).unwrap();
        let mut settings = settings("https://hooks.example/in");
        settings.events = events;
        Endpoint {
            id: id.into(),
            number: 1,
            settings,
            origin: Origin::File,
            disabled: None,
            enabled_at: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn whoever_has_begun_to_ask_for_it_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
        let store = Embedded::open(dir.path(), Arc::new(SystemClock::new()), lifetimes).unwrap();
        let cache = EndpointCache::default();
        let occasion =
            |second| Occasion::rejecting("resend", Timestamp::from_second(second).unwrap(), "a".into(), Timestamp::MAX);
        let pending = async || {
            let page = PageQuery { cursor: None, limit: 10 };
            let mut items = store.deliveries(Status::Pending, &page).await.unwrap().items;
            items.sort_by(|one, other| one.endpoint_id.cmp(&other.endpoint_id));
            items.into_iter().map(|delivery| delivery.endpoint_id.to_string()).collect::<Vec<_>>()
        };
        // The cache knows of nobody who asks, then of one, when there is one more.
        let first =
            store.change_endpoints(store.endpoints().await.unwrap().generation, &[asking("wh_a")]).await.unwrap();
        announce(&store, &cache, &[occasion(1)]).await.unwrap();
        assert_eq!(pending().await, ["wh_a"]);
        store.change_endpoints(first.unwrap(), &[asking("wh_b")]).await.unwrap();
        announce(&store, &cache, &[occasion(2)]).await.unwrap();
        assert_eq!(pending().await, ["wh_a", "wh_a", "wh_b"]);
        announce(&store, &cache, &[occasion(1), occasion(2)]).await.unwrap();
        assert_eq!(pending().await.len(), 3, "it was told");
    }
}
