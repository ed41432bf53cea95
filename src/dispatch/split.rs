//! Where the time of an attempt goes while there is a connection to be made. The client hands its connector no more than
//! a URL, so the connector finds the attempt by the task that it is called on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::delivery::{Split, millis};

tokio::task_local! {
    static NOTED: Noted;
}

/// What has been noted for one attempt. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted(Arc<Mutex<Split>>);

impl Noted {
    /// Runs `work` so that whatever it connects is noted here.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        NOTED.scope(self.clone(), work).await
    }

    /// The attempt that is being made on this task.
    pub(super) fn here() -> Self {
        NOTED.try_with(Self::clone).unwrap_or_default()
    }

    /// Adds what is known now.
    pub(super) fn note(&self, change: impl FnOnce(&mut Split)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How long the name took.
    pub(super) fn resolved(&self, took: Duration) {
        self.note(|split| split.resolve_ms = Some(millis(took)));
    }

    /// How long the connection took, proxy included.
    pub(super) fn connected(&self, took: Duration) {
        self.note(|split| split.connect_ms = Some(millis(took)));
    }

    /// How long all of it took, the TLS handshake last.
    pub(super) fn shaken_hands(&self, took: Duration) {
        self.note(|split| {
            let before = split.resolve_ms.unwrap_or(0) + split.connect_ms.unwrap_or(0);
            split.tls_ms = Some(millis(took).saturating_sub(before));
        });
    }

    /// All so far.
    pub(super) fn split(&self) -> Split {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
