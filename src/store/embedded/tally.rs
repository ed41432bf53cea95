//! What was counted at each source.

use serde::{Deserialize, Serialize};

use super::range::Span;
use super::read::View;
use super::rows::decode;
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::tally::{Tallies, Tally};
use crate::store::Result;

/// A tally, and when something was last added to it.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    at: u64,
    tally: Tally,
}

pub(super) fn add(txn: &mut Txn<'_>, tallies: Tallies, now: u64) -> Result<()> {
    for (source, more) in tallies {
        let mut kept: Kept = txn.get_json(Space::Tallies, source.as_bytes())?.unwrap_or_default();
        kept.tally.merge(more);
        kept.at = now;
        txn.put_json(Space::Tallies, source.as_bytes(), &kept)?;
    }
    Ok(())
}

/// Removes those that nothing was added to since then. They are few.
pub(super) fn forget(txn: &mut Txn<'_>, before: u64) -> Result<()> {
    for row in txn.spaces.range(&Span::from(Space::Tallies, [])) {
        let (source, kept) = row?;
        if decode::<Kept>(&kept)?.at < before {
            txn.remove(Space::Tallies, &source);
        }
    }
    Ok(())
}

impl View<'_> {
    pub(super) fn tally(&self, source: &str) -> Result<Tally> {
        let kept = self.get(Space::Tallies, source.as_bytes())?;
        kept.map_or(Ok(Tally::default()), |row| decode::<Kept>(&row).map(|kept| kept.tally))
    }
}
