//! Sources: who may call in, and how they prove it.

use std::fmt;
use std::sync::Arc;

use waypost_providers::{Proof, Provider};

/// The name of the source behind `POST /api/webhooks`.
pub const DEFAULT_SOURCE: &str = "default";

/// One source of the config file.
#[derive(Clone)]
pub struct Source {
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// What its requests are proven with.
    pub proof: Arc<Proof>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("provider", &self.provider.name()).field("proof", &self.proof).finish()
    }
}
