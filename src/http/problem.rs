//! The one place that chooses a status. The reply says less than the log.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use jiff::Timestamp;
use serde_json::json;
use waypost_providers::{Refusal, VerifyError};

use super::details::Details;
use super::problem_types::{About, ProblemType};
use crate::domain::access::Scope;
use crate::domain::consumer::CONSUMERS_MAX;
use crate::domain::fan_out::PlanError;
use crate::domain::field::FieldError;
use crate::domain::job::JOBS_MAX;
use crate::domain::seal::OpenError;
use crate::reprocess;
use crate::store::StoreError;

/// Seconds after which it is worth trying again, told with every `503`.
const RETRY_AFTER_S: &str = "5";

/// Why a request was not done. The text is for the log; it holds nothing that the caller sent.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No source has this name.
    #[error("unknown source")]
    UnknownSource,
    /// Another problem, told to a provider of inbound mail: a final answer would lose the mail.
    #[error("{0}")]
    Again(Box<Problem>),
    /// The body is over the limit.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body took too long")]
    BodyTooSlow,
    /// The body ended early or was malformed.
    #[error("the body could not be read")]
    BodyBroken,
    /// The provider did not prove itself.
    #[error("not proven: {error}")]
    NotProven {
        /// Why.
        error: VerifyError,
        /// Whether to try again.
        refusal: Refusal,
    },
    /// What verifies and reads requests panicked.
    #[error("the request could not be read")]
    ReadFailed,
    /// A signature that had been used for other content.
    #[error("a token was used again with other content")]
    Forged,
    /// Too much is under way.
    #[error("too many requests under way")]
    Overloaded,
    /// Too many bytes of bodies are held.
    #[error("too many bytes of bodies under way")]
    BodiesOverBudget,
    /// The process is about to end.
    #[error("shutting down")]
    ShuttingDown,
    /// The store did not answer in time.
    #[error("the store did not answer in time")]
    StoreSlow,
    /// The endpoint set kept changing.
    #[error("the endpoint set changed again and again")]
    Unsettled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be written.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No API key, or none that is known.
    #[error("no known API key")]
    Unauthorized,
    /// Too many API keys that are none came from the caller's address; after so long it may try again.
    #[error("too many wrong API keys came from this address")]
    TooManyWrongKeys(Duration),
    /// An `Idempotency-Key` that came with another request before.
    #[error("the `Idempotency-Key` came with another request before")]
    KeyReused,
    /// A link that is not ours, or has expired.
    #[error("the link is not one of this gateway's, or has expired")]
    BadLink,
    /// The provider has yet to give it.
    #[error("the content is yet to be fetched from the provider")]
    NotFetched,
    /// The key has not the scope.
    #[error("the key lacks the scope `{}`", .0.as_str())]
    Forbidden(Scope),
    /// Nothing is there, or no longer.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The route is not for this method.
    #[error("the method is not {0}")]
    MethodNotAllowed(String),
    /// A query parameter is wrong; the text is told to the caller.
    #[error("a query parameter is wrong")]
    BadQuery(String),
    /// A body of the API is wrong; the text is told to the caller.
    #[error("a field of the body is wrong")]
    BadBody(String),
    /// There is nothing to send again, or nobody to send it to; the text is told to the caller.
    #[error("it cannot be replayed")]
    NotReplayable(String),
    /// The event of what was asked for is no longer kept, or never was.
    #[error("its event is no longer kept (`retention.events`), or never was")]
    Expired,
    /// It named a person who was erased.
    #[error("it was erased, as it named a person who asked for that")]
    Erased,
    /// As many jobs are under way as can be.
    #[error(
        "{JOBS_MAX} bulk replays are under way, reprocessing and erasures included; wait for one to end, or cancel one"
    )]
    TooManyJobs,
    /// Another worker has the lease of a consumer, or it was moved.
    #[error("another worker has taken over, or the consumer was moved")]
    LeaseLost,
    /// There are as many consumers as there can be.
    #[error("there are {CONSUMERS_MAX} consumers of the feed, which is the most")]
    TooManyConsumers,
    /// What stands for an address is none.
    #[error("it is no address")]
    NotAnAddress,
    /// The source that a request came in by is no longer in the config.
    #[error("the source `{0}` is not in the config")]
    SourceGone(String),
    /// A request came from a provider that this version does not know.
    #[error("the provider `{0}` is not known")]
    ProviderUnknown(String),
    /// A field of the body is unknown or wrong; the text is told to the caller, and repeats no secret.
    #[error("the field `{}` is wrong", .0.field)]
    Field(FieldError),
    /// The endpoint is the config file's.
    #[error("the endpoint is the config file's")]
    ManagedByFile,
    /// The secret before is yet to expire, at this time.
    #[error("the secret before the newest signs until {0}")]
    OverlapRuns(Timestamp),
    /// What is to be changed is no longer what the caller saw.
    #[error("the webhook has changed since it was seen")]
    HasChanged,
    /// There are as many endpoints as there can be.
    #[error("there are {0} webhooks, which is the most")]
    TooManyWebhooks(usize),
    /// A secret is to be stored, and there is no key to seal it with.
    #[error("no master key to seal a secret with")]
    NoMasterKey,
    /// What is sealed does not open.
    #[error("a secret does not open: {0}")]
    NotOpened(OpenError),
}

