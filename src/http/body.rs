//! Reads a request's body, within a size, a time and a budget of all bodies.

use std::future::poll_fn;
use std::pin::Pin;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;
use super::state::{Gateway, Limits};

/// Reads the whole body, and takes its bytes out of `budget` until the permit is dropped. A body that came in one piece
/// is not copied.
///
/// # Errors
/// [`Problem::BodyTooLarge`] (also at once, when the length told is), [`Problem::BodyTooSlow`],
/// [`Problem::BodiesOverBudget`] or [`Problem::BodyBroken`].
pub(super) async fn read<S>(
    mut body: S,
    told: Option<u64>,
    limits: Limits,
    budget: &Semaphore,
) -> Result<(Bytes, SemaphorePermit<'_>), Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let bytes_max = limits.body_bytes_max;
    if told.is_some_and(|told| told > bytes_max as u64) {
        return Err(Problem::BodyTooLarge(bytes_max));
    }
    let whole = whole(&mut body, bytes_max, budget);
    tokio::time::timeout(limits.body_timeout, whole).await.map_err(|_| Problem::BodyTooSlow)?
}

/// The most bytes that the body of a call of the API may have.
pub(super) const API_BYTES_MAX: usize = 64 * 1024;

/// Reads the body of a call of the API; to be called when its key was checked.
///
/// # Errors
/// As of [`read`].
pub(super) async fn of_api(request: &HttpRequest, payload: Payload, gateway: &Gateway) -> Result<Bytes, Problem> {
    let limits = Limits { body_bytes_max: API_BYTES_MAX, ..gateway.limits };
    let (body, _held) = read(payload, length(request.headers()), limits, &gateway.body_budget).await?;
    Ok(body)
}

/// Room for a request that is read from the store: as much as any may have, until it is known how much this one has.
///
/// # Errors
/// [`Problem::BodiesOverBudget`].
pub(super) fn room(gateway: &Gateway) -> Result<SemaphorePermit<'_>, Problem> {
    take(&gateway.body_budget, gateway.limits.body_bytes_max)
}

/// The same room for so many bytes; a request may have come in while more was allowed.
///
/// # Errors
/// As of [`room`].
pub(super) fn fit<'a>(
    mut room: SemaphorePermit<'a>,
    len: usize,
    gateway: &'a Gateway,
) -> Result<SemaphorePermit<'a>, Problem> {
    match len.checked_sub(room.num_permits()) {
        Some(more) => room.merge(take(&gateway.body_budget, more)?),
        None => drop(room.split(room.num_permits() - len)),
    }
    Ok(room)
}

/// The length that a head tells.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn whole<'a, S>(
    body: &mut S,
    bytes_max: usize,
    budget: &'a Semaphore,
) -> Result<(Bytes, SemaphorePermit<'a>), Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut held = take(budget, 0)?;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(piece) = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await {
        let piece = piece.map_err(|_| Problem::BodyBroken)?;
        if first.len() + rest.len() + piece.len() > bytes_max {
            return Err(Problem::BodyTooLarge(bytes_max));
        }
        // What came counts, not the length told: to tell one costs nothing.
        held.merge(take(budget, piece.len())?);
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&piece);
        }
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, held))
}

fn take(budget: &Semaphore, len: usize) -> Result<SemaphorePermit<'_>, Problem> {
    let len = u32::try_from(len).map_err(|_| Problem::BodiesOverBudget)?;
    budget.try_acquire_many(len).map_err(|_| Problem::BodiesOverBudget)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use actix_web::web::Payload;
    use futures_util::stream;

    use super::*;

    fn limits(body_bytes_max: usize, body_timeout: Duration) -> Limits {
        Limits { body_bytes_max, body_budget_bytes: 0, body_timeout, requests_in_flight_max: 0 }
    }

    /// At most this many bytes, with a budget of 10.
    async fn read_up_to(
        bytes_max: usize,
        body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
        told: Option<u64>,
    ) -> Result<Bytes, Problem> {
        let budget = Semaphore::new(10);
        let read = read(body, told, limits(bytes_max, Duration::from_secs(10)), &budget).await;
        assert_eq!(budget.available_permits(), 10 - read.as_ref().map_or(0, |(body, _)| body.len()));
        read.map(|(body, _)| body)
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
        let budget = Semaphore::new(5);
        let slow = read(stream::pending(), None, limits(5, Duration::ZERO), &budget).await;
        assert!(matches!(slow, Err(Problem::BodyTooSlow)));
        let broken = read_up_to(5, stream::iter([Err(PayloadError::Incomplete(None))]), None).await;
        assert!(matches!(broken, Err(Problem::BodyBroken)));
    }

    #[actix_web::test]
    async fn what_has_come_is_taken_out_of_the_budget_and_given_back() {
        let (budget, limits) = (Semaphore::new(10), limits(8, Duration::from_secs(10)));
        let first = read(pieces(&["abcd", "ef"]), Some(8), limits, &budget).await.unwrap();
        assert_eq!(budget.available_permits(), 4);
        let second = read(pieces(&["abc", "de"]), None, limits, &budget).await;
        assert!(matches!(second, Err(Problem::BodiesOverBudget)));
        assert_eq!(budget.available_permits(), 4);
        drop(first);
        assert_eq!(read(pieces(&["abcdefgh"]), None, limits, &budget).await.unwrap().0, "abcdefgh");
        assert_eq!(budget.available_permits(), 10);
    }
}
