//! The scripts. Each checks before it first writes, for Redis does not roll back.

use std::sync::LazyLock;

/// A script and its hash.
pub(super) struct Script {
    code: &'static str,
    hash: LazyLock<String>,
}

impl Script {
    /// Its text.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// What the server calls it.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+),* $(,)?) => {$(
        pub(super) static $name: Script = {
            const CODE: &str = concat!(include_str!("lib.lua"), $(include_str!($file)),+);
            Script { code: CODE, hash: LazyLock::new(|| redis::Script::new(CODE).get_hash().to_owned()) }
        };
    )*};
}

// Each with the parts that it uses, for all of it is run at each call.
scripts! {
    INGEST = "lanes.lua" "enqueue.lua" "row.lua" "pages.lua" "names.lua" "ended.lua" "ingest.lua",
    TAKE = "lanes.lua" "row.lua" "take.lua",
    FINISH = "lanes.lua" "row.lua" "pages.lua" "names.lua" "ended.lua" "log.lua" "finish.lua",
    REPLAY = "lanes.lua" "enqueue.lua" "replay.lua",
    CANCEL = "lanes.lua" "row.lua" "names.lua" "ended.lua" "leave.lua" "cancel.lua",
    ERASE = "lanes.lua" "row.lua" "pages.lua" "names.lua" "ended.lua" "leave.lua" "log.lua" "unlog.lua" "erase.lua",
    FORGET = "names.lua" "log.lua" "unlog.lua" "forget.lua",
    SWAP = "swap.lua",
    JOB = "job.lua",
    KEEP = "keep.lua",
    LEFT = "left.lua",
    REST = "lanes.lua" "rest.lua",
    PAGE = "less.lua" "names.lua" "page.lua",
    PENDING = "less.lua" "pending.lua",
    ROWS = "rows.lua",
    ATTEMPTS = "names.lua" "attempts.lua",
    ENDPOINTS = "audit.lua" "endpoints.lua",
    NOTE = "audit.lua" "note.lua",
    USED = "used.lua",
    RAISE = "raise.lua",
    HEARTBEAT = "heartbeat.lua",
    SUPPRESS = "suppress.lua",
    UNSUPPRESS = "unsuppress.lua",
    TALLY = "tally.lua",
    COUNTS = "counts.lua",
    FEED = "feed.lua",
    CONSUMER = "consumer.lua",
    PENDING_TO = "lanes.lua" "pending_to.lua",
}
