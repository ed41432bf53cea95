//! The one network call: a request posted once, under one deadline. No redirects; no proxy but the configured one.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use webpki_roots::TLS_SERVER_ROOTS;

use super::connector::{Bounded, ConnectError, Connector};
use super::room::Room;
use super::split::Noted;
use crate::clock::Clock;
use crate::domain::delivery::{ErrorClass, Split, millis};
use crate::domain::proxy::Proxy;
use crate::domain::retry::{self, Outcome};
use crate::domain::target::{Networks, check_uri};

/// Bytes of an answer's body that are read.
pub const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes of it that are kept.
pub const KEPT_BYTES_MAX: usize = 4 * 1024;
/// Bytes that an answer's head may have.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an unused connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Unused connections kept for one host.
const IDLE_LEN_MAX: usize = 32;

/// How often a connection that is used and silent is asked whether it is still there, and how long it may take to say so.
/// Only HTTP/2 needs it: there the next attempt uses the same connection.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// How endpoints are reached.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    /// Networks that may be called although they are not public.
    pub networks: Networks,
    /// Certificate authorities that are trusted beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What all connections go through.
    pub proxy: Option<Proxy>,
}

/// Posts to endpoints. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Bounded, Full<Bytes>>,
    networks: Arc<Networks>,
    clock: Arc<dyn Clock>,
}

/// A request that was posted.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// What came of it.
    pub answer: Answer,
    /// Where the time went.
    pub split: Split,
}

/// An answer to be kept whole, and the room that it takes.
#[derive(Debug, Default)]
pub struct Got {
    /// Without its body.
    pub posted: Posted,
    /// That.
    pub body: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

impl Posted {
    /// That no answer came.
    pub fn failed(error: ErrorClass) -> Self {
        Self { answer: Answer::failed(error), split: Split::default() }
    }
}

/// What came of a request. With an error there may still be a status: the body broke off after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: Option<u16>,
    /// Why it is no whole answer.
    pub error: Option<ErrorClass>,
    /// The first 4 KiB of the body, if it has any.
    pub body: Option<String>,
    /// `Retry-After` as it was sent.
    pub retry_after: Option<String>,
    /// `Date` as it was sent.
    pub date: Option<String>,
}

impl Answer {
    /// That no answer came.
    pub fn failed(error: ErrorClass) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// What the retry policy sees. A date to wait for is held against the endpoint's own clock where it tells it, since
    /// `now` is this gateway's.
    pub fn outcome(&self, now: Timestamp) -> Outcome {
        let now = self.date.as_deref().and_then(retry::http_date).unwrap_or(now);
        match (self.error, self.status) {
            (Some(error), _) => Outcome::Failed(error),
            (None, Some(status)) => {
                let retry_after = self.retry_after.as_deref().and_then(|value| retry::retry_after(value, now));
                Outcome::Answered { status, retry_after }
            }
            (None, None) => Outcome::Failed(ErrorClass::Protocol),
        }
    }
}

