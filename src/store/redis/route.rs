//! Which server has each partition: the one that is named, the primary that sentinels tell, or as the cluster tells. What
//! was told is asked for again when a server does not answer, or answers that it is another's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::find;
use super::keys::{PARTITIONS, Partition};
use super::server::{Server, Terms};
use crate::domain::redis_url::{Host, Topology};
use crate::store::{Result, StoreError};

/// How long one of those who know is waited for: there are others.
const ASK_MAX: Duration = Duration::from_millis(250);
/// They are not asked more often than this.
const ASK_PAUSE: Duration = Duration::from_millis(20);
/// As long as this after a partition was first found to be elsewhere, it is looked for until it is found.
const SEEK_MAX: Duration = Duration::from_millis(500);

/// Which server has each partition.
pub(super) struct Map {
    /// Each once.
    pub(super) servers: Vec<Arc<Server>>,
    of: [usize; PARTITIONS as usize],
}

impl Map {
    fn new(hosts: [Host; PARTITIONS as usize], server: impl Fn(&Host) -> Arc<Server>) -> Self {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        let of = hosts.map(|host| {
            servers.iter().position(|known| *known.host() == host).unwrap_or_else(|| {
                servers.push(server(&host));
                servers.len() - 1
            })
        });
        Self { servers, of }
    }

    /// The number of a partition's server.
    pub(super) fn number(&self, partition: Partition) -> usize {
        self.of.get(usize::from(partition.0)).copied().unwrap_or_default()
    }

    /// A partition's server.
    pub(super) fn server(&self, partition: Partition) -> Option<&Arc<Server>> {
        self.servers.get(self.number(partition))
    }

    fn is_same(&self, other: &Self) -> bool {
        let hosts = |map: &Self| map.servers.iter().map(|server| server.host().clone()).collect::<Vec<_>>();
        self.of == other.of && hosts(self) == hosts(other)
    }
}

#[derive(Clone, Default)]
struct Known {
    map: Option<Arc<Map>>,
    /// Whether it is to be asked for again.
    is_stale: bool,
}

/// Who may be asked.
struct Asking {
    hosts: Vec<Host>,
    /// Whoever is asked next: one that is cut off from the others may tell what no longer holds.
    next: usize,
    asked: Option<Duration>,
}

/// Finds servers, and keeps the connections to them.
pub(super) struct Routes {
    terms: Arc<Terms>,
    /// Those that the URL names.
    named: Vec<Host>,
    known: watch::Sender<Known>,
    asking: Mutex<Asking>,
    servers: Lock<BTreeMap<Host, Arc<Server>>>,
    /// Since when each partition is found to be elsewhere.
    sought: Lock<[Option<Duration>; PARTITIONS as usize]>,
}

fn lock<T>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Routes {
    pub(super) fn new(terms: Terms, named: Vec<Host>) -> Self {
        let asking = Asking { hosts: named.clone(), next: 0, asked: None };
        let routes = Self {
            terms: Arc::new(terms),
            named,
            known: watch::Sender::new(Known::default()),
            asking: Mutex::new(asking),
            servers: Lock::default(),
            sought: Lock::default(),
        };
        if let (Topology::One, [host, ..]) = (&routes.terms.topology, routes.named.as_slice()) {
            let map = Map::new(std::array::from_fn(|_| host.clone()), |host| routes.server(host));
            routes.known.send_replace(Known { map: Some(Arc::new(map)), is_stale: false });
        }
        routes
    }

    /// Whether partitions may be on several servers.
    pub(super) fn is_cluster(&self) -> bool {
        self.terms.topology == Topology::Cluster
    }

    /// A server by its address.
    pub(super) fn server(&self, host: &Host) -> Arc<Server> {
        let new = || Arc::new(Server::new(host.clone(), Arc::clone(&self.terms)));
        Arc::clone(lock(&self.servers).entry(host.clone()).or_insert_with(new))
    }

    /// Tells when another server has a partition than before.
    pub(super) async fn changed(&self, map: &Arc<Map>) {
        let is_another = |known: &Known| known.map.as_ref().is_some_and(|known| !Arc::ptr_eq(known, map));
        // Its sender lives as long as this.
        let _ = self.known.subscribe().wait_for(is_another).await;
    }

    /// Which server has each partition, as far as is known.
    pub(super) async fn map(&self) -> Result<Arc<Map>> {
        let known = self.known.borrow().clone();
        if let Known { map: Some(map), is_stale: false } = known {
            return Ok(map);
        }
        let mut asking = self.asking.lock().await;
        let Known { map, is_stale } = self.known.borrow().clone();
        if let Some(map) = &map
            && (!is_stale
                || asking.asked.is_some_and(|asked| self.terms.clock.elapsed().saturating_sub(asked) < ASK_PAUSE))
        {
            return Ok(Arc::clone(map));
        }
        let found = self.find(&mut asking).await;
        asking.asked = Some(self.terms.clock.elapsed());
        match (found, map) {
            (Ok(found), Some(map)) if map.is_same(&found) => {
                self.known.send_if_modified(|known| {
                    known.is_stale = false;
                    false
                });
                Ok(map)
            }
            (Ok(found), _) => {
                let map = Arc::new(found);
                self.known.send_replace(Known { map: Some(Arc::clone(&map)), is_stale: false });
                Ok(map)
            }
            // Some of it may still be so.
            (Err(StoreError::Unavailable(_)), Some(map)) => Ok(map),
            (Err(error), _) => Err(error),
        }
    }

    /// Has it asked for again.
    pub(super) fn doubt(&self, map: &Arc<Map>) {
        if self.terms.topology == Topology::One {
            return;
        }
        self.known.send_if_modified(|known| {
            known.is_stale |= known.map.as_ref().is_some_and(|known| Arc::ptr_eq(known, map));
            false
        });
    }

    /// Whether to go on looking for a partition that was elsewhere. While its keys are moved it is nowhere, and what is for
    /// others is not to wait for that each time.
    pub(super) fn seeks(&self, partition: Partition) -> bool {
        let mut sought = lock(&self.sought);
        let Some(since) = sought.get_mut(usize::from(partition.0)) else { return false };
        let now = self.terms.clock.elapsed();
        now.saturating_sub(*since.get_or_insert(now)) < SEEK_MAX
    }

    /// Notes that partitions are where they were looked for.
    pub(super) fn found(&self, partitions: impl Iterator<Item = Partition>) {
        let mut sought = lock(&self.sought);
        for partition in partitions {
            if let Some(since) = sought.get_mut(usize::from(partition.0)) {
                *since = None;
            }
        }
    }

    async fn find(&self, asking: &mut Asking) -> Result<Map> {
        let mut failed = StoreError::Unavailable("nobody can be asked where Redis is".into());
        for _ in 0..asking.hosts.len() {
            asking.next = (asking.next + 1) % asking.hosts.len();
            let Some(host) = asking.hosts.get(asking.next).cloned() else { break };
            let found = match &self.terms.topology {
                Topology::Sentinel(name) => timeout(ASK_MAX, find::primary(&self.terms.dialer, &host, name)).await,
                _ => timeout(ASK_MAX, find::primaries(&self.terms.dialer, &host)).await,
            };
            match found.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("Redis at {host} does not answer")))) {
                Ok(found) => {
                    asking.hosts = self.named.iter().chain(&found.others).cloned().collect();
                    asking.hosts.sort();
                    asking.hosts.dedup();
                    lock(&self.servers).retain(|host, _| found.primaries.contains(host) || found.others.contains(host));
                    return Ok(Map::new(found.primaries, |host| self.server(host)));
                }
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
