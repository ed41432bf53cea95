//! Taking leases: look at what is due in all partitions, choose fairly, then take what is still due.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::Cmd;

use super::keys::{Partition, all, lane_member, letter};
use super::link::{Call, corrupt};
use super::rows::{micros, seconds};
use super::{RedisStore, scripts};
use crate::crash;
use crate::domain::delivery::Class;
use crate::domain::id::{EndpointId, EventId, MailKey};
use crate::domain::plan::Generation;
use crate::store::{Lease, Leased, Result, Want};

/// The other class has one place in so many.
const KEPT_PART: usize = 4;
/// The most leases of one lane in one call.
const LEASES_MAX: usize = 1_000;

/// What could be taken.
#[derive(Clone)]
struct Candidate {
    due: u64,
    partition: Partition,
    endpoint: EndpointId,
    class: Class,
    mail: MailKey,
    event: EventId,
    hold: Duration,
}

/// What each lane's less urgent class is owed, in places, while the urgent one would take all.
pub(super) type Credits = HashMap<EndpointId, usize>;

pub(super) async fn lease(store: &RedisStore, wants: &[Want]) -> Result<Leased> {
    let mut picks = Vec::new();
    if !wants.is_empty() {
        let found = look(store, wants).await?;
        let mut credits = store.credits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (want, (high, normal)) in wants.iter().zip(found) {
            picks.extend(choose(want, high, normal, &mut credits));
        }
    }
    let leases = if picks.is_empty() { Vec::new() } else { take(store, picks).await? };
    if !leases.is_empty() {
        crash::point("lease.committed");
    }
    // Read last, so that a sender hears of every change that was made before it was given its leases.
    let mut get = Cmd::new();
    get.arg("GET").arg(Partition::FIRST.key("generation"));
    let generation: Option<u64> = store.link.send(get).await?;
    Ok(Leased { leases, generation: Generation(generation.unwrap_or_default()) })
}

type Found = (Vec<Candidate>, Vec<Candidate>);
/// The due members of each class of a lane, with their scores.
type Peeked = Vec<Vec<(String, u64)>>;

async fn look(store: &RedisStore, wants: &[Want]) -> Result<Vec<Found>> {
    let calls: Vec<Call> = all().map(|partition| peek(partition, wants)).collect();
    let answers: Vec<Vec<Peeked>> = store.link.run_all(&calls).await?;
    let mut found: Vec<Found> = wants.iter().map(|_| Found::default()).collect();
    for (partition, lanes) in all().zip(answers) {
        for ((want, classes), (high, normal)) in wants.iter().zip(lanes).zip(&mut found) {
            for (class, members) in Class::ALL.into_iter().zip(classes) {
                let into = if class == Class::High { &mut *high } else { &mut *normal };
                for (member, due) in members {
                    let (mail, event) = lane_member(&member).ok_or_else(|| corrupt("a lane's member"))?;
                    let (endpoint, hold) = (want.endpoint.clone(), want.hold);
                    into.push(Candidate { due, partition, endpoint, class, mail, event, hold });
                }
            }
        }
    }
    for (high, normal) in &mut found {
        high.sort_by_key(|candidate| candidate.due);
        normal.sort_by_key(|candidate| candidate.due);
    }
    Ok(found)
}

fn peek(partition: Partition, wants: &[Want]) -> Call {
    let mut call = Call::new(&scripts::PEEK, partition, &["lanes", "rest"]);
    call.num(wants.len());
    for want in wants {
        call.arg(want.endpoint.as_str()).num(want.limit.min(LEASES_MAX));
        call.arg(want.rest.map_or(String::new(), |rest| micros(rest).to_string()));
    }
    call
}

/// The urgent first, but of every four places one is kept for the others; where fewer are asked for at a time, the
/// places they are owed add up over the calls.
fn choose(want: &Want, mut high: Vec<Candidate>, mut normal: Vec<Candidate>, credits: &mut Credits) -> Vec<Candidate> {
    let limit = want.limit.min(LEASES_MAX);
    let mut owed = 0;
    if !normal.is_empty() && high.len() + normal.len() > limit {
        let credit = credits.entry(want.endpoint.clone()).or_default();
        *credit += limit;
        owed = *credit / KEPT_PART;
        *credit %= KEPT_PART;
    } else {
        credits.remove(&want.endpoint);
    }
    let kept = owed.min(normal.len()).min(limit);
    high.truncate(limit - kept);
    normal.truncate(limit - high.len());
    high.append(&mut normal);
    high
}

