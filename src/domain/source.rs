//! Sources: who may call in, and how they prove it.

use std::fmt;
use std::sync::Arc;

use waypost_providers::{Keys, Provider};

/// The name of the source behind `POST /api/webhooks`.
pub const DEFAULT_SOURCE: &str = "default";

/// One source of the config file.
#[derive(Clone)]
pub struct Source {
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// The keys that its requests are verified with.
    pub keys: Arc<Keys>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("provider", &self.provider.name()).field("keys", &self.keys).finish()
    }
}
