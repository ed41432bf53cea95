//! Looking for what is due in lanes, in all partitions at once.

use std::collections::HashMap;

use redis::Value;

use super::keys::{Partition, all, letter, stamp};
use super::link::{Call, corrupt, read};
use super::queue::time;
use super::rows::micros;
use super::{RedisStore, scripts};
use crate::domain::delivery::Class;
use crate::domain::id::EndpointId;
use crate::store::{Result, Want};

/// What a delivery is called in its lane.
#[derive(Clone)]
pub(super) enum Entry {
    /// Its place among those never tried, which are taken from the head.
    Fresh(usize),
    /// Its entry.
    Again(String),
}

/// What could be taken.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) due: u64,
    /// The number of its lane among those asked for.
    pub(super) want: usize,
    pub(super) class: Class,
    pub(super) partition: Partition,
    pub(super) entry: Entry,
}

/// The places that a lane has left in this call.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) all: usize,
    /// Those kept for the less urgent class, once that is known.
    pub(super) kept: Option<usize>,
    /// Those that replays get, once that is known.
    pub(super) low: Option<usize>,
    /// Those that replays may have.
    pub(super) low_max: usize,
}

/// What one lane has due, by class.
pub(super) type Found = [Vec<Candidate>; CLASSES];
const CLASSES: usize = Class::ALL.len();

/// One class of a lane by its number, in one partition.
pub(super) type Spot = (Partition, usize, Class);

/// Where something is due.
#[derive(Default)]
pub(super) struct Looked {
    now: i64,
    pub(super) spots: Vec<Spot>,
    /// Whether nobody looked, for it was remembered.
    pub(super) is_known: bool,
    /// Whether all partitions were seen.
    pub(super) is_whole: bool,
}

/// What the first way to the server and back tells of one lane.
#[derive(Default)]
pub(super) struct Sight {
    /// Then, on the server's clock.
    now: i64,
    /// Of each partition when each class falls due first, and when the lane's rest ends.
    scores: Vec<(Partition, Vec<Option<i64>>)>,
    /// Where it was seen what is due, and that.
    peeked: Vec<(Partition, Class)>,
    found: Found,
}

impl Sight {
    /// How many are known to be due.
    pub(super) fn len(&self) -> usize {
        self.found.iter().map(Vec::len).sum()
    }
}

/// Of so many deliveries that are due the longest, all are in as many partitions whose first is due the longest.
pub(super) fn first(mut seen: Vec<(i64, Partition)>, limit: usize) -> impl Iterator<Item = Partition> {
    seen.sort_unstable();
    seen.into_iter().take(limit).map(|(_, partition)| partition)
}

/// Most partitions have nothing due in most lanes: their indexes tell which have. What is at these spots is asked for at
/// the same time.
pub(super) fn glance(wants: &[Want], places: &[Places], spots: &[Spot]) -> Vec<Call> {
    let mut calls = vec![Call::plain(&["TIME"])];
    for partition in all() {
        let mut call = Call::plain(&["ZMSCORE", &partition.key("lanes")]);
        for want in wants {
            for class in Class::ALL {
                call.arg(format!("{}{}", letter(class), want.endpoint));
            }
            call.arg(format!(" {}", want.endpoint));
        }
        calls.push(call);
    }
    ask(&mut calls, wants, places, spots);
    calls
}

/// What that answers, of each lane.
pub(super) fn sighted(
    store: &RedisStore,
    answers: Vec<Result<Value>>,
    wants: &[Want],
    spots: &[Spot],
) -> Result<Vec<Sight>> {
    let mut answers = answers.into_iter();
    let now = time(answers.next())?;
    let mut sights: Vec<Sight> = wants.iter().map(|_| Sight { now, ..Sight::default() }).collect();
    for (partition, answer) in all().zip(answers.by_ref()) {
        if store.link.passes_over(&answer) {
            continue;
        }
        let scores: Vec<Option<i64>> = read(answer?)?;
        for (sight, scores) in sights.iter_mut().zip(scores.chunks(CLASSES + 1)) {
            sight.scores.push((partition, scores.to_vec()));
        }
    }
    let mut found = vec![Found::default(); wants.len()];
    hear(store, &mut answers, &mut found, spots, now)?;
    for (sight, found) in sights.iter_mut().zip(found) {
        sight.found = found;
    }
    for &(partition, number, class) in spots {
        if let Some(sight) = sights.get_mut(number) {
            sight.peeked.push((partition, class));
        }
    }
    Ok(sights)
}

