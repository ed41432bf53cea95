//! The endpoint APIs of other senders, for clients that were written for them: thin views of [`webhooks`](super::webhooks),
//! with the same keys, scopes and errors.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::CACHE_CONTROL;
use serde_json::Value;

use super::openapi::Path;
use super::webhooks::service::Given;
use crate::domain::endpoint::Endpoint;
use crate::domain::field::FieldError;

mod platform;
mod sentinmail;

/// The routes.
pub(super) fn paths() -> Vec<Path> {
    let mut all = vec![platform::path()];
    all.extend(sentinmail::paths());
    all
}

/// These APIs ask for events by name.
fn check_events(given: &Given) -> Result<(), FieldError> {
    match given.get("events") {
        Some(Value::Array(events)) if events.is_empty() => {
            Err(FieldError::new("events", "names no event", "name one at least, or `*` for all of them"))
        }
        None | Some(Value::Null) => Err(FieldError::new("events", "is missing", "name one event at least, or `*`")),
        Some(_) => Ok(()),
    }
}

/// The same of a change, which may leave them as they are.
fn check_changed_events(given: &Given) -> Result<(), FieldError> {
    if given.contains_key("events") { check_events(given) } else { Ok(()) }
}

/// Those that somebody is told by, in the order they were made.
fn shown(mut all: Vec<Endpoint>) -> Vec<Endpoint> {
    all.retain(|endpoint| !endpoint.settings.fetches);
    all.sort_by_key(|endpoint| endpoint.number);
    all
}

/// An answer that nobody on the way keeps, for there may be a secret in it.
fn private(mut answer: HttpResponseBuilder) -> HttpResponseBuilder {
    answer.insert_header((CACHE_CONTROL, "no-store"));
    answer
}
