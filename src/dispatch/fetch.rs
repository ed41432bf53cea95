//! Fetches the content of a received mail that its webhook only names, and keeps it part by part, each once: one that
//! cannot be had keeps no other from being fetched, and an attempt that fails leaves those it has to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use waypost_providers::{Auth, Content, Fetch, Fetched, Gives, Part, Provider, by_name};

use super::Shared;
use super::client::{Answer, Posted};
use crate::crash;
use crate::domain::content;
use crate::domain::delivery::{ErrorClass, Split};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::id::RequestId;
use crate::domain::plan::{Generation, Ingest, RawRequest, StoredEvent};
use crate::domain::source::Fetching;
use crate::outbound::request::AGENT;
use crate::store::{Committed, Result, StoreError, StoredRequest};

/// The largest answer taken; mails have 40 MB with everything in them (resend.com, "Attachments").
const BYTES_MAX: usize = 48 << 20;
/// Calls that one mail may take; it has no more parts than that.
const CALLS_MAX: usize = 1_000;
/// How often keeping a part is tried; each time the endpoint set has just changed.
const TRIES_MAX: usize = 5;

const GONE: u16 = 410;
const TOO_MANY_REQUESTS: u16 = 429;

/// A call that gave nothing.
struct Failure {
    posted: Posted,
    /// The others would fail as well.
    is_last: bool,
}

/// What is to be fetched, and from where.
pub(super) struct Errand {
    event: Arc<StoredEvent>,
    /// None where the store has it and cannot give it.
    stored: Option<StoredRequest>,
    fetching: Arc<Fetching>,
}

/// Why there is none.
pub(super) enum NoErrand {
    /// The request that told of the mail is no longer kept.
    Gone,
    /// This gateway has no key to the API, or the store is down.
    NotNow,
}

/// Whether it is an endpoint that fetches, and this gateway has no key to do so.
pub(super) fn has_no_key(shared: &Shared, settings: &EndpointSettings) -> bool {
    settings.fetches && settings.sources.iter().all(|source| fetching(shared, source).is_none())
}

fn fetching(shared: &Shared, source: &str) -> Option<Arc<Fetching>> {
    shared.sources.all().get(source)?.fetching.clone()
}

impl Errand {
    /// The errand of a lease.
    pub(super) async fn of(shared: &Shared, event: &Arc<StoredEvent>) -> std::result::Result<Self, NoErrand> {
        let source = event.source.as_deref().ok_or(NoErrand::Gone)?;
        let fetching = fetching(shared, source).ok_or(NoErrand::NotNow)?;
        let id = event.request_id.as_ref().ok_or(NoErrand::Gone)?;
        let stored = match shared.store.request(id).await {
            Ok(stored) => Some(stored.ok_or(NoErrand::Gone)?),
            Err(StoreError::Unavailable(_)) => return Err(NoErrand::NotNow),
            Err(error) => {
                tracing::error!(event.id = %event.id, %error, "the request that told of a mail cannot be read");
                None
            }
        };
        Ok(Self { event: Arc::clone(event), stored, fetching })
    }

    /// Fetches all of it within this; half of it is for any one call, so that one which hangs is not all that is tried.
    /// Answers what the last call that failed was answered, without a body where that is content.
    pub(super) async fn run(self, shared: &Shared, within: Duration) -> Posted {
        let began = shared.clock.elapsed();
        let done = Posted { answer: Answer { status: Some(200), ..Answer::default() }, split: Split::default() };
        let Some(stored) = &self.stored else { return failed(ErrorClass::Protocol) };
        let Some(provider) = by_name(&stored.provider) else { return failed(ErrorClass::Protocol) };
        let mut open: VecDeque<_> = provider.to_fetch(&stored.request, &self.fetching.url).into();
        let (mut calls, mut failure) = (0, None);
        while let Some(fetch) = open.pop_front() {
            let left = within.saturating_sub(shared.clock.elapsed().saturating_sub(began));
            calls += 1;
            if calls > CALLS_MAX {
                return failed(ErrorClass::Protocol);
            }
            if left.is_zero() {
                return failed(ErrorClass::Timeout);
            }
            match self.call(shared, provider, stored, fetch, left.min(within / 2)).await {
                Ok(more) => open.extend(more),
                Err(Failure { posted, is_last: true }) => return posted,
                // A part that is gone for good does not end what else may be had.
                Err(Failure { posted, .. }) if is_gone(&posted) && failure.is_some() => {}
                Err(Failure { posted, .. }) => failure = Some(posted),
            }
        }
        failure.unwrap_or(done)
    }

