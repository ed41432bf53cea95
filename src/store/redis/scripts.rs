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
    ($($name:ident = $file:literal),* $(,)?) => {$(
        pub(super) static $name: Script = {
            const CODE: &str = concat!(include_str!("lib.lua"), include_str!($file));
            Script { code: CODE, hash: LazyLock::new(|| redis::Script::new(CODE).get_hash().to_owned()) }
        };
    )*};
}

scripts! {
    INGEST = "ingest.lua",
    TAKE = "take.lua",
    FINISH = "finish.lua",
    REST = "rest.lua",
    PAGE = "page.lua",
    PENDING = "pending.lua",
    ROWS = "rows.lua",
    ENDPOINTS = "endpoints.lua",
    RAISE = "raise.lua",
    HEARTBEAT = "heartbeat.lua",
}
