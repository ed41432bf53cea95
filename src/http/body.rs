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
}

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

/// Reads the whole body, which holds as much as it has bytes until the last copy of it is dropped. A body that came in one
/// piece is not copied.
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
    let whole = whole(&mut body, told, size.bytes_max, &mut held);
    let body = tokio::time::timeout(size.within, whole).await.map_err(|_| Problem::BodyTooSlow)??;
    Ok(Bytes::from_owner(Owned { body, _held: held }))
}

/// The most bytes that the body of a call of the API may have.
pub(super) const API_BYTES_MAX: usize = 64 * 1024;

/// Reads the body of a call of the API; to be called when its key was checked.
///
/// # Errors
/// As of [`read`].
pub(super) async fn of_api(request: &HttpRequest, payload: Payload, gateway: &Gateway) -> Result<Bytes, Problem> {
    let size = Size { bytes_max: API_BYTES_MAX, within: gateway.limits.body_timeout };
    read(payload, length(request.headers()), size, Held::nothing(&gateway.body_budget, None)?).await
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

async fn whole<S>(body: &mut S, told: Option<usize>, bytes_max: usize, held: &mut Held) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut all = Buffer::new(bytes_max, told);
    while let Some(piece) = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await {
        let piece = piece.map_err(|_| Problem::BodyBroken)?;
        if all.len() + piece.len() > bytes_max {
            return Err(Problem::BodyTooLarge(bytes_max));
        }
        // What came counts, not the length told: to tell one costs nothing.
        held.take(piece.len())?;
        all.push(piece)?;
    }
    Ok(all.freeze())
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
    use futures_util::stream;

    use super::super::share::Shares;
    use super::*;

    fn size(bytes_max: usize, within: Duration) -> Size {
        Size { bytes_max, within }
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
