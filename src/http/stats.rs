//! `GET /v1/stats`: what came in at all sources and what became of all deliveries, as numbers.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use waypost_providers::Kind;

use super::auth::authorize;
use super::lists::read_query;
use super::openapi::Parameter;
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::delivery::{ErrorClass, Status};
use crate::domain::delivery_counts::{ALL, DeliveryCounts, HOURS_MAX, Hour};
use crate::domain::id::EndpointId;
use crate::domain::tally::Outcome;

const HOURS_DEFAULT: u32 = 24;
/// What all the reasons for no answer are to those who are no admins.
const NO_ANSWER: &str = "no_answer";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    hours: Option<String>,
}

/// How many hours are asked for.
pub(super) fn hours() -> Parameter {
    let schema = json!({ "type": "integer", "minimum": 1, "maximum": HOURS_MAX, "default": HOURS_DEFAULT });
    Parameter::query_like("hours", "Of how many hours, this one being the last.", schema)
}

/// Attempts and deliveries of some hours.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeliveryStats {
    /// The beginning of the first of the hours.
    since: Timestamp,
    attempts: AttemptStats,
    /// Deliveries that ended, by how; `failed` are dead letters.
    ended: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure_at: Option<Timestamp>,
}

/// Attempts, by what became of them.
#[derive(Debug, Serialize, JsonSchema)]
struct AttemptStats {
    succeeded: u64,
    /// By the hundred of the status, or why there was no answer.
    failed: BTreeMap<String, u64>,
}

/// The hours that a query asks for.
pub(super) fn asked(gateway: &Gateway, query: &str) -> Result<RangeInclusive<Hour>, Problem> {
    let Query { hours } = read_query(query)?;
    let wrong = || Problem::BadQuery(format!("`hours` is a number from 1 to {HOURS_MAX}"));
    let read = |text: String| text.parse().ok().filter(|hours| (1..=HOURS_MAX).contains(hours)).ok_or_else(wrong);
    Ok(Hour::of(gateway.clock.now()).last(hours.map_or(Ok(HOURS_DEFAULT), read)?))
}

/// The numbers of an endpoint in these hours.
pub(super) async fn delivery_stats(
    gateway: &Gateway,
    endpoint: &EndpointId,
    hours: RangeInclusive<Hour>,
    is_admin: bool,
) -> Result<DeliveryStats, Problem> {
    let since = hours.start().start();
    Ok(shown(&gateway.store.delivery_counts(endpoint, hours).await?, since, is_admin))
}

fn shown(counts: &DeliveryCounts, since: Timestamp, is_admin: bool) -> DeliveryStats {
    let is_error = |class: &str| ErrorClass::ALL.iter().any(|error| error.as_str() == class);
    let mut failed: BTreeMap<String, u64> = BTreeMap::new();
    for (class, count) in counts.failed() {
        let class = if !is_admin && is_error(class) { NO_ANSWER } else { class };
        *failed.entry(class.to_owned()).or_default() += count;
    }
    let ended = Status::ALL.into_iter().filter(|status| *status != Status::Pending);
    DeliveryStats {
        since,
        attempts: AttemptStats { succeeded: counts.succeeded(), failed },
        ended: ended.map(|status| (status.as_str(), counts.ended_as(status))).collect(),
        success_rate: counts.success_rate(),
        last_success_at: counts.last_success(),
        last_failure_at: counts.last_failure(),
    }
}

/// How often something came in at a source.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReceivedCount")]
struct Received {
    source: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    outcome: Outcome,
    count: u64,
}

/// What is shown of everything.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Stats {
    /// By source, type and outcome, ever since.
    received: Vec<Received>,
    /// The same by outcome alone.
    received_total: BTreeMap<&'static str, u64>,
    deliveries: DeliveryStats,
}

/// `GET /v1/stats?hours=`: what came in at the sources of the config, ever since, and what became of deliveries in the last
/// hours, 24 unless told; with a key of scope `read`.
pub(super) async fn stats(request: HttpRequest, gateway: Data<Gateway>) -> Result<Json<Stats>, Problem> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let hours = asked(&gateway, request.query_string())?;
    let deliveries = delivery_stats(&gateway, &EndpointId::from(ALL), hours, key.may(Scope::Admin)).await?;
    let names: Vec<String> = gateway.sources.all().keys().cloned().collect();
    let tallies = gateway.store.tallies(names.clone()).await?;
    let (mut received, mut received_total) = (Vec::new(), BTreeMap::new());
    for (source, tally) in names.into_iter().zip(tallies) {
        // Without what its provider calls it.
        let mut sums: BTreeMap<(Option<&str>, &str), Received> = BTreeMap::new();
        for one in tally.counts() {
            let (kind, outcome) = (one.kind, one.outcome);
            *received_total.entry(outcome.as_str()).or_default() += one.count;
            let sum = sums.entry((kind.map(Kind::as_str), outcome.as_str()));
            let sum = sum.or_insert_with(|| Received { source: source.clone(), kind, outcome, count: 0 });
            sum.count += one.count;
        }
        received.extend(sums.into_values());
    }
    Ok(Json(Stats { received, received_total, deliveries }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_was_no_answer_is_told_to_admins_only() {
        let told = [("failed|5xx", 1), ("failed|blocked", 2), ("failed|timeout", 3), ("ended|failed", 1)];
        let told = told.map(|(field, count)| (field.to_owned(), count));
        let counts = DeliveryCounts::new(told.into(), BTreeMap::new());
        let failed = |is_admin| shown(&counts, Timestamp::UNIX_EPOCH, is_admin).attempts.failed;
        assert_eq!(failed(true), [("5xx".into(), 1), ("blocked".into(), 2), ("timeout".into(), 3)].into());
        assert_eq!(failed(false), [("5xx".into(), 1), ("no_answer".into(), 5)].into());
    }
}
