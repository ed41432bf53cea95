//! The master keys at hand: those of the config, and the one that an embedded store makes for itself.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::seal::{KEY_LEN, MasterKeys};
use crate::store::embedded::KeyFile;
pub use crate::store::random;
use crate::store::{Result, StoreError};

/// Master keys, and where one more comes from when there is none.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Arc<Mutex<MasterKeys>>,
    file: Option<Arc<KeyFile>>,
}

impl Keyring {
    /// The keys of the config, and after them that of the embedded store, if it has made one before.
    ///
    /// # Errors
    /// When the store's key file is there and cannot be used.
    pub fn new(configured: &MasterKeys, file: Option<KeyFile>) -> Result<Self> {
        let own = file.as_ref().map_or(Ok(None), KeyFile::read)?;
        let keys = own.map_or_else(|| configured.clone(), |own| configured.with(own));
        Ok(Self { keys: Arc::new(Mutex::new(keys)), file: file.map(Arc::new) })
    }

    /// The keys that there are.
    pub fn keys(&self) -> MasterKeys {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same where something is to be sealed: an embedded store that has no key makes one. On Redis there may be none.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub async fn keys_to_seal(&self) -> Result<MasterKeys> {
        let keys = self.keys();
        let (None, Some(file)) = (keys.first(), &self.file) else { return Ok(keys) };
        let (file, known) = (Arc::clone(file), Arc::clone(&self.keys));
        // It waits for the disk.
        let made = tokio::task::spawn_blocking(move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.first().is_none() {
                *known = known.with(file.make(random::<KEY_LEN>()?)?);
            }
            Ok(known.clone())
        });
        made.await.map_err(|error| StoreError::Unavailable(format!("a key was given up: {error}")))?
    }
}
