//! What was counted at each source.

use super::read::View;
use super::rows::decode;
use super::spaces::Space;
use super::txn::Txn;
use crate::domain::tally::{Tallies, Tally};
use crate::store::Result;

pub(super) fn add(txn: &mut Txn<'_>, tallies: Tallies) -> Result<()> {
    for (source, more) in tallies {
        let mut tally: Tally = txn.get_json(Space::Tallies, source.as_bytes())?.unwrap_or_default();
        tally.merge(more);
        txn.put_json(Space::Tallies, source.as_bytes(), &tally)?;
    }
    Ok(())
}

impl View<'_> {
    pub(super) fn tally(&self, source: &str) -> Result<Tally> {
        self.get(Space::Tallies, source.as_bytes())?.map_or(Ok(Tally::default()), |row| decode(&row))
    }
}