/// Sees what is due in lanes, where it is not known from when they were last leased from. Puts lanes to rest or ends their
/// rest.
pub(super) async fn look(store: &RedisStore, wants: &[Want], places: &[Places]) -> Result<(Looked, Vec<Found>)> {
    if wants.is_empty() {
        return Ok((Looked::default(), Vec::new()));
    }
    let known = store.recent().recall(wants, store.clock.elapsed());
    let is_known = known.is_some();
    let sights = match known {
        Some(sights) => sights,
        None => {
            let spots = store.recent().seen.spots(wants);
            let answers = store.link.run(glance(wants, places, &spots)).await?;
            sighted(store, answers, wants, &spots)?
        }
    };
    let now = sights.iter().map(|sight| sight.now).min().unwrap_or_default();
    let is_whole = sights.iter().all(|sight| sight.scores.len() == all().count());
    let (mut calls, mut spots, mut needed, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, (want, mut sight)) in wants.iter().zip(sights).enumerate() {
        sight.found.iter_mut().flatten().for_each(|candidate| candidate.want = number);
        let is_long = rest(&mut store.recent().rests, want, now);
        let mut due: [Vec<(i64, Partition)>; CLASSES] = Default::default();
        let mut is_resting = is_long;
        for (partition, scores) in sight.scores {
            let [classes @ .., rest] = scores.as_slice() else { continue };
            if is_long || rest.is_some() {
                calls.push(rest_call(partition, want, is_long));
                is_resting = true;
            }
            // What rests may be due all the same.
            let may_be = |score: &Option<i64>| score.filter(|score| *score <= now || is_long || rest.is_some());
            for (due, score) in due.iter_mut().zip(classes) {
                due.extend(may_be(score).map(|score| (score, partition)));
            }
        }
        let most = if is_resting { usize::MAX } else { want.limit };
        for (class, due) in Class::ALL.into_iter().zip(due) {
            if want.limit > 0 {
                spots.extend(due.iter().map(|(_, partition)| (*partition, number, class)));
                let unseen = first(due, most).filter(|partition| !sight.peeked.contains(&(*partition, class)));
                needed.extend(unseen.map(|partition| (partition, number, class)));
            }
        }
        found.push(sight.found);
    }
    for answer in store.link.run(calls).await?.into_iter().filter(|answer| !store.link.passes_over(answer)) {
        read::<i64>(answer?)?;
    }
    peek(store, wants, places, &Looked { now, spots: needed, ..Looked::default() }, &mut found).await?;
    Ok((Looked { now, spots, is_known, is_whole }, found))
}

/// A rest of at most so many microseconds is kept by this process alone: a lane that has no permit is put to rest again
/// and again while very many are due, and whoever takes it over has permits of its own.
const SHORT_REST: u64 = 2_000_000;

/// Notes a short rest, or that there is none any more. Answers whether it is to be told to all.
fn rest(rests: &mut HashMap<EndpointId, i64>, want: &Want, now: i64) -> bool {
    let rest = want.rest.map(micros);
    match rest.filter(|rest| *rest <= SHORT_REST) {
        Some(rest) => rests.insert(want.endpoint.clone(), now.saturating_add_unsigned(rest)),
        None => rests.remove(&want.endpoint),
    };
    rest.is_some_and(|rest| rest > SHORT_REST)
}

fn rest_call(partition: Partition, want: &Want, is_long: bool) -> Call {
    let mut call = Call::new(&scripts::REST, partition, &["lanes"]);
    call.num(1).arg(want.endpoint.as_str());
    let rest = want.rest.filter(|_| is_long).map(micros);
    call.arg(rest.map_or(String::new(), |rest| rest.to_string()));
    call
}

/// Sees what is due there, the longest due first.
pub(super) async fn peek(
    store: &RedisStore,
    wants: &[Want],
    places: &[Places],
    looked: &Looked,
    found: &mut [Found],
) -> Result<()> {
    let mut calls = Vec::new();
    ask(&mut calls, wants, places, &looked.spots);
    hear(store, &mut store.link.run(calls).await?.into_iter(), found, &looked.spots, looked.now)?;
    for class in found.iter_mut().flatten() {
        class.sort_by_key(|candidate| candidate.due);
    }
    Ok(())
}

fn ask(calls: &mut Vec<Call>, wants: &[Want], places: &[Places], spots: &[Spot]) {
    for (partition, number, class) in spots {
        let Some((want, places)) = wants.get(*number).zip(places.get(*number)) else { continue };
        let tail = format!("{}:{}", letter(*class), want.endpoint);
        // A place at least, for this is asked all the same when none is left.
        let len = places.all.max(1);
        let mut fresh = Call::plain(&["LRANGE", &partition.key(&format!("f:{tail}")), "0"]);
        fresh.num(len - 1);
        let mut again = Call::plain(&["ZRANGE", &partition.key(&format!("q:{tail}")), "0"]);
        again.num(len - 1).arg("WITHSCORES");
        calls.extend([fresh, again]);
    }
}

/// Adds what is due there: what was never tried, and the rest.
fn hear(
    store: &RedisStore,
    answers: &mut impl Iterator<Item = Result<Value>>,
    found: &mut [Found],
    spots: &[Spot],
    now: i64,
) -> Result<()> {
    let mut next = || answers.next().unwrap_or_else(|| Err(corrupt("no answer")));
    for &(partition, want, class) in spots {
        let (fresh, again) = (next(), next());
        if store.link.passes_over(&fresh) || store.link.passes_over(&again) {
            continue;
        }
        let (fresh, again) = (fresh?, again?);
        let Some(into) = found.get_mut(want).and_then(|found| found.get_mut(class as usize)) else { continue };
        let one = |due, entry| Candidate { due, want, class, partition, entry };
        for (place, entry) in read::<Vec<Vec<u8>>>(fresh)?.into_iter().enumerate() {
            let due = stamp(&entry).ok_or_else(|| corrupt("a lane's entry"))?;
            into.push(one(due, Entry::Fresh(place)));
        }
        for (entry, due) in read::<Vec<(String, i64)>>(again)? {
            if due <= now {
                into.push(one(due.unsigned_abs(), Entry::Again(entry)));
            }
        }
    }
    Ok(())
}