async fn take(store: &RedisStore, picks: Vec<Candidate>) -> Result<Vec<Lease>> {
    let mut by_partition: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
    for (place, pick) in picks.iter().enumerate() {
        by_partition.entry(pick.partition).or_default().push(place);
    }
    let mut calls = Vec::new();
    for (partition, places) in &by_partition {
        let mut call = Call::new(&scripts::TAKE, *partition, &["lanes", "rest", "st:pending"]);
        call.num(seconds(store.lifetimes.events)).num(places.len());
        for pick in places.iter().filter_map(|place| picks.get(*place)) {
            call.arg(pick.endpoint.as_str()).arg(letter(pick.class)).num(pick.mail);
            call.arg(pick.event.as_str()).num(micros(pick.hold));
        }
        calls.push(call);
    }
    let mut answers: Vec<Option<Vec<Vec<u8>>>> = picks.iter().map(|_| None).collect();
    let mut failed = None;
    for (places, result) in by_partition.values().zip(store.link.run(&calls).await?) {
        match result.and_then(super::link::read::<Vec<Vec<Vec<u8>>>>) {
            Ok(taken) => {
                for (place, one) in places.iter().zip(taken) {
                    if let Some(slot) = answers.get_mut(*place) {
                        *slot = Some(one);
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    let mut leases = Vec::new();
    for (pick, answer) in picks.into_iter().zip(answers) {
        leases.extend(answer.map(|answer| leased(pick, &answer)).transpose()?.flatten());
    }
    match failed {
        // What was taken is sent all the same; what failed is still due.
        Some(error) if leases.is_empty() => Err(error),
        Some(error) => {
            tracing::warn!(%error, "could not lease from every partition");
            Ok(leases)
        }
        None => Ok(leases),
    }
}

fn leased(pick: Candidate, answer: &[Vec<u8>]) -> Result<Option<Lease>> {
    let [token, number, json] = answer else { return Ok(None) };
    let Candidate { endpoint, class, mail, event, hold, .. } = pick;
    let number_of = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u64>().ok());
    let unreadable = || corrupt("a lease that cannot be read");
    let stored = if json.is_empty() { None } else { Some(serde_json::from_slice(json)) };
    // One unreadable event must not block its lane: it is as if it had expired.
    let stored = stored.and_then(|read: serde_json::Result<_>| {
        read.inspect_err(|error| tracing::error!(event = %event, %error, "a stored event cannot be read")).ok()
    });
    Ok(Some(Lease {
        event_id: event,
        endpoint,
        class,
        mail,
        number: number_of(number).and_then(|number| u32::try_from(number).ok()).ok_or_else(unreadable)?,
        token: number_of(token).ok_or_else(unreadable)?,
        hold,
        event: stored,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(class: Class, count: usize) -> Vec<Candidate> {
        let one = Candidate {
            due: 0,
            partition: Partition::FIRST,
            endpoint: "wh_1".into(),
            class,
            mail: MailKey(1),
            event: "evt_1".into(),
            hold: Duration::ZERO,
        };
        vec![one; count]
    }

    fn normals(limit: usize, high: usize, normal: usize, credits: &mut Credits) -> usize {
        let want = Want { endpoint: "wh_1".into(), limit, hold: Duration::ZERO, rest: None };
        let (high, normal) = (candidates(Class::High, high), candidates(Class::Normal, normal));
        let chosen = choose(&want, high, normal, credits);
        chosen.iter().filter(|candidate| candidate.class == Class::Normal).count()
    }

    #[test]
    fn a_quarter_is_kept_for_the_less_urgent_and_none_is_wasted() {
        let mut credits = Credits::new();
        assert_eq!(normals(8, 20, 20, &mut credits), 2);
        assert_eq!(normals(8, 20, 1, &mut credits), 1);
        assert_eq!(normals(8, 3, 20, &mut credits), 5);
        assert_eq!(normals(8, 20, 0, &mut credits), 0);
    }

    #[test]
    fn one_place_at_a_time_starves_nobody() {
        let mut credits = Credits::new();
        let taken: Vec<_> = (0..8).map(|_| normals(1, 9, 9, &mut credits)).collect();
        assert_eq!(taken, [0, 0, 0, 1, 0, 0, 0, 1]);
    }
}
