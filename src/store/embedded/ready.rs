//! Which lanes are due, as of the last commit: read by those who ask, without waiting for the writer.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::id::EndpointId;
use crate::domain::ownership::Shards;
use crate::store::{DUE_LEN_MAX, Due};

/// Lanes by when they are to be looked at.
#[derive(Default)]
pub(super) struct Ready {
    lanes: BTreeSet<(u64, EndpointId)>,
}

impl Ready {
    /// Moves a lane from one time to another; it is not here while it has none.
    pub(super) fn set(&mut self, endpoint: &EndpointId, before: Option<u64>, after: Option<u64>) {
        if let Some(before) = before {
            self.lanes.remove(&(before, endpoint.clone()));
        }
        if let Some(after) = after {
            self.lanes.insert((after, endpoint.clone()));
        }
    }

    /// Whether a lane was due before this and is still.
    pub(super) fn is_behind(&self, before: u64) -> bool {
        self.lanes.first().is_some_and(|(ready, _)| *ready < before)
    }

    /// Which lanes are due, and when the next one is.
    pub(super) fn due(&self, shards: Shards, now: u64) -> Due {
        let mine = |(_, endpoint): &&(u64, EndpointId)| shards.contains(endpoint);
        let due = self.lanes.iter().take_while(|(ready, _)| *ready <= now).filter(mine).take(DUE_LEN_MAX);
        let lanes = due.map(|(_, endpoint)| endpoint.clone()).collect();
        let later = (now.saturating_add(1), EndpointId::from(""));
        let next = self.lanes.range(later..).find(mine).map(|(ready, _)| Duration::from_micros(ready - now));
        Due { lanes, next }
    }
}
