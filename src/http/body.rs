//! Reads a request's body, within a size, a time and a budget of all bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::buffer::Buffer;
use super::problem::Problem;
use super::share::Share;
use super::state::Gateway;

/// What one body may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// The most bytes.
    pub(super) bytes_max: usize,
    /// How long it may take.
    pub(super) within: Duration,
    /// How often it is looked at whether it still comes.
    pub(super) window: Duration,
}

/// As [`Size::window`]: a connection that loses a packet is silent for a second or two.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

/// What a body holds of the budget of all, and of the share of its source, until it is dropped.
pub(super) struct Held {
    budget: Arc<Semaphore>,
    all: OwnedSemaphorePermit,
    share: Option<Share>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn nothing(budget: &Arc<Semaphore>, share: Option<Share>) -> Result<Self, Problem> {
        Ok(Self { budget: Arc::clone(budget), all: take(budget, 0)?, share })
    }

    fn take(&mut self, len: usize) -> Result<(), Problem> {
        self.share.as_mut().map_or(Ok(()), |share| share.take(len))?;
        self.all.merge(take(&self.budget, len)?);
        Ok(())
    }
}

/// A body, and what it holds: whoever has a part of it, has the memory.
struct Owned {
    body: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Reads the whole body; in each window it has to come half as fast, at least, as what is there already would have to come to
/// be here in time. So a small one may be slow, and a large one that stands still loses its place. What is here holds as much as it
/// has bytes until the last copy of it is dropped. A body that came in one piece is not copied.
///
/// # Errors
/// [`Problem::BodyTooLarge`] (also at once, when the length told is), [`Problem::BodyTooSlow`],
/// [`Problem::BodiesOverBudget`] or [`Problem::BodyBroken`].
pub(super) async fn read<S>(mut body: S, told: Option<u64>, size: Size, mut held: Held) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    if told.is_some_and(|told| told > size.bytes_max as u64) {
        return Err(Problem::BodyTooLarge(size.bytes_max));
    }
    let told = told.and_then(|told| usize::try_from(told).ok());
    let mut all = Buffer::new(size.bytes_max, told);
    let windows = size.within.as_millis().checked_div(size.window.as_millis()).unwrap_or_default();
    let windows = u32::try_from(windows).unwrap_or(u32::MAX).max(1);
    for _ in 0..windows {
        let before = all.len();
        let rest = rest(&mut body, &mut all, size.bytes_max, &mut held);
        match tokio::time::timeout(size.within / windows, rest).await {
            Ok(read) => return read.map(|()| Bytes::from_owner(Owned { body: all.freeze(), _held: held })),
            Err(_) if all.len() - before < before / windows as usize / 2 => break,
            Err(_) => {}
        }
    }
    Err(Problem::BodyTooSlow)
}

/// The most bytes that the body of a call of the API may have.
pub(super) const API_BYTES_MAX: usize = 64 * 1024;

/// Reads the body of a call of the API; to be called when its key was checked.
///
/// # Errors
/// As of [`read`].
pub(super) async fn of_api(request: &HttpRequest, payload: Payload, gateway: &Gateway) -> Result<Bytes, Problem> {
    let size = Size { bytes_max: API_BYTES_MAX, within: gateway.limits.body_timeout, window: WINDOW };
    read(payload, length(request.headers()), size, Held::nothing(&gateway.body_budget, None)?).await
}

