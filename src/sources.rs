//! The sources of the config file as they are now, for all who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::source::Source;

/// The sources by their names.
pub type Sources = BTreeMap<String, Source>;

/// The sources in force. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct CurrentSources(Arc<RwLock<Arc<Sources>>>);

impl CurrentSources {
    /// Takes the sources of a config file that was loaded again; who has the old ones keeps them.
    pub fn replace(&self, sources: Sources) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
    }

    /// All of this moment.
    pub fn all(&self) -> Arc<Sources> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