    /// Makes one call, unless what it gives is kept, and keeps that. Answers what is to be called next.
    async fn call(
        &self,
        shared: &Shared,
        provider: &dyn Provider,
        stored: &StoredRequest,
        fetch: Fetch,
        within: Duration,
    ) -> std::result::Result<Vec<Fetch>, Failure> {
        let part = match &fetch.gives {
            Gives::Part { part, .. } => Some(*part),
            Gives::Mail => Some(Part::Raw),
            Gives::Attachments => None,
        };
        if let Some(part) = part
            && self.has(shared, part).await.map_err(|_| Failure::of_store())?
        {
            return Ok(Vec::new());
        }
        let request = self.request(provider, &fetch).ok_or_else(Failure::unreadable)?;
        let (posted, body) = shared.client.get(request, within, BYTES_MAX).await;
        if posted.answer.error.is_some() || !posted.answer.status.is_some_and(|status| (200..300).contains(&status)) {
            // Whoever asks on is refused on.
            let is_last = posted.answer.status == Some(TOO_MANY_REQUESTS);
            return Err(Failure { posted, is_last });
        }
        let found = match fetch.gives {
            Gives::Part { part, content_type, filename } => {
                vec![Fetched::Part(part, Content { bytes: body.into(), content_type, filename })]
            }
            gives => {
                provider.fetched(&stored.request, &self.fetching.url, &gives, &body).ok_or_else(Failure::unreadable)?
            }
        };
        let mut next = Vec::new();
        for one in found {
            match one {
                Fetched::Next(fetch) => next.push(fetch),
                Fetched::Part(part, content) => {
                    self.keep(shared, stored, part, content).await.map_err(|_| Failure::of_store())?;
                    crash::point("fetch.kept");
                }
            }
        }
        Ok(next)
    }

    fn request(&self, provider: &dyn Provider, fetch: &Fetch) -> Option<Request<Bytes>> {
        let mut request = Request::get(&fetch.url).body(Bytes::new()).ok()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(fetch.accept));
        if fetch.with_key {
            let key = self.fetching.key.expose();
            let value = match provider.api()?.auth {
                Auth::Bearer => format!("Bearer {key}"),
                Auth::Basic(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{key}"))),
            };
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Some(request)
    }

    async fn has(&self, shared: &Shared, part: Part) -> Result<bool> {
        Ok(shared.store.request(&RequestId::of_part(&self.event.id, &part.url())).await?.is_some())
    }

    async fn keep(&self, shared: &Shared, stored: &StoredRequest, part: Part, content: Content) -> Result<()> {
        let raw = content::kept(&self.event.id, &stored.request, part, content);
        for _ in 0..TRIES_MAX {
            let generation = shared.endpoints.snapshot().generation();
            match shared.store.ingest_all(vec![of(raw.clone(), generation)]).await.pop() {
                Some(Ok(Committed::Stored(_))) => return Ok(()),
                Some(Ok(_)) => shared.endpoints.refresh_from(generation, shared.store.as_ref()).await?,
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Err(StoreError::Unavailable("the endpoint set changed again and again".into()))
    }
}

impl Failure {
    /// The call could not be made, or its answer not be read.
    fn unreadable() -> Self {
        Self { posted: failed(ErrorClass::Protocol), is_last: false }
    }

    fn of_store() -> Self {
        Self { posted: failed(ErrorClass::Closed), is_last: true }
    }
}

fn is_gone(posted: &Posted) -> bool {
    posted.answer.status == Some(GONE)
}

fn of(raw: RawRequest, generation: Generation) -> Ingest {
    Ingest { guards: Vec::new(), raw: Some(raw), generation, units: Vec::new(), states: Vec::new() }
}

fn failed(class: ErrorClass) -> Posted {
    Posted { answer: Answer::failed(class), split: Split::default() }
}
