//! Posts events without end, and keeps the ids of those that are accepted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::gateway::{Gateway, Poster};
use crate::redis_cluster_harness::until;

const POSTERS: u32 = 4;
/// Between two requests of one poster: so many come that all that is accepted is delivered soon.
const PAUSE: Duration = Duration::from_millis(3);

#[derive(Default)]
struct Shared {
    accepted: Mutex<HashSet<String>>,
    refused: AtomicU32,
    next: AtomicU32,
    is_over: AtomicBool,
}

pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(gateway: &Gateway) -> Self {
        let (shared, poster) = (Arc::new(Shared::default()), Poster::new());
        let tasks = (0..POSTERS).map(|_| {
            let (shared, poster, url) = (Arc::clone(&shared), poster.clone(), gateway.url("resend"));
            tokio::spawn(async move {
                while !shared.is_over.load(Ordering::SeqCst) {
                    let number = shared.next.fetch_add(1, Ordering::SeqCst);
                    let (id, status) = poster.resend(&url, number).await;
                    match status {
                        Some(200) => drop(shared.accepted.lock().unwrap().insert(id)),
                        _ => drop(shared.refused.fetch_add(1, Ordering::SeqCst)),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { shared, tasks }
    }

    fn len(&self) -> usize {
        self.shared.accepted.lock().unwrap().len()
    }

    /// Waits until so many more are accepted.
    pub(crate) async fn until_more(&self, count: usize) {
        let len = self.len() + count;
        until("more is accepted", async || self.len() >= len).await;
    }

    /// Stops; answers what was accepted, and how many were not.
    pub(crate) async fn end(self) -> (HashSet<String>, u32) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let accepted = std::mem::take(&mut *self.shared.accepted.lock().unwrap());
        (accepted, self.shared.refused.load(Ordering::SeqCst))
    }
}