impl From<reprocess::Error> for Problem {
    fn from(error: reprocess::Error) -> Self {
        match error {
            reprocess::Error::SourceGone(source) => Self::SourceGone(source),
            reprocess::Error::ProviderUnknown(provider) => Self::ProviderUnknown(provider),
            reprocess::Error::Store(error) => Self::Store(error),
            reprocess::Error::Plan(error) => Self::Plan(error),
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// What the caller is told.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) status: StatusCode,
    /// Stable: clients compare it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
}

impl Problem {
    /// The same to a provider that drops a mail for good on any `4xx`: it is to come again, but for what can never succeed.
    pub(super) fn again(self) -> Self {
        match self.status() {
            StatusCode::NOT_ACCEPTABLE | StatusCode::SERVICE_UNAVAILABLE => self,
            _ => Self::Again(Box::new(self)),
        }
    }

    /// What it is to the caller.
    pub(super) fn kind(&self) -> ProblemType {
        match self {
            Self::UnknownSource => ProblemType::UnknownSource,
            Self::Again(problem) => problem.kind(),
            Self::BodyTooLarge(_) => ProblemType::BodyTooLarge,
            Self::BodyTooSlow => ProblemType::BodyTooSlow,
            Self::BodyBroken => ProblemType::BodyBroken,
            Self::NotProven { .. } | Self::Forged => ProblemType::NotProven,
            Self::Overloaded | Self::BodiesOverBudget => ProblemType::Overloaded,
            Self::ShuttingDown => ProblemType::ShuttingDown,
            Self::Store(StoreError::BadCursor) | Self::BadQuery(_) => ProblemType::BadQuery,
            Self::StoreSlow
            | Self::Unsettled
            | Self::Store(StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Refused(_)) => {
                ProblemType::StoreUnavailable
            }
            Self::NotAnAddress => ProblemType::NotAnAddress,
            Self::BadBody(_) | Self::Field(_) => ProblemType::BadBody,
            Self::NotReplayable(_) => ProblemType::NotReplayable,
            Self::Expired => ProblemType::Expired,
            Self::Erased => ProblemType::Erased,
            Self::TooManyJobs => ProblemType::TooManyReplays,
            Self::LeaseLost => ProblemType::LeaseLost,
            Self::TooManyConsumers => ProblemType::TooManyConsumers,
            Self::SourceGone(_) => ProblemType::SourceGone,
            Self::ProviderUnknown(_) => ProblemType::ProviderUnknown,
            Self::Plan(_) | Self::ReadFailed => ProblemType::Internal,
            Self::Unauthorized => ProblemType::Unauthorized,
            Self::TooManyWrongKeys(_) => ProblemType::TooManyWrongKeys,
            Self::NotFetched => ProblemType::NotFetched,
            Self::KeyReused => ProblemType::KeyReused,
            Self::BadLink => ProblemType::BadLink,
            Self::Forbidden(_) => ProblemType::Forbidden,
            Self::NotFound(_) => ProblemType::NotFound,
            Self::ManagedByFile => ProblemType::ManagedByFile,
            Self::HasChanged => ProblemType::HasChanged,
            Self::OverlapRuns(_) => ProblemType::OverlapRunning,
            Self::TooManyWebhooks(_) => ProblemType::TooManyWebhooks,
            Self::NoMasterKey | Self::NotOpened(_) => ProblemType::NoMasterKey,
            Self::MethodNotAllowed(_) => ProblemType::MethodNotAllowed,
        }
    }

    fn status(&self) -> StatusCode {
        let status = match self {
            Self::Again(_) | Self::NotProven { refusal: Refusal::Unavailable, .. } => 503,
            Self::NotProven { refusal: Refusal::Final, .. } | Self::Forged => 406,
            problem => problem.kind().about().status,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What the caller is told of it.
    pub(super) fn facts(&self) -> Facts {
        let About { name, title, .. } = self.kind().about();
        Facts { status: self.status(), id: name, title }
    }

    /// What the caller can use beyond the title.
    fn detail(&self) -> Option<String> {
        match self {
            Self::BadQuery(detail) | Self::BadBody(detail) | Self::NotReplayable(detail) => Some(detail.clone()),
            Self::Store(StoreError::BadCursor) => {
                Some("`cursor` is none that this list handed out; leave it out to begin anew".into())
            }
            Self::Field(error) => Some(error.to_string()),
            Self::NotAnAddress => Some("name one address, such as nora@customer.example; in a path, percent-encode it: nora%40customer.example".into()),
            Self::SourceGone(source) => Some(format!(
                "the source `{source}` is not in the config, and nothing is taken from what is not; add its \
                 [sources.{source}] table, reload the config, and reprocess again"
            )),
            Self::ProviderUnknown(provider) => Some(format!(
                "it came from the provider `{provider}`, which this version does not know; run one that does, and reprocess again"
            )),
            Self::ManagedByFile => Some("edit its [[endpoints]] table in the config file, and reload that".into()),
            Self::HasChanged => Some("GET it, decide again, and send its `ETag` as `If-Match`".into()),
            Self::OverlapRuns(until) => Some(format!(
                "the secret before the newest signs until {until}; wait, revoke it with DELETE …/secrets/old, or rotate \
                 with `overlap_s` 0, which ends both"
            )),
            Self::NoMasterKey => Some(
                "a secret is stored sealed: give each gateway a key in `store.master_keys`; `waypost key new` prints one"
                    .into(),
            ),
            Self::NotOpened(error) => Some(format!("{error}; give each gateway that key in `store.master_keys`")),
            Self::TooManyWrongKeys(_) => {
                Some("wait as `Retry-After` says; a key that was right at this address before is not held up".into())
            }
            Self::KeyReused => Some(
                "send a request again as it was, its body too, or draw another key for another; one is good for 24 h"
                    .into(),
            ),
            Self::BadLink => Some("GET its event for a new one, or use an API key of scope `read`".into()),
            Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::BodyTooLarge(_)
            | Self::Expired
            | Self::Erased
            | Self::TooManyJobs
            | Self::LeaseLost
            | Self::TooManyConsumers
            | Self::TooManyWebhooks(_) => {
                Some(self.to_string())
            }
            _ => None,
        }
    }

    /// The answer to a provider: small, for nobody reads it.
    pub(super) fn plain(&self) -> HttpResponse {
        let facts = self.facts();
        self.answer(&facts).json(json!({ "error": facts.id }))
    }

    fn answer(&self, facts: &Facts) -> HttpResponseBuilder {
        let mut answer = HttpResponse::build(facts.status);
        if facts.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((header::RETRY_AFTER, RETRY_AFTER_S));
        }
        match self {
            Self::MethodNotAllowed(allowed) => answer.insert_header((header::ALLOW, allowed.as_str())),
            Self::Unauthorized => answer.insert_header((header::WWW_AUTHENTICATE, "Bearer")),
            Self::TooManyWrongKeys(wait) => answer.insert_header((header::RETRY_AFTER, wait.as_secs() + 1)),
            _ => &mut answer,
        };
        answer
    }
}

/// RFC 9457.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        let facts = self.facts();
        if facts.status.is_server_error() && !matches!(self, Self::NotFetched) {
            tracing::error!(http.status = facts.status.as_u16(), problem = facts.id, error = %self, "request failed");
        }
        let field = if let Self::Field(error) = self { Some(error.field.as_str()) } else { None };
        let details = Details::new(&facts, self.detail(), field);
        self.answer(&facts).content_type("application/problem+json").json(details)
    }
}

#[cfg(test)]
mod tests;
