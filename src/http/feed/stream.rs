//! `/v1/feed/stream`: the feed as server-sent events, in the words of the HTML standard.

use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use super::filter::{Asked, Start};
use super::reader::{Part, Reader};
use crate::domain::access::Scope;
use crate::http::auth::authorize;
use crate::http::problem::Problem;
use crate::http::state::Gateway;

/// So many events are written at once; a reader that is slow holds no more than these.
const PART_LEN: usize = 32;
/// How often something is sent while nothing happens, so that a connection that broke is found out.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a client whose connection broke is to come again.
const RETRY_MS: u32 = 2_000;

/// A stream that is open.
struct Open {
    gateway: Data<Gateway>,
    reader: Reader,
    /// What has been read and not yet sent.
    part: Option<Part>,
    /// The cursor that was sent last.
    told: String,
    /// For so long at most nothing is sent.
    heartbeat: Duration,
}

impl Open {
    fn new(gateway: Data<Gateway>, reader: Reader, part: Part) -> Self {
        Self { gateway, reader, part: Some(part), told: String::new(), heartbeat: HEARTBEAT }
    }

    /// What to send next; none at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        // However much comes in that is not for this reader.
        let due = self.gateway.clock.elapsed() + self.heartbeat;
        loop {
            let part = match self.part.take() {
                Some(part) => part,
                // The client comes again, to this gateway or another.
                None => self.reader.read(PART_LEN).await.ok()?,
            };
            // Asked last, for what woke this reader before it read does not wake it again.
            if self.gateway.is_draining() {
                return None;
            }
            let is_first = self.told.is_empty();
            if is_first || !part.entries.is_empty() || part.missed > 0 {
                let mut text = if is_first { format!("retry: {RETRY_MS}\n").into_bytes() } else { Vec::new() };
                self.told = part.cursor.text();
                write(&mut text, &part).ok()?;
                return Some(text);
            }
            let left = due.saturating_sub(self.gateway.clock.elapsed());
            if !left.is_zero() {
                if part.has_more {
                    continue;
                }
                if let Ok(waited) = tokio::time::timeout(left, self.reader.wait()).await {
                    waited.ok()?;
                    continue;
                }
            }
            // A place without an event is one to come back to.
            let told = std::mem::replace(&mut self.told, part.cursor.text());
            let is_news = told != self.told;
            return Some(if is_news { format!("id: {}\n\n", self.told).into() } else { b":\n\n".to_vec() });
        }
    }
}

fn write(text: &mut Vec<u8>, part: &Part) -> std::io::Result<()> {
    let mut cursor = part.start.clone();
    if part.missed > 0 {
        write!(text, "id: {}\nevent: missed\ndata: {{\"missed\":{}}}\n\n", cursor.text(), part.missed)?;
    }
    for (left, entry) in (0..part.entries.len()).rev().zip(&part.entries) {
        cursor.go_on(entry.partition, entry.place);
        if left == 0 {
            // What was read and is not for this reader is not read again.
            cursor.clone_from(&part.cursor);
        }
        let kind = entry.event.kind.as_str();
        write!(text, "id: {}\nevent: {kind}\ndata: {}\n\n", cursor.text(), entry.json.get())?;
    }
    if part.entries.is_empty() {
        write!(text, "id: {}\n\n", part.cursor.text())?;
    }
    Ok(())
}

/// `GET /v1/feed/stream?after=&types=&sources=`: the events of the feed, then each as it comes in. `id` is the cursor after
/// the event, `event` its type, `data` the event; `missed` tells how many are no longer kept. After `Last-Event-ID`, if it is
/// sent, else after `after`. Needs a key of scope `read`.
pub(in crate::http) async fn stream(request: HttpRequest, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let Asked { start, filter, .. } = Asked::read(request.query_string(), true)?;
    let start = match request.headers().get("last-event-id") {
        // Of a client that has had no event yet it may be empty.
        Some(id) if !id.is_empty() => {
            let parsed = Start::parse(id.to_str().unwrap_or("?"));
            parsed.map_err(|_| Problem::BadQuery("`Last-Event-ID` is the `id` of an event of the stream".into()))?
        }
        _ => start,
    };
    let cursor = start.place(gateway.store.as_ref()).await?;
    let mut reader = Reader::new(gateway.clone(), filter, cursor);
    reader.wait().await?;
    let part = reader.read(PART_LEN).await?;
    let open = Open::new(gateway, reader, part);
    let body = stream::unfold(open, |mut open| async move {
        let text = open.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), open))
    });
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/event-stream").insert_header((CACHE_CONTROL, "no-store"));
    // Proxies are not to gather what is to come at once.
    Ok(answer.insert_header(("X-Accel-Buffering", "no")).streaming(body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::filter::Filter;
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::retention::Lifetimes;
    use crate::http::state::Limits;
    use crate::store::embedded::Embedded;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[actix_web::test]
    async fn something_is_sent_also_while_all_that_comes_in_is_for_others() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()));
        let lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
        let store = Arc::new(Embedded::open(dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap());
        let gateway = Data::new(Gateway::new(store, clock, Arc::default(), Limits::NONE));
        let mut reader = Reader::new(gateway.clone(), Filter::default(), None);
        reader.wait().await.unwrap();
        let part = reader.read(PART_LEN).await.unwrap();
        let mut open = Open { heartbeat: Duration::from_millis(100), ..Open::new(gateway.clone(), reader, part) };
        let first = open.next().await.unwrap();
        let first = String::from_utf8(first).unwrap();
        assert!(first.starts_with("retry: 2000\nid: "), "{first}");
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                gateway.feed.wake();
            }
        });
        let beat = tokio::time::timeout(Duration::from_secs(5), open.next()).await.expect("a heartbeat");
        assert!(beat.is_some_and(|beat| beat.starts_with(b":") || beat.starts_with(b"id: ")));
    }
}
