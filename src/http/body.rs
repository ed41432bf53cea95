//! Reads a request's body, within a size and a time.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::problem::Problem;

/// Reads the whole body. A body that came in one piece is not copied.
///
/// # Errors
/// [`Problem::BodyTooLarge`] (also at once, when the length told is), [`Problem::BodyTooSlow`] or
/// [`Problem::BodyBroken`].
pub(super) async fn read<S>(
    mut body: S,
    told: Option<u64>,
    bytes_max: usize,
    within: Duration,
) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    if told.is_some_and(|told| told > bytes_max as u64) {
        return Err(Problem::BodyTooLarge(bytes_max));
    }
    tokio::time::timeout(within, whole(&mut body, bytes_max)).await.map_err(|_| Problem::BodyTooSlow)?
}

async fn whole<S>(body: &mut S, bytes_max: usize) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(piece) = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await {
        let piece = piece.map_err(|_| Problem::BodyBroken)?;
        if first.len() + rest.len() + piece.len() > bytes_max {
            return Err(Problem::BodyTooLarge(bytes_max));
        }
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&piece);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use actix_web::web::Payload;
    use futures_util::stream;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn pieces(pieces: &[&'static str]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
        stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>())
    }

    #[actix_web::test]
    async fn a_body_is_read_whole_in_one_piece_or_many() {
        let (request, mut payload) = TestRequest::post().set_payload("{\"a\":1}").to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        assert_eq!(read(payload, Some(7), 7, SOON).await.unwrap(), "{\"a\":1}");
        assert_eq!(read(pieces(&["ab", "", "cd", "e"]), None, 5, SOON).await.unwrap(), "abcde");
        assert_eq!(read(pieces(&[]), None, 5, SOON).await.unwrap(), "");
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_refused_by_its_length_or_by_what_comes() {
        let told = read(pieces(&[]), Some(6), 5, SOON).await;
        assert!(matches!(told, Err(Problem::BodyTooLarge(5))));
        let untold = read(pieces(&["abc", "def"]), None, 5, SOON).await;
        assert!(matches!(untold, Err(Problem::BodyTooLarge(5))));
    }

    #[actix_web::test]
    async fn a_body_that_does_not_come_or_breaks_off_is_told_apart() {
        let slow = read(stream::pending(), None, 5, Duration::ZERO).await;
        assert!(matches!(slow, Err(Problem::BodyTooSlow)));
        let broken = read(stream::iter([Err(PayloadError::Incomplete(None))]), None, 5, SOON).await;
        assert!(matches!(broken, Err(Problem::BodyBroken)));
    }
}
