//! Fetches the content of a received mail that its webhook only names, and keeps it part by part, each once: one that
//! cannot be had keeps no other from being fetched, and an attempt that fails leaves those it has to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use tokio::task::spawn_blocking;
use waypost_providers::{Auth, Content, Fetch, Fetched, Gives, Part, Provider, Request, by_name};

use super::Shared;
use super::client::{Answer, Posted};
use crate::crash;
use crate::domain::content;
use crate::domain::delivery::{ErrorClass, Split};
use crate::domain::endpoint::EndpointSettings;
use crate::domain::id::{EventId, RequestId};
use crate::domain::plan::{Generation, Ingest, RawRequest, StoredEvent};
use crate::domain::source::Fetching;
use crate::outbound::request::AGENT;
use crate::store::{Committed, Result, StoreError};

/// The largest answer taken; mails have 40 MB with everything in them (resend.com, "Attachments").
pub(super) const BYTES_MAX: usize = 48 << 20;
/// The largest list of attachments: as values it takes many times its length.
const LIST_BYTES_MAX: usize = 2 << 20;
/// Calls that one mail may take; it has no more parts than that.
const CALLS_MAX: usize = 1_000;
/// How often keeping a part is tried; each time the endpoint set has just changed.
const TRIES_MAX: usize = 5;

const GONE: u16 = 410;
const TOO_MANY_REQUESTS: u16 = 429;
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;

/// A call that gave nothing.
struct Failure {
    posted: Posted,
    /// The others would fail as well.
    is_last: bool,
}

/// What is to be fetched, and from where.
pub(super) struct Errand {
    event: EventId,
    /// The request that told of the mail, without its body.
    told: Request,
    provider: &'static dyn Provider,
    first: Vec<Fetch>,
    fetching: Arc<Fetching>,
}

/// Why there is none.
pub(super) enum NoErrand {
    /// The request that told of the mail is no longer kept.
    Gone,
    /// It is kept and cannot be read.
    Unreadable,
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
    pub(super) async fn of(shared: &Shared, event: &StoredEvent) -> std::result::Result<Self, NoErrand> {
        let source = event.source.as_deref().ok_or(NoErrand::Gone)?;
        let fetching = fetching(shared, source).ok_or(NoErrand::NotNow)?;
        let id = event.request_id.as_ref().ok_or(NoErrand::Gone)?;
        let failed = |error| no_errand(&event.id, &error);
        let len = shared.store.request_len(id).await.map_err(failed)?.ok_or(NoErrand::Gone)?;
        let held = shared.room.take(len).await;
        let stored = shared.store.request(id).await.map_err(failed)?.ok_or(NoErrand::Gone)?;
        let provider = by_name(&stored.provider).ok_or(NoErrand::Unreadable)?;
        let (mut told, url) = (stored.request, fetching.url.clone());
        let first = move || {
            let first = provider.to_fetch(&told, &url);
            told.body = Bytes::new();
            (first, told)
        };
        // A large one takes a while.
        let (first, told) = spawn_blocking(first).await.map_err(|_| NoErrand::Unreadable)?;
        drop(held);
        Ok(Self { event: event.id.clone(), told, provider, first, fetching })
    }

    /// Fetches all of it within this; half of it is for any one call, so that one which hangs is not all that is tried.
    /// Answers what the last call that failed was answered, without a body where that is content.
    pub(super) async fn run(mut self, shared: &Shared, within: Duration) -> Posted {
        let began = shared.clock.elapsed();
        let mut open = VecDeque::from(std::mem::take(&mut self.first));
        let (mut calls, mut failure) = (0, None);
        while let Some(fetch) = open.pop_front() {
            let left = within.saturating_sub(shared.clock.elapsed().saturating_sub(began));
            calls += 1;
            if calls > CALLS_MAX {
                return Posted::failed(ErrorClass::Protocol);
            }
            if left.is_zero() {
                return Posted::failed(ErrorClass::Timeout);
            }
            match self.call(shared, fetch, left.min(within / 2)).await {
                Ok(more) => open.extend(more),
                Err(Failure { posted, is_last: true }) => return posted,
                // A part that is gone for good does not end what else may be had.
                Err(Failure { posted, .. }) if is_gone(&posted) && failure.is_some() => {}
                Err(Failure { posted, .. }) => failure = Some(posted),
            }
        }
        let done = || Posted { answer: Answer { status: Some(200), ..Answer::default() }, split: Split::default() };
        failure.unwrap_or_else(done)
    }

