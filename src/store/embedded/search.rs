//! Searches: by an index of words, or by a look at all events of a span.

use std::collections::VecDeque;
use std::ops::Range;

use async_trait::async_trait;
use fjall::Slice;

use super::Embedded;
use super::core::REPROCESSED;
use super::ids::first_places;
use super::range::Span;
use super::read::{View, cursor};
use super::rows::{EventRow, Place, micros, number, timestamp};
use super::spaces::Space;
use crate::domain::plan::StoredEvent;
use crate::domain::search::{MailId, Search, Word, WordHash, is_of_mail};
use crate::store::{LOOKED_AT_BYTES_MAX, LOOKED_AT_MAX, Page, PageQuery, Result, Searched, Searches, StoreError};

/// So many places are read from the index at once.
const PART_LEN: usize = 128;

/// Places in the feed, and the events there, unless they have gone.
type Rows<'a> = Box<dyn Iterator<Item = Result<(u64, Option<Slice>)>> + 'a>;

/// What a look found.
struct Looked {
    items: Vec<StoredEvent>,
    /// The place of the last event looked at, if there may be more.
    last: Option<u64>,
}

impl View<'_> {
    fn search(&self, search: &Search, word: Option<WordHash>, page: &PageQuery) -> Result<Searched> {
        let Range { start, end } = self.span(search)?;
        let end = if page.cursor.is_some() { place(page)?.min(end) } else { end };
        let rows: Rows<'_> = match word {
            Some(word) => self.indexed(vec![word], start..end, true),
            None => {
                let span = Span::from(Space::Events, start.to_be_bytes()).to(end.max(start).to_be_bytes()).back();
                Box::new(self.range(&span).map(|row| row.and_then(|(seq, row)| Ok((number(&seq)?.0, Some(row))))))
            }
        };
        let Looked { items, last } = self.look(rows, page.limit, |event| search.wants(event))?;
        let next = last.map(|last| Ok((hex::encode(last.to_be_bytes()), timestamp(self.committed_from(last)?))));
        Ok(Searched { items, next: next.transpose()? })
    }

    fn events_of_mail(&self, ids: &[MailId], words: Vec<WordHash>, page: &PageQuery) -> Result<Page<StoredEvent>> {
        let start = if page.cursor.is_some() { place(page)?.saturating_add(1) } else { 0 };
        let rows = self.indexed(words, start..u64::MAX, false);
        let Looked { items, last } = self.look(rows, page.limit, |event| is_of_mail(event, ids))?;
        Ok(Page { items, next: last.map(|last| hex::encode(last.to_be_bytes())) })
    }

    /// Where the events are that can be asked for.
    fn span(&self, search: &Search) -> Result<Range<u64>> {
        let (since, until) = search.committed();
        let start = since.map_or(Ok(0), |since| self.first_committed(micros(since)))?;
        let Some(until) = until else { return Ok(start..u64::MAX) };
        let reprocessed = self.get(Space::Meta, REPROCESSED)?.map_or(Ok(0), |seq| number(&seq).map(|(seq, _)| seq))?;
        Ok(start..self.first_committed(micros(until))?.max(reprocessed.saturating_add(1)))
    }

    /// When the first event was committed that is at this place or later.
    fn committed_from(&self, seq: u64) -> Result<u64> {
        match self.events_from(seq).next().transpose()? {
            Some((_, row)) => Ok(EventRow::read(&row)?.committed),
            None => Ok(self.now()),
        }
    }

    /// What these words lead to within a span, each once.
    fn indexed(&self, words: Vec<WordHash>, span: Range<u64>, is_back: bool) -> Rows<'_> {
        let (mut left, mut part) = (Some(span), VecDeque::new());
        Box::new(std::iter::from_fn(move || {
            if part.is_empty()
                && let Some(span) = left.take()
            {
                match self.places(&words, &span, is_back) {
                    Ok(places) => part = places.into(),
                    Err(error) => return Some(Err(error)),
                }
                let last = part.back().filter(|_| part.len() == PART_LEN);
                left = last.map(|last: &Place| if is_back { span.start..last.seq } else { last.seq + 1..span.end });
            }
            let place = part.pop_front()?;
            let is_alive = place.is_alive(self.now());
            let row = if is_alive { self.get(Space::Events, &place.seq.to_be_bytes()) } else { Ok(None) };
            Some(row.map(|row| (place.seq, row)))
        }))
    }

    fn places(&self, words: &[WordHash], span: &Range<u64>, is_back: bool) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for word in words {
            places.extend(self.spaces.ids.of_word(*word, span, is_back, PART_LEN)?);
        }
        Ok(first_places(places, is_back, PART_LEN))
    }

    /// Looks at events until enough are found, or have been looked at.
    fn look(&self, rows: Rows<'_>, limit: usize, wants: impl Fn(&StoredEvent) -> bool) -> Result<Looked> {
        let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
        for (count, row) in rows.enumerate() {
            if items.len() >= limit || count >= LOOKED_AT_MAX || bytes >= LOOKED_AT_BYTES_MAX {
                return Ok(Looked { items, last });
            }
            let (seq, row) = row?;
            last = Some(seq);
            let Some(row) = row else { continue };
            bytes += row.len();
            match self.alive(&row) {
                Ok(event) => items.extend(event.filter(&wants)),
                // It must not hide the others.
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(seq, %error, "an event is passed over by a search");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Looked { items, last: None })
    }
}

/// Where the page before ended.
fn place(page: &PageQuery) -> Result<u64> {
    number(&cursor(page, size_of::<u64>())?).map(|(seq, _)| seq)
}

#[async_trait]
impl Searches for Embedded {
    async fn search(&self, search: &Search, page: &PageQuery) -> Result<Searched> {
        let word = search.word().map(|word| word.hash(&self.address_key));
        let (search, page) = (search.clone(), page.clone());
        self.read(move |view| view.search(&search, word, &page)).await
    }

    async fn events_of_mail(&self, ids: &[MailId], page: &PageQuery) -> Result<Page<StoredEvent>> {
        let words = ids.iter().map(|id| Word::Mail(id.clone()).hash(&self.address_key)).collect();
        let (ids, page) = (ids.to_vec(), page.clone());
        self.read(move |view| view.events_of_mail(&ids, words, &page)).await
    }
}
