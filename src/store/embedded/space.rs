//! What is kept where in the engine.

use std::sync::Arc;

use fjall::KeyspaceCreateOptions;
use fjall::compaction::Leveled;
use fjall::config::{CompressionPolicy, PartitioningPolicy};

/// What is kept apart. The discriminants are places in `Spaces::all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// The format, the endpoint set's generation and highest number, the last places in the feed and among the requests, the last of what was
    /// reprocessed, how far the ids have been written, and until when what had expired was removed.
    Meta,
    /// Place in the feed -> event.
    Events,
    /// Place in the feed -> which deliveries of the event have not ended. All that is read at start.
    Waiting,
    /// Delivery key -> row, from when it was first begun.
    Deliveries,
    /// Status, when it ended, delivery key -> nothing, once ended.
    ByStatus,
    /// Place among the requests -> request.
    Requests,
    /// Token -> digest.
    Tokens,
    /// Entity -> state.
    States,
    /// Endpoint id -> what its lane remembers.
    Lanes,
    /// When and what expires.
    Expiry,
    /// Place in the feed -> which replays there are of the event.
    Replays,
    /// Jobs, and indexes of them.
    Jobs,
    /// Endpoint id -> endpoint.
    Endpoints,
    /// Hash of an address, reason -> the earliest event that gave it. Nothing here expires.
    Suppressions,
    /// Source -> what was counted there.
    Tallies,
    /// Place among the requests -> what of the request was not understood.
    Incomplete,
    /// Endpoint's hash, when it was recorded, delivery key, number -> what of an attempt is not in its delivery's row.
    AttemptLog,
    /// Endpoint id -> how many bytes of it are there.
    LogSizes,
    /// Hour, endpoint id -> what was counted of its deliveries.
    DeliveryCounts,
    /// The audit log by time, claims by their keys, and when API keys were last used.
    Access,
}

impl Space {
    pub(super) const COUNT: usize = 20;

    pub(super) const NAMED: [(Self, &'static str); Self::COUNT] = [
        (Self::Meta, "meta"),
        (Self::Events, "events"),
        (Self::Waiting, "waiting"),
        (Self::Deliveries, "deliveries"),
        (Self::ByStatus, "by_status"),
        (Self::Requests, "requests"),
        (Self::Tokens, "tokens"),
        (Self::States, "states"),
        (Self::Lanes, "lanes"),
        (Self::Expiry, "expiry"),
        (Self::Replays, "replays"),
        (Self::Jobs, "jobs"),
        (Self::Endpoints, "endpoints"),
        (Self::Suppressions, "suppressions"),
        (Self::Tallies, "tallies"),
        (Self::Incomplete, "incomplete"),
        (Self::AttemptLog, "attempt_log"),
        (Self::LogSizes, "log_sizes"),
        (Self::DeliveryCounts, "delivery_counts"),
        (Self::Access, "access"),
    ];

    /// All of them, in the order of `Spaces::all`.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::NAMED.into_iter().map(|(space, _)| space)
    }

    /// The one that is written as this number.
    pub(super) fn read(number: u8) -> Option<Self> {
        Self::NAMED.get(usize::from(number)).map(|(space, _)| *space)
    }

    /// Rows that are small, or that nobody compresses well, stay as they are. Filters and indexes are cut up, for what is
    /// too large for its part of the cache is read whole by every get; the more CPUs, the smaller the parts.
    pub(super) fn options(self) -> KeyspaceCreateOptions {
        let options = KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(FILES_TO_MERGE)))
            .filter_block_partitioning_policy(PartitioningPolicy::all(true))
            .index_block_partitioning_policy(PartitioningPolicy::all(true));
        match self {
            Self::Events | Self::Requests | Self::AttemptLog => options,
            _ => options.data_block_compression_policy(CompressionPolicy::disabled()),
        }
    }
}

/// How much of a space is in memory before it is written in order. More is memory that was never touched before; with
/// less, more is merged.
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;

/// How many files of a space are merged at once with those that were merged before. Where lanes are behind, each file has
/// rows of all that is under way, and what was merged before is written again each time; reads ask all of them. The levels
/// below may be larger by the same factor. A space that is there keeps what it was made with.
const FILES_TO_MERGE: u8 = 10;