    /// Makes one call, unless what it gives is kept, and keeps that. Answers what is to be called next.
    async fn call(&self, shared: &Shared, fetch: Fetch, within: Duration) -> std::result::Result<Vec<Fetch>, Failure> {
        let (part, bytes_max) = match &fetch.gives {
            Gives::Part { part, .. } => (Some(*part), BYTES_MAX),
            Gives::Mail => (Some(Part::Raw), BYTES_MAX),
            Gives::Attachments { .. } => (None, LIST_BYTES_MAX),
        };
        if let Some(part) = part
            && self.has(shared, part).await.map_err(|_| Failure::of_store())?
        {
            return Ok(Vec::new());
        }
        let request = self.request(&fetch).ok_or_else(Failure::unreadable)?;
        // Its room is held until all of it is kept.
        let got = shared.client.get(request, within, bytes_max, &shared.room).await;
        let Answer { status, error, .. } = &got.posted.answer;
        if error.is_some() || !status.is_some_and(|status| (200..300).contains(&status)) {
            // Whoever asks on is refused on.
            let is_refused = matches!(status, Some(UNAUTHORIZED | FORBIDDEN)) && fetch.with_key;
            let is_last = *status == Some(TOO_MANY_REQUESTS) || is_refused;
            return Err(Failure { posted: got.posted, is_last });
        }
        let mut next = Vec::new();
        for one in self.found(fetch.gives, got.body.clone()).await.ok_or_else(Failure::unreadable)? {
            match one {
                Fetched::Next(fetch) => next.push(fetch),
                Fetched::Part(part, content) => {
                    self.keep(shared, part, content).await.map_err(|_| Failure::of_store())?;
                    crash::point("fetch.kept");
                }
            }
        }
        Ok(next)
    }

    /// What an answer holds.
    async fn found(&self, gives: Gives, body: Bytes) -> Option<Vec<Fetched>> {
        let gives = match gives {
            Gives::Part { part, content_type, filename } => {
                return Some(vec![Fetched::Part(part, Content { bytes: body, content_type, filename })]);
            }
            gives => gives,
        };
        let (provider, url) = (self.provider, self.fetching.url.clone());
        // A large one takes a while.
        spawn_blocking(move || provider.fetched(&url, &gives, &body)).await.ok()?
    }

    fn request(&self, fetch: &Fetch) -> Option<http::Request<Bytes>> {
        let mut request = http::Request::get(&fetch.url).body(Bytes::new()).ok()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(fetch.accept));
        if fetch.with_key {
            let key = self.fetching.key.expose();
            let value = match self.provider.api()?.auth {
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
        Ok(shared.store.request_len(&RequestId::of_part(&self.event, &part.url())).await?.is_some())
    }

    async fn keep(&self, shared: &Shared, part: Part, content: Content) -> Result<()> {
        let raw = content::kept(&self.event, &self.told, part, content);
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
        Self { posted: Posted::failed(ErrorClass::Protocol), is_last: false }
    }

    fn of_store() -> Self {
        Self { posted: Posted::failed(ErrorClass::Closed), is_last: true }
    }
}

fn is_gone(posted: &Posted) -> bool {
    posted.answer.status == Some(GONE)
}

fn of(raw: RawRequest, generation: Generation) -> Ingest {
    Ingest { guards: Vec::new(), raw: Some(raw), generation, units: Vec::new(), states: Vec::new() }
}

fn no_errand(event: &EventId, error: &StoreError) -> NoErrand {
    if let StoreError::Unavailable(_) = error {
        return NoErrand::NotNow;
    }
    tracing::error!(event.id = %event, %error, "the request that told of a mail cannot be read");
    NoErrand::Unreadable
}