impl Client {
    /// A client that calls the public internet and what `egress` adds to it.
    ///
    /// # Errors
    /// When TLS cannot be set up, or one of the authorities is no certificate.
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let Egress { networks, authorities, proxy } = egress;
        let networks = Arc::new(networks);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(authorities)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(Connector::new(Arc::clone(&networks), proxy, Arc::clone(&clock)));
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_LEN_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(HEAD_BYTES_MAX as u32)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PONG_WITHIN)
            .build(Bounded::new(connector, Arc::clone(&clock)));
        Ok(Self { http, networks, clock })
    }

    /// Posts, and reads the answer. `deadline` is over all of it: resolve, connect, TLS, headers and body.
    pub async fn post(&self, request: Request<Bytes>, deadline: Duration) -> Posted {
        if check_uri(request.uri(), &self.networks).is_err() {
            return Posted::failed(ErrorClass::Blocked);
        }
        let (mut posted, kept) = self.within(request, deadline, (READ_BYTES_MAX, KEPT_BYTES_MAX), None).await;
        posted.answer.body = (!kept.is_empty()).then(|| text(&kept));
        posted
    }

    /// Gets, and keeps the whole body, which is an error where it is larger than this. It is not read before there is room
    /// for it, and that is held as long as the answer.
    pub async fn get(&self, request: Request<Bytes>, deadline: Duration, bytes_max: usize, room: &Room) -> Got {
        if check_uri(request.uri(), &self.networks).is_err() {
            return Got { posted: Posted::failed(ErrorClass::Blocked), ..Got::default() };
        }
        let more = bytes_max.saturating_add(1);
        let mut held = None;
        let (mut posted, kept) = self.within(request, deadline, (more, more), Some((room, &mut held))).await;
        if kept.len() > bytes_max {
            posted.answer.error = posted.answer.error.or(Some(ErrorClass::Protocol));
        }
        Got { posted, body: kept.into(), _held: held }
    }

    async fn within(
        &self,
        request: Request<Bytes>,
        deadline: Duration,
        maxima: (usize, usize),
        room: Option<(&Room, &mut Option<OwnedSemaphorePermit>)>,
    ) -> (Posted, Vec<u8>) {
        let (mut answer, mut kept, noted) = (Answer::default(), Vec::new(), Noted::default());
        let exchange = noted.during(self.exchange(request, (&mut answer, &mut kept), maxima, room, &noted));
        answer.error = match timeout(deadline, exchange).await {
            Ok(Ok(())) => None,
            Ok(Err(class)) => Some(class),
            Err(_) => Some(ErrorClass::Timeout),
        };
        (Posted { answer, split: noted.split() }, kept)
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        (answer, kept): (&mut Answer, &mut Vec<u8>),
        (read_max, kept_max): (usize, usize),
        room: Option<(&Room, &mut Option<OwnedSemaphorePermit>)>,
        noted: &Noted,
    ) -> Result<(), ErrorClass> {
        let began = self.clock.elapsed();
        let response = self.http.request(request.map(Full::new)).await.map_err(|error| class(&error))?;
        let first_byte = self.clock.elapsed().saturating_sub(began);
        noted.note(|split| split.first_byte_ms = Some(millis(first_byte)));
        answer.status = Some(response.status().as_u16());
        let header = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        (answer.retry_after, answer.date) = (header(RETRY_AFTER), header(DATE));
        let mut body = response.into_body();
        if let Some((room, held)) = room {
            let told = body.size_hint().exact().map(|len| usize::try_from(len).unwrap_or(usize::MAX));
            if told.is_some_and(|told| told >= kept_max) {
                return Err(ErrorClass::Protocol);
            }
            *held = room.take(told.unwrap_or(kept_max)).await;
            kept.reserve_exact(told.unwrap_or_default());
        }
        let mut read = 0;
        // What is left unread costs the connection; what is read to its end lets the next attempt use it again.
        while read < read_max {
            let Some(frame) = body.frame().await else { break };
            let frame = frame.map_err(|error| class_of_hyper(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            let room = kept_max - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("networks", &self.networks).finish_non_exhaustive()
    }
}

/// TLS that trusts the public authorities (Mozilla's list, as `webpki-roots` has it) and these.
fn trusting(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() };
    for authority in authorities {
        roots.add(authority)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// As UTF-8, at most [`KEPT_BYTES_MAX`]: a byte that is none may become three.
fn text(kept: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(kept).into_owned();
    text.truncate(text.floor_char_boundary(KEPT_BYTES_MAX));
    text
}

fn class(error: &legacy::Error) -> ErrorClass {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(ConnectError(class)) = cause.downcast_ref() {
            return *class;
        }
        if let Some(error) = cause.downcast_ref() {
            return class_of_hyper(error);
        }
        source = cause.source();
    }
    // A connection that our connector had made and that never came to be: the handshake failed.
    if error.is_connect() { ErrorClass::Tls } else { ErrorClass::Closed }
}

fn class_of_hyper(error: &hyper::Error) -> ErrorClass {
    if error.is_timeout() {
        ErrorClass::Timeout
    } else if error.is_parse() || error.is_user() {
        ErrorClass::Protocol
    } else {
        ErrorClass::Closed
    }
}
