//! What was counted at each source: one sum, in the first partition.

use std::collections::BTreeMap;

use redis::{Cmd, Pipeline};

use super::keys::Partition;
use super::link::{Call, Link, read};
use super::rows::seconds;
use super::scripts;
use crate::domain::retention::Lifetimes;
use crate::domain::tally::{FIELDS_MAX, Tallies, Tally};
use crate::store::Result;

/// The field of when a request was last taken, in microseconds.
const LAST: &str = "last";

fn name(source: &str) -> String {
    format!("tally:{source}")
}

pub(super) async fn count(link: &Link, lifetimes: Lifetimes, tallies: &Tallies) -> Result<()> {
    let call = |(source, tally): (&String, &Tally)| {
        let mut call = Call::new(&scripts::TALLY, Partition::FIRST, &[&name(source)]);
        call.num(seconds(lifetimes.events.saturating_mul(Lifetimes::OF_TALLIES)))
            .num(FIELDS_MAX)
            .num(tally.last_success().map_or(0, |at| at.as_microsecond()));
        call.num(tally.fields().count());
        for (field, other, count) in tally.fields() {
            call.arg(field).arg(other).num(count);
        }
        call
    };
    link.run_all::<i64>(tallies.iter().map(call).collect()).await?;
    Ok(())
}

pub(super) async fn tallies(link: &Link, sources: &[String]) -> Result<Vec<Tally>> {
    let mut pipe = Pipeline::new();
    for source in sources {
        pipe.add_command(Cmd::new().arg("HGETALL").arg(Partition::FIRST.key(&name(source))).clone());
    }
    let tally = |answer: Result<redis::Value>| {
        let mut fields: BTreeMap<String, u64> = read(answer?)?;
        let last = fields.remove(LAST).and_then(|micros| super::rows::timestamp(&micros.to_string()));
        Ok(Tally::new(fields, last))
    };
    link.pipe(&pipe).await?.into_iter().map(tally).collect()
}
