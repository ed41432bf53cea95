//! What a store keeps of those who use the API: what they changed, what they asked for under an `Idempotency-Key`, and
//! when they were last there.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Page, PageQuery, Result};
use crate::domain::address::Address;
use crate::domain::audit::Entry;
use crate::domain::id::SuppressionId;

/// For how long a claim is remembered.
pub const CLAIM_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// The most entries of the audit log that are written in one commit with a change of endpoints; what is more is written
/// before it.
pub(super) const ENTRIES_MAX: usize = 100;

/// 128 bits, in hex where they are written.
pub type Bits = [u8; 16];

/// A request that may be made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Tells it from another request.
    pub digest: Bits,
    /// Random, the first time; what it makes is named after this.
    pub bits: Bits,
    /// What it made, once it has.
    pub made: Option<String>,
}

/// An entry of the audit log, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
pub struct Kept {
    /// Its id: later ones have greater ids, and none has that of another.
    pub id: String,
    /// It.
    #[serde(flatten)]
    pub entry: Entry,
}

/// See the module.
#[async_trait]
pub trait Access: Send + Sync {
    /// Adds entries to the audit log, where they are for [`LIFETIME`](crate::domain::audit::LIFETIME).
    async fn note(&self, entries: &[Entry]) -> Result<()>;

    /// The audit log, latest first.
    async fn audit(&self, page: &PageQuery) -> Result<Page<Kept>>;

    /// What the audit log calls an address, as the suppression list does.
    async fn address_id(&self, address: &Address) -> Result<SuppressionId>;

    /// Remembers a request under its key for [`CLAIM_LIFETIME`], unless one is remembered; answers what is. Of several at
    /// once one is first.
    async fn claim(&self, key: Bits, claim: &Claim) -> Result<Claim>;

    /// Notes what a request made, for as long as it is remembered.
    async fn settle(&self, key: Bits, made: &str) -> Result<()>;

    /// Notes when API keys were used, by their names; the latest stays. Need not wait for a sync.
    async fn note_uses(&self, uses: &BTreeMap<String, Timestamp>) -> Result<()>;

    /// When these were last used, in order.
    async fn uses(&self, names: Vec<String>) -> Result<Vec<Option<Timestamp>>>;
}
