//! Rows of one space in the order of their keys, or back: those of the layers before the engine's own.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use fjall::{Guard, Iter, Slice};

use super::layers::{Layer, Layers};
use super::spaces::{Space, engine};
use crate::store::Result;

/// So many rows of a layer are read under one lock.
const PART_LEN: usize = 256;

/// Which rows, and in which order.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) space: Space,
    pub(super) start: Vec<u8>,
    /// Before this.
    pub(super) end: Option<Vec<u8>>,
    pub(super) is_back: bool,
}

impl Span {
    /// All from this key on.
    pub(super) fn from(space: Space, start: impl Into<Vec<u8>>) -> Self {
        Self { space, start: start.into(), end: None, is_back: false }
    }

    pub(super) fn to(self, end: impl Into<Vec<u8>>) -> Self {
        Self { end: Some(end.into()), ..self }
    }

    pub(super) fn back(self) -> Self {
        Self { is_back: true, ..self }
    }

    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(&self.start), self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// Whether no key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Rows of the engine.
type Stored = Box<dyn Iterator<Item = Result<(Slice, Slice)>>>;

/// See the module.
pub(super) struct Range {
    engine: Peekable<Stored>,
    /// The latest first.
    layers: Vec<Part>,
    is_back: bool,
}

impl Range {
    pub(super) fn new(span: &Span, layers: &Layers, rows: Iter) -> Self {
        let read = |row: Guard| row.into_inner().map_err(engine);
        let rows: Stored = if span.is_back { Box::new(rows.rev().map(read)) } else { Box::new(rows.map(read)) };
        let part = |layer: &Arc<Layer>| Part {
            layer: Arc::clone(layer),
            left: (!span.is_empty()).then(|| span.clone()),
            rows: VecDeque::new(),
        };
        Self { engine: rows.peekable(), layers: layers.iter().map(part).collect(), is_back: span.is_back }
    }

    /// The key that comes first in any of them.
    fn next_key(&mut self) -> Result<Option<Slice>> {
        let mut next = match self.engine.peek() {
            Some(Ok((key, _))) => Some(key.clone()),
            Some(Err(error)) => return Err(error.clone()),
            None => None,
        };
        for layer in &mut self.layers {
            let Some(key) = layer.peek() else { continue };
            if next.as_ref().is_none_or(|next| if self.is_back { key > next } else { key < next }) {
                next = Some(key.clone());
            }
        }
        Ok(next)
    }
}

impl Iterator for Range {
    type Item = Result<(Slice, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = match self.next_key() {
                Ok(key) => key?,
                Err(error) => return Some(Err(error)),
            };
            let mut latest = None;
            for layer in &mut self.layers {
                let known = layer.take(&key);
                latest = latest.or(known);
            }
            let stored = self.engine.next_if(|row| row.as_ref().is_ok_and(|(other, _)| *other == key));
            if let Some(value) = latest.unwrap_or_else(|| stored?.ok().map(|(_, value)| value)) {
                return Some(Ok((key, value)));
            }
        }
    }
}

/// The rows of one layer, read part by part.
struct Part {
    layer: Arc<Layer>,
    /// What has not been read.
    left: Option<Span>,
    rows: VecDeque<(Slice, Option<Slice>)>,
}

impl Part {
    fn peek(&mut self) -> Option<&Slice> {
        if self.rows.is_empty()
            && let Some(mut left) = self.left.take()
        {
            self.rows = self.layer.part(left.space, left.bounds(), left.is_back, PART_LEN).into();
            if let Some((last, _)) = self.rows.back().filter(|_| self.rows.len() == PART_LEN) {
                if left.is_back {
                    left.end = Some(last.to_vec());
                } else {
                    // The least key after it.
                    left.start = [last, &[0][..]].concat();
                }
                self.left = Some(left).filter(|left| !left.is_empty());
            }
        }
        self.rows.front().map(|(key, _)| key)
    }

    fn take(&mut self, key: &Slice) -> Option<Option<Slice>> {
        if self.peek() == Some(key) { self.rows.pop_front().map(|(_, value)| value) } else { None }
    }
}
