//! What became of deliveries, by endpoint and hour: in the first partition, a hash for each endpoint and day.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline};

use super::keys::{Partition, all};
use super::link::{Call, Link, corrupt, read};
use super::rows::seconds;
use super::{RedisStore, scripts};
use crate::domain::delivery_counts::{Counted, DeliveryCounts, HOURS_MAX, Hour};
use crate::domain::id::EndpointId;
use crate::store::{Counts, Result};

const DAY_HOURS: u32 = 24;
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn name(day: u32, endpoint: &EndpointId) -> String {
    format!("cd:{day}:{endpoint}")
}

/// A field's name: the hour of the day, whether it is a time, and what is told.
fn field(hour: Hour, is_time: bool, told: &str) -> String {
    format!("{:02}{}{told}", hour.0 % DAY_HOURS, if is_time { '@' } else { '#' })
}

pub(super) async fn count(link: &Link, lifetime: Duration, counted: &Counted) -> Result<()> {
    let call = |((endpoint, hour), counts): (&(EndpointId, Hour), &DeliveryCounts)| {
        let mut call = Call::new(&scripts::COUNTS, Partition::FIRST, &[&name(hour.0 / DAY_HOURS, endpoint)]);
        call.num(seconds(lifetime.saturating_add(DAY))).num(counts.times().len());
        for (told, at) in counts.times() {
            call.arg(field(*hour, true, told)).num(at);
        }
        call.num(counts.counts().len());
        for (told, count) in counts.counts() {
            call.arg(field(*hour, false, told)).num(count);
        }
        call
    };
    link.run_all::<i64>(counted.iter().map(call).collect()).await?;
    Ok(())
}

pub(super) async fn counts(link: &Link, endpoint: &EndpointId, hours: RangeInclusive<Hour>) -> Result<DeliveryCounts> {
    let first = hours.start().0.max(hours.end().0.saturating_sub(HOURS_MAX - 1));
    let days = first / DAY_HOURS..=hours.end().0 / DAY_HOURS;
    let mut pipe = Pipeline::new();
    for day in days.clone() {
        pipe.add_command(Cmd::new().arg("HGETALL").arg(Partition::FIRST.key(&name(day, endpoint))).clone());
    }
    let mut sum = DeliveryCounts::default();
    for (day, answer) in days.zip(link.pipe(&pipe).await?) {
        for (name, value) in read::<BTreeMap<String, i64>>(answer?)? {
            let (hour, one) = parse(&name, value).ok_or_else(|| corrupt("a count of deliveries"))?;
            if (first..=hours.end().0).contains(&(day * DAY_HOURS + hour)) {
                sum.merge(one);
            }
        }
    }
    Ok(sum)
}

/// The hour of the day, and what it tells.
fn parse(name: &str, value: i64) -> Option<(u32, DeliveryCounts)> {
    let (hour, rest) = name.split_at_checked(2)?;
    let one = match rest.split_at_checked(1)? {
        ("@", told) => DeliveryCounts::new(BTreeMap::new(), [(told.to_owned(), value)].into()),
        ("#", told) => DeliveryCounts::new([(told.to_owned(), value.try_into().ok()?)].into(), BTreeMap::new()),
        _ => return None,
    };
    Some((hour.parse().ok()?, one))
}

pub(super) async fn pending_to(link: &Link, endpoint: &EndpointId) -> Result<usize> {
    let call = |partition| {
        let mut call = Call::new(&scripts::PENDING_TO, partition, &["lanes"]);
        call.arg(endpoint.as_str());
        call
    };
    Ok(link.run_all::<usize>(all().map(call).collect()).await?.into_iter().sum())
}

#[async_trait]
impl Counts for RedisStore {
    async fn count_deliveries(&self, counted: &Counted) -> Result<()> {
        count(&self.link, self.lifetimes.events, counted).await
    }

    async fn delivery_counts(&self, endpoint: &EndpointId, hours: RangeInclusive<Hour>) -> Result<DeliveryCounts> {
        counts(&self.link, endpoint, hours).await
    }

    async fn pending_to(&self, endpoint: &EndpointId) -> Result<usize> {
        pending_to(&self.link, endpoint).await
    }
}
