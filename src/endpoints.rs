//! The endpoint set as this gateway last read it, what of it is sealed opened; and what its own config file says:
//! endpoints and their secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::domain::audit::{CONFIG, of_endpoints};
use crate::domain::endpoint::{Endpoint, EndpointSettings};
use crate::domain::id::EndpointId;
use crate::domain::kept::Opened;
use crate::domain::plan::Generation;
use crate::domain::reconcile::reconcile;
use crate::domain::seal::OpenError;
use crate::keyring::Keyring;
use crate::outbound::sign::{Secret, can_sign};
use crate::store::{Endpoints, Result, Store, StoreError};

/// What the log says while [`EndpointCache::confirm_loss`] is waited for.
const LOST: &str = "it came back without endpoints that were made through the API; restore its data, or, to go on without \
                    them, POST /v1/store/confirm to each gateway with a key of scope `admin`";

/// The live secrets of each endpoint of a config file.
pub type Secrets = BTreeMap<EndpointId, Vec<Secret>>;

/// The endpoints of a config file.
pub type FileEndpoints = BTreeMap<EndpointId, EndpointSettings>;

/// Endpoints and secrets, read without waiting. Ingest plans with it, the dispatcher sends with it.
#[derive(Debug, Default)]
pub struct EndpointCache {
    snapshot: RwLock<Snapshot>,
    file: tokio::sync::Mutex<File>,
    keyring: Keyring,
}

/// The config file's endpoints.
#[derive(Debug, Default)]
struct File {
    endpoints: FileEndpoints,
    secrets: Arc<Secrets>,
    read_at: Timestamp,
    /// The store has yet to be given it.
    is_new: bool,
    /// The operator knows that the store has lost endpoints that the API made.
    is_loss_known: bool,
}

/// Endpoints and secrets of one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    set: Arc<Set>,
    secrets: Arc<Secrets>,
    /// The config file has been read since.
    is_behind: bool,
}

/// The endpoint set, as it is used.
#[derive(Debug, Default)]
struct Set {
    /// Those that the API made have their static headers here, which the store does not have so.
    endpoints: Endpoints,
    /// What those keep sealed, opened once.
    opened: BTreeMap<EndpointId, Opened>,
}

impl Snapshot {
    /// The endpoint set's generation.
    pub fn generation(&self) -> Generation {
        self.set.endpoints.generation
    }

    /// All endpoints, in the order of their ids.
    pub fn all(&self) -> &[Endpoint] {
        &self.set.endpoints.all
    }

    /// One endpoint.
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Endpoint> {
        let place = self.all().binary_search_by(|endpoint| endpoint.id.cmp(id)).ok()?;
        self.all().get(place)
    }

    /// The secrets of an endpoint that are live at this moment, the newest first; none if this gateway was given none, or
    /// cannot open them.
    pub fn secrets(&self, id: &EndpointId, now: Timestamp) -> &[Secret] {
        match self.set.opened.get(id) {
            Some(opened) => opened.secrets(now),
            None => self.secrets.get(id).map_or(&[], Vec::as_slice),
        }
    }

    /// Whether this gateway can sign what this endpoint is to get.
    pub fn can_sign(&self, endpoint: &Endpoint, now: Timestamp) -> bool {
        endpoint.settings.fetches || can_sign(&endpoint.settings.signatures, self.secrets(&endpoint.id, now))
    }

    /// Why what an endpoint keeps sealed cannot be used, if that is so.
    pub fn not_opened(&self, id: &EndpointId, now: Timestamp) -> Option<&OpenError> {
        self.set.opened.get(id)?.failed(now)
    }
}

impl EndpointCache {
    /// A cache that holds these secrets, and no endpoint before the first [`EndpointCache::refresh`].
    pub fn new(secrets: Secrets) -> Self {
        let file = File { secrets: Arc::new(secrets), ..File::default() };
        Self { file: tokio::sync::Mutex::new(file), ..Self::default() }
    }

    /// The same with these master keys.
    #[must_use]
    pub fn with_keyring(self, keyring: Keyring) -> Self {
        Self { keyring, ..self }
    }

    /// The master keys that it opens with.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What to plan with: what it holds, read anew where that would miss an endpoint of the config file.
    ///
    /// # Errors
    /// As of [`EndpointCache::refresh`].
    pub async fn current(&self, store: &dyn Store) -> Result<Snapshot> {
        let snapshot = self.snapshot();
        if !snapshot.is_behind && snapshot.generation() != Generation::default() {
            return Ok(snapshot);
        }
        self.refresh_from(snapshot.generation(), store).await?;
        Ok(self.snapshot())
    }

