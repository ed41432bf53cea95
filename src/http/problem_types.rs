//! The closed set of problem types: what an error of the API can be. `docs/problems.md` is written from it.

/// What is said of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The end of its URN. Clients compare it, so it never changes.
    pub name: &'static str,
    /// The status that it comes with, but where a provider is to be told something else.
    pub status: u16,
    /// What is wrong.
    pub title: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

macro_rules! types {
    ($($variant:ident $name:literal $status:literal: $title:literal; $remedy:literal,)*) => {
        /// A type of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemType {
            $(#[doc = $title] $variant,)*
        }

        impl ProblemType {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What is said of it.
            pub const fn about(self) -> About {
                match self {
                    $(Self::$variant => About { name: $name, status: $status, title: $title, remedy: $remedy },)*
                }
            }
        }
    };
}

types! {
    BodyBroken "body_broken" 400: "The body could not be read"; "Send it whole.",
    BadQuery "bad_query" 400: "A query parameter is wrong"; "Correct the one that `detail` names.",
    Unauthorized "unauthorized" 401: "A known API key is needed"; "Send a key of `api.keys` as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    NotProven "not_proven" 401: "The signature does not check"; "Compare the source's keys with the provider's, and the clocks. `406` where another try would be the same.",
    Forbidden "forbidden" 403: "The API key has not the scope"; "Use a key with the scope that `detail` names.",
    BadLink "bad_link" 403: "The link is wrong or has expired"; "Get its event for a new one, or use an API key of scope `read`.",
    NotFound "not_found" 404: "There is no such thing"; "Check the path and the id; it may have been deleted, or is kept no longer.",
    UnknownSource "unknown_source" 404: "There is no such source"; "Check the name in the callback URL against `[sources]`.",
    MethodNotAllowed "method_not_allowed" 405: "The route is not for this method"; "Use one that `Allow` lists.",
    BodyTooSlow "body_too_slow" 408: "The body took too long"; "Send it faster, or raise `server.body_timeout_s`.",
    KeyReused "idempotency_key_reused" 409: "The Idempotency-Key came with another request before"; "Repeat that request as it was, or draw a new key.",
    ManagedByFile "managed_by_file" 409: "The webhook is the config file's"; "Edit its `[[endpoints]]` table, and reload the file.",
    NoMasterKey "no_master_key" 409: "A master key is missing"; "Give each gateway the key in `store.master_keys`.",
    NotReplayable "not_replayable" 409: "It cannot be sent again"; "`detail` says why.",
    OverlapRunning "overlap_running" 409: "Two secrets sign already"; "Wait, revoke the older, or rotate with `overlap_s` 0.",
    ProviderUnknown "provider_unknown" 409: "This version does not know the provider"; "Run one that does.",
    SourceGone "source_gone" 409: "The source is no longer in the config"; "Put its table back, and reload the file.",
    LeaseLost "lease_lost" 409: "Another worker of the consumer has taken over"; "Drop what you have, and receive again.",
    TooManyConsumers "too_many_consumers" 409: "There are too many consumers of the feed"; "Delete one that is not needed.",
    TooManyReplays "too_many_replays" 409: "Too many replays are under way"; "Wait for one to end, or cancel one.",
    TooManyWebhooks "too_many_webhooks" 409: "There are too many webhooks"; "Delete one that is not needed.",
    Expired "expired" 410: "The event is no longer kept"; "Nothing: `retention.events_days` is over.",
    Erased "erased" 410: "It was erased"; "Nothing: it named a person who was erased.",
    HasChanged "has_changed" 412: "It has changed since it was seen"; "Get it, decide again, and send its `ETag` as `If-Match`.",
    BodyTooLarge "body_too_large" 413: "The body is too large"; "Send less than `detail` says.",
    BadBody "bad_body" 422: "A field of the body is wrong"; "Correct the one that `field` or `detail` names.",
    NotAnAddress "not_an_address" 422: "It is no email address"; "Name one address; in a path, percent-encoded.",
    TooManyWrongKeys "too_many_wrong_keys" 429: "Too many wrong API keys came from your address"; "Wait as `Retry-After` says; behind a proxy, see `server.trusted_proxies`.",
    Internal "internal" 500: "Something is wrong with the gateway"; "See its log.",
    NotFetched "not_fetched" 503: "The content is yet to be fetched from the provider"; "Try again as `Retry-After` says.",
    Overloaded "overloaded" 503: "Too much is under way"; "Try again as `Retry-After` says.",
    ShuttingDown "shutting_down" 503: "The gateway is shutting down"; "Try again: another gateway may answer.",
    StoreUnavailable "store_unavailable" 503: "The store cannot take or give anything now"; "Try again as `Retry-After` says; the log says what is wrong.",
}
