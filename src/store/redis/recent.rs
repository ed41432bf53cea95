//! What this process remembers of lanes between its calls. But for short rests it spares ways to the server and back, and
//! nothing else depends on it: what is taken is checked when it is.

use std::collections::HashMap;
use std::time::Duration;

use super::keys::Partition;
use super::look::{Places, Sight, Spot, first};
use crate::domain::delivery::Class;
use crate::domain::id::EndpointId;
use crate::store::{LEASE_LAG_MAX, Want};

/// What is remembered.
#[derive(Default)]
pub(super) struct Recent {
    pub(super) seen: Seen,
    /// Until when lanes rest that rest for a short time, on the server's clock.
    pub(super) rests: HashMap<EndpointId, i64>,
    /// When lanes were last found to have all that they were asked for, on the clock that never steps.
    filled: HashMap<EndpointId, Duration>,
    /// What was left of lanes when they were last leased from.
    sights: HashMap<EndpointId, Left>,
}

struct Left {
    /// Until when it may be used, on the clock that never steps.
    until: Duration,
    /// How many of each spot were asked for.
    len: usize,
    sight: Sight,
}

impl Recent {
    /// Notes that these lanes have all that they are asked for. Answers whether each had a moment ago, so that it is likely
    /// to be asked again in a moment.
    pub(super) fn fill(&mut self, wants: &[Want], elapsed: Duration) -> bool {
        self.filled.retain(|_, at| elapsed.saturating_sub(*at) < LEASE_LAG_MAX);
        let count = wants.iter().filter(|want| self.filled.insert(want.endpoint.clone(), elapsed).is_some()).count();
        count == wants.len()
    }

    /// Notes what was left of lanes by a call that began then.
    pub(super) fn remember(&mut self, wants: &[Want], places: &[Places], sights: Vec<Sight>, began: Duration) {
        self.sights.retain(|_, left| left.until > began);
        let until = began.saturating_add(LEASE_LAG_MAX);
        for ((want, places), sight) in wants.iter().zip(places).zip(sights) {
            self.sights.insert(want.endpoint.clone(), Left { until, len: places.all, sight });
        }
    }

    /// What was left of these lanes, if that is known of all and enough for what is asked of them. It is told once.
    pub(super) fn recall(&mut self, wants: &[Want], elapsed: Duration) -> Option<Vec<Sight>> {
        let known: Vec<_> = wants.iter().map(|want| self.sights.remove(&want.endpoint)).collect();
        let is_enough = |want: &Want, left: &Left| {
            left.until > elapsed && want.rest.is_none() && want.limit <= left.len && want.limit <= left.sight.len()
        };
        let known = wants.iter().zip(known);
        known.map(|(want, left)| left.filter(|left| is_enough(want, left)).map(|left| left.sight)).collect()
    }
}

/// In which partitions the last look at what is due found something, and since when it is due.
#[derive(Default)]
pub(super) struct Seen(HashMap<(EndpointId, Class), Vec<(i64, Partition)>>);

impl Seen {
    pub(super) fn add(&mut self, endpoint: &EndpointId, class: Class, due: i64, partition: Partition) {
        self.0.entry((endpoint.clone(), class)).or_default().push((due, partition));
    }

    pub(super) fn spots(&self, wants: &[Want]) -> Vec<Spot> {
        let mut spots = Vec::new();
        for (number, want) in wants.iter().enumerate() {
            for class in Class::ALL {
                let seen = self.0.get(&(want.endpoint.clone(), class)).cloned().unwrap_or_default();
                spots.extend(first(seen, want.limit).map(|partition| (partition, number, class)));
            }
        }
        spots
    }
}
