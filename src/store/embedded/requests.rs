//! Requests with parts that were not understood: which there are, and what they say when they are read again.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Embedded;
use super::batch::decide_on;
use super::core::{Core, REPROCESSED};
use super::ids::Kind;
use super::ingest::{Arrival, Kept};
use super::range::Span;
use super::read::{View, collect, cursor};
use super::rows::{Expiring, Id, RequestRow, after, micros, number, unpack};
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::id::RequestId;
use crate::domain::plan::{Ingest, RawRequest};
use crate::domain::reprocess::IncompleteRequest;
use crate::store::{Committed, Fate, First, Page, PageQuery, Requests, Result};

/// What of a request was not understood, and what a list tells of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lacks {
    id: Id,
    source: Arc<str>,
    provider: Arc<str>,
    /// In nanoseconds.
    received_at: i128,
    unmapped: u32,
    unreadable: u32,
}

impl Lacks {
    /// None of a request that was understood.
    pub(super) fn of(id: Id, raw: &RawRequest) -> Option<Self> {
        raw.is_incomplete().then(|| Self {
            id,
            source: Arc::clone(&raw.request.source),
            provider: raw.provider.into(),
            received_at: raw.request.received_at.as_nanosecond(),
            unmapped: raw.unmapped,
            unreadable: raw.unreadable,
        })
    }

    fn request(self, cursor: String) -> IncompleteRequest {
        IncompleteRequest {
            id: RequestId::from_bits(self.id),
            source: self.source,
            provider: self.provider,
            received_at: Timestamp::from_nanosecond(self.received_at).unwrap_or_default(),
            unmapped: self.unmapped,
            unreadable: self.unreadable,
            cursor,
        }
    }
}

impl Core {
    /// What is new expires as if it had been committed when the request was received: all of it at one time.
    fn reprocess(&mut self, txn: &mut Txn<'_>, arrival: &Arrival, now: u64) -> Result<Option<Committed>> {
        let (Some(request), Some(raw)) = (&arrival.request, &arrival.ingest.raw) else { return Ok(None) };
        let received = micros(raw.request.received_at).min(now);
        let expires = after(received, self.lifetimes.events);
        let known = txn.place(Kind::Request, &request.id)?;
        let Some(known) = known.filter(|known| known.is_alive(now) && expires > now) else { return Ok(None) };
        if arrival.ingest.generation != self.generation {
            return Ok(Some(Committed::Stale(Vec::new())));
        }
        let row = txn.written(Space::Requests, &known.seq.to_be_bytes())?;
        if row.is_some_and(|row| RequestRow::read(&row).is_ok_and(|row| row.is_erased())) {
            return Ok(None);
        }
        txn.synced = true;
        let first = self.last.event + 1;
        let fates = self.add_events(txn, arrival, expires, now)?;
        if fates.contains(&Fate::New) {
            let last = self.last.event.to_be_bytes();
            txn.put(Space::Expiry, &Expiring::Events(first).key(expires), last);
            txn.put(Space::Meta, REPROCESSED, last);
        }
        let seq = known.seq.to_be_bytes();
        // What was understood once is not looked for again, whichever version says otherwise.
        if txn.get(Space::Incomplete, &seq)?.is_some() {
            match &request.lacks {
                Some(lacks) => txn.put_packed(Space::Incomplete, &seq, lacks)?,
                None => txn.remove(Space::Incomplete, &seq),
            }
        }
        Ok(Some(Committed::Stored(fates)))
    }
}

impl View<'_> {
    /// How many parts of the request at this place are unmapped, and unreadable.
    pub(super) fn lacks_at(&self, seq: u64) -> Result<(u32, u32)> {
        let row = self.get(Space::Incomplete, &seq.to_be_bytes())?;
        let lacks: Option<Lacks> = row.map(|row| unpack(&row)).transpose()?;
        Ok(lacks.map_or((0, 0), |lacks| (lacks.unmapped, lacks.unreadable)))
    }

    fn incomplete(&self, page: &PageQuery, first: First) -> Result<Page<IncompleteRequest>> {
        let rows = match first {
            First::Latest => self.back_from(Space::Incomplete, &[], &cursor(page, size_of::<u64>())?),
            First::Oldest => {
                let mut from = Vec::new();
                if page.cursor.is_some() {
                    // After the row that the page before ended with.
                    from = cursor(page, size_of::<u64>())?;
                    from.push(0);
                }
                self.range(&Span::from(Space::Incomplete, from))
            }
        };
        collect(rows, page, |(seq, row)| {
            let lacks: Lacks = match unpack(&row) {
                Ok(lacks) => lacks,
                Err(error) => {
                    tracing::error!(key = hex::encode(&seq), %error, "a request is not listed");
                    return Ok(None);
                }
            };
            // What came again since, or has expired, is not shown.
            let is_here = self.place(Kind::Request, Some(lacks.id))? == Some(number(&seq)?.0);
            Ok(is_here.then(|| lacks.request(hex::encode(&seq))))
        })
    }
}

#[async_trait]
impl Requests for Embedded {
    async fn incomplete(&self, page: &PageQuery, first: First) -> Result<Page<IncompleteRequest>> {
        let page = page.clone();
        self.read(move |view| view.incomplete(&page, first)).await
    }

    async fn reprocess(&self, again: Ingest) -> Result<Option<Committed>> {
        let arrival = Arrival::new(again, Kept::Here, &self.address_key)?;
        let bytes = arrival.bytes();
        self.ask(|answer| decide_on(bytes, answer, move |core, txn, now| core.reprocess(txn, &arrival, now))).await
    }
}