/// What a body of the API says in JSON; an empty one is that of no fields.
///
/// # Errors
/// [`Problem::BadBody`].
pub(super) fn fields<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return Ok(T::default());
    }
    // An array would be read as the fields in their order.
    if !body.starts_with(b"{") {
        return Err(Problem::BadBody("it is no JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|error| Problem::BadBody(error.to_string()))
}

/// Room for a request that is read from the store: as much as any may have, until it is known how much this one has.
///
/// # Errors
/// [`Problem::BodiesOverBudget`].
pub(super) fn room(gateway: &Gateway) -> Result<OwnedSemaphorePermit, Problem> {
    take(&gateway.body_budget, gateway.limits.body_bytes_max.max(gateway.limits.mail_bytes_max))
}

/// The same room for so many bytes; a request may have come in while more was allowed.
///
/// # Errors
/// As of [`room`].
pub(super) fn fit(
    mut room: OwnedSemaphorePermit,
    len: usize,
    gateway: &Gateway,
) -> Result<OwnedSemaphorePermit, Problem> {
    match len.checked_sub(room.num_permits()) {
        Some(more) => room.merge(take(&gateway.body_budget, more)?),
        None => drop(room.split(room.num_permits() - len)),
    }
    Ok(room)
}

/// Room for the copy that a body is decoded into, where what it holds leaves so much.
///
/// # Errors
/// As of [`room`].
pub(super) fn room_to_decode(gateway: &Gateway, len: usize) -> Result<OwnedSemaphorePermit, Problem> {
    take(&gateway.body_budget, len.min(gateway.limits.body_budget_bytes.saturating_sub(len)))
}

/// The length that a head tells.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// May be given up at any time, and gone on with.
async fn rest<S>(body: &mut S, all: &mut Buffer, bytes_max: usize, held: &mut Held) -> Result<(), Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    while let Some(piece) = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await {
        let piece = piece.map_err(|_| Problem::BodyBroken)?;
        if all.len() + piece.len() > bytes_max {
            return Err(Problem::BodyTooLarge(bytes_max));
        }
        // What came counts, not the length told: to tell one costs nothing.
        held.take(piece.len())?;
        all.push(piece)?;
    }
    Ok(())
}

fn take(budget: &Arc<Semaphore>, len: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let len = u32::try_from(len).map_err(|_| Problem::BodiesOverBudget)?;
    Arc::clone(budget).try_acquire_many_owned(len).map_err(|_| Problem::BodiesOverBudget)
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use actix_web::web::Payload;
    use futures_util::{StreamExt, stream};

    use super::super::share::Shares;
    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn size(bytes_max: usize, within: Duration) -> Size {
        Size { bytes_max, within, window: within }
    }

    /// At most this many bytes, with a budget of 10.
    async fn read_up_to(
        bytes_max: usize,
        body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
        told: Option<u64>,
    ) -> Result<Bytes, Problem> {
        let budget = Arc::new(Semaphore::new(10));
        let held = Held::nothing(&budget, None)?;
        let read = read(body, told, size(bytes_max, Duration::from_secs(10)), held).await;
        assert_eq!(budget.available_permits(), 10 - read.as_ref().map_or(0, Bytes::len));
        let copied = read.map(|body| Bytes::copy_from_slice(&body));
        assert_eq!(budget.available_permits(), 10);
        copied
    }

    fn pieces(pieces: &[&'static str]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
        stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>())
    }

    #[actix_web::test]
    async fn a_body_is_read_whole_in_one_piece_or_many() {
        let (request, mut payload) = TestRequest::post().set_payload("{\"a\":1}").to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        assert_eq!(read_up_to(7, payload, Some(7)).await.unwrap(), "{\"a\":1}");
        assert_eq!(read_up_to(5, pieces(&["ab", "", "cd", "e"]), None).await.unwrap(), "abcde");
        assert_eq!(read_up_to(5, pieces(&[]), None).await.unwrap(), "");
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_refused_by_its_length_or_by_what_comes() {
        let told = read_up_to(5, pieces(&[]), Some(6)).await;
        assert!(matches!(told, Err(Problem::BodyTooLarge(5))));
        let untold = read_up_to(5, pieces(&["abc", "def"]), None).await;
        assert!(matches!(untold, Err(Problem::BodyTooLarge(5))));
    }

    #[actix_web::test]
    async fn a_body_that_does_not_come_or_breaks_off_is_told_apart() {
        let held = Held::nothing(&Arc::new(Semaphore::new(5)), None).unwrap();
        let slow = read(stream::pending(), None, size(5, Duration::ZERO), held).await;
        assert!(matches!(slow, Err(Problem::BodyTooSlow)));
        let broken = read_up_to(5, stream::iter([Err(PayloadError::Incomplete(None))]), None).await;
        assert!(matches!(broken, Err(Problem::BodyBroken)));
    }

    #[actix_web::test]
    async fn a_body_that_stands_still_loses_its_place_and_a_slow_one_comes_in() {
        let size = Size { bytes_max: 5_000, within: Duration::from_secs(10), window: Duration::from_millis(100) };
        let come = async |first: usize, then: usize, count: usize| {
            let lens = [first].into_iter().chain(std::iter::repeat_n(then, count));
            let body = stream::iter(lens).then(async |len| {
                tokio::time::sleep(Duration::from_millis(if len == first { 0 } else { 50 })).await;
                Ok(Bytes::from(vec![b'x'; len]))
            });
            let held = Held::nothing(&Arc::new(Semaphore::new(5_000)), None).unwrap();
            let clock = SystemClock::new();
            (read(Box::pin(body), None, size, held).await.map(|body| body.len()), clock.elapsed())
        };
        let (stalled, after) = come(4_000, 1, 200).await;
        assert!(
            matches!(stalled, Err(Problem::BodyTooSlow)) && after < Duration::from_secs(5),
            "{stalled:?}, {after:?}"
        );
        // A tenth of it, or a few bytes, at the same pace.
        assert_eq!(come(100, 101, 20).await.0.unwrap(), 2_120);
        assert_eq!(come(2, 1, 20).await.0.unwrap(), 22);
    }

    #[actix_web::test]
    async fn what_has_come_is_taken_out_of_the_budget_and_of_the_share_and_given_back() {
        let (budget, shares) = (Arc::new(Semaphore::new(10)), Shares::default());
        let body = async |source, body, told| {
            let held = Held::nothing(&budget, Some(shares.of(source, 8))).unwrap();
            read(pieces(body), told, size(8, Duration::from_secs(10)), held).await
        };
        let first = body("a", &["abcd", "ef"], Some(8)).await.unwrap();
        assert_eq!(budget.available_permits(), 4);
        assert!(matches!(body("a", &["abc"], None).await, Err(Problem::BodiesOverBudget)), "its share");
        assert!(matches!(body("b", &["abc", "de"], None).await, Err(Problem::BodiesOverBudget)), "the budget");
        assert_eq!(body("b", &["abcd"], None).await.unwrap(), "abcd");
        assert_eq!(budget.available_permits(), 4);
        // Whoever has a part has it all.
        let part = first.slice(1..2);
        drop(first);
        assert_eq!(budget.available_permits(), 4);
        drop(part);
        assert_eq!(body("a", &["abcdefgh"], None).await.unwrap(), "abcdefgh");
        assert_eq!(budget.available_permits(), 10);
    }
}
