//! What a store can be asked about the attempts to one endpoint. See [`domain::attempt_log`](crate::domain::attempt_log).

use async_trait::async_trait;

use super::{Page, PageQuery, Result};
use crate::domain::attempt_log::Logged;
use crate::domain::id::EndpointId;

/// A part of an endpoint's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The attempts.
    pub page: Page<Logged>,
    /// Whether attempts were taken out that would still be there if the log had no limit of bytes.
    pub is_cut: bool,
}

/// The logs of attempts. Each is committed with what it says of its delivery, and lives as long. Where the log of an
/// endpoint holds more bytes than its limit, the oldest attempts go soon: their deliveries still tell them, without what
/// was sent and answered.
#[async_trait]
pub trait Attempts: Send + Sync {
    /// The attempts to an endpoint, the latest recorded first. Reads a bounded number of rows, so a page may hold fewer
    /// than asked for and still not be the last.
    async fn attempts(&self, endpoint: &EndpointId, page: &PageQuery) -> Result<LogPage>;
}