    /// Takes the endpoints of a config file, to be brought to the store by the next [`EndpointCache::refresh`], with which
    /// their secrets come into force. What else of the file does is put there by `beside`: from then on nobody plans with
    /// the endpoints of before, and until then nobody with these.
    pub async fn replace_file(
        &self,
        endpoints: FileEndpoints,
        secrets: Secrets,
        read_at: Timestamp,
        beside: impl FnOnce(),
    ) {
        let mut file = self.file.lock().await;
        *file = File { endpoints, secrets: Arc::new(secrets), read_at, is_new: true, is_loss_known: false };
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner).is_behind = true;
        beside();
    }

    /// Reads the endpoint set from the store, and gives the store this gateway's config file where it has not had it:
    /// after it was read, and after the store was emptied (its generation is 0 then). So what is planned with a
    /// snapshot of a refreshed cache never misses an endpoint of the file.
    ///
    /// # Errors
    /// When the store cannot be used; then it holds what it held.
    pub async fn refresh(&self, store: &dyn Store) -> Result<()> {
        let mut file = self.file.lock().await;
        self.read(&mut file, store).await
    }

    /// The same after what it held in generation `stale` was found to be old. Whoever waits here while another reads
    /// has what that one read, so a change of the set is read once, however many find out about it.
    ///
    /// # Errors
    /// As of [`EndpointCache::refresh`].
    pub async fn refresh_from(&self, stale: Generation, store: &dyn Store) -> Result<()> {
        let mut file = self.file.lock().await;
        if !file.is_new && self.snapshot().generation() != stale {
            return Ok(());
        }
        self.read(&mut file, store).await
    }

    /// The same if the store has yet to be given the config file, for it was down when the file was read. Tells
    /// whether that was so.
    ///
    /// # Errors
    /// As of [`EndpointCache::refresh`].
    pub async fn catch_up(&self, store: &dyn Store) -> Result<bool> {
        let mut file = self.file.lock().await;
        let was_new = file.is_new;
        if was_new {
            self.read(&mut file, store).await?;
        }
        Ok(was_new)
    }

    /// Takes the locked file: one reads at a time, so that an earlier answer never replaces a later one.
    async fn read(&self, file: &mut File, store: &dyn Store) -> Result<()> {
        let mut endpoints = store.endpoints().await?;
        if !file.is_loss_known && self.has_lost(&endpoints) {
            return Err(StoreError::Unavailable(LOST.into()));
        }
        while file.is_new || endpoints.generation == Generation::default() {
            let changes = reconcile(&endpoints.all, endpoints.numbered, &file.endpoints, file.read_at);
            let is_same = changes.is_empty() && endpoints.generation != Generation::default();
            // Another gateway may have been first; then the set is read and compared again.
            let entries = of_endpoints(file.read_at, CONFIG, &endpoints.all, &changes);
            let change = store.replace_endpoints(endpoints.generation, &changes, &[], &entries);
            file.is_new = !is_same && change.await?.is_none();
            endpoints = store.endpoints().await?;
        }
        file.is_loss_known = false;
        endpoints.all.sort_by(|one, other| one.id.cmp(&other.id));
        let set = self.open(endpoints);
        let snapshot = Snapshot { set: Arc::new(set), secrets: Arc::clone(&file.secrets), is_behind: false };
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }

    /// Whether this set is older than the one at hand and lacks what the API made: the store came back without its data.
    /// What came in now would be planned for the config file's endpoints alone.
    fn has_lost(&self, endpoints: &Endpoints) -> bool {
        let snapshot = self.snapshot();
        let is_there = |id: &EndpointId| endpoints.all.iter().any(|endpoint| endpoint.id == *id);
        let is_lost = |known: &Endpoint| known.origin.kept().is_some() && !is_there(&known.id);
        endpoints.generation < snapshot.generation() && snapshot.all().iter().any(is_lost)
    }

    /// Goes on with what the store holds, though it has lost endpoints that the API made. Tells whether it had.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn confirm_loss(&self, store: &dyn Store) -> Result<bool> {
        let mut file = self.file.lock().await;
        let had_lost = self.has_lost(&store.endpoints().await?);
        if had_lost {
            file.is_loss_known = true;
            self.read(&mut file, store).await?;
        }
        Ok(had_lost)
    }

    fn open(&self, mut endpoints: Endpoints) -> Set {
        let keys = self.keyring.keys();
        let mut opened = BTreeMap::new();
        for endpoint in &mut endpoints.all {
            if let Some(kept) = endpoint.origin.kept() {
                let mut of_it = kept.open(&endpoint.id, &keys);
                endpoint.settings.headers = std::mem::take(&mut of_it.headers);
                opened.insert(endpoint.id.clone(), of_it);
            }
        }
        Set { endpoints, opened }
    }
}
