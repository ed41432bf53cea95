//! Looking for what is due in lanes, in all partitions at once.

use std::collections::{HashMap, HashSet};

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

/// A rest of at most so many microseconds is kept by this process alone: a lane that has no permit is put to rest again
/// and again while very many are due, and whoever takes it over has permits of its own.
const SHORT_REST: u64 = 2_000_000;

/// What this process remembers between its calls.
#[derive(Default)]
pub(super) struct Recent {
    pub(super) seen: Seen,
    /// Until when lanes rest that rest for a short time, on the server's clock.
    pub(super) rests: HashMap<EndpointId, i64>,
}

/// In which partitions the last look at what is due found something, and since when it is due. It spares a way to the
/// server and back, and nothing else depends on it.
#[derive(Default)]
pub(super) struct Seen(HashMap<(EndpointId, Class), Vec<(i64, Partition)>>);

impl Seen {
    pub(super) fn add(&mut self, endpoint: &EndpointId, class: Class, due: i64, partition: Partition) {
        self.0.entry((endpoint.clone(), class)).or_default().push((due, partition));
    }

    fn spots(&self, wants: &[Want]) -> Vec<Spot> {
        let mut spots = Vec::new();
        for (number, want) in wants.iter().enumerate() {
            for class in Class::ALL {
                let seen = self.0.get(&(want.endpoint.clone(), class)).cloned().unwrap_or_default();
                spots.extend(first(seen, want.limit).map(|partition| (partition, number, class)));
            }
        }
        spots
    }
}

/// Of so many deliveries that are due the longest, all are in as many partitions whose first is due the longest.
fn first(mut seen: Vec<(i64, Partition)>, limit: usize) -> impl Iterator<Item = Partition> {
    seen.sort_unstable();
    seen.into_iter().take(limit).map(|(_, partition)| partition)
}

/// What one lane has due, by class.
pub(super) type Found = [Vec<Candidate>; CLASSES];
const CLASSES: usize = Class::ALL.len();

/// One class of a lane by its number, in one partition.
type Spot = (Partition, usize, Class);

/// Where something is due.
#[derive(Default)]
pub(super) struct Looked {
    now: i64,
    spots: Vec<Spot>,
}

/// Most partitions have nothing due in most lanes: their indexes tell which have. What the last look at what is due saw is
/// asked for at the same time. Puts lanes to rest or ends their rest.
pub(super) async fn look(store: &RedisStore, wants: &[Want], places: &[Places]) -> Result<(Looked, Vec<Found>)> {
    let mut found = vec![Found::default(); wants.len()];
    if wants.is_empty() {
        return Ok((Looked::default(), found));
    }
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
    let seen = store.recent().seen.spots(wants);
    ask(&mut calls, wants, places, &seen);
    let mut answers = store.link.run(calls).await?.into_iter();
    let now = time(answers.next())?;
    let mut scores = Vec::new();
    for answer in answers.by_ref().take(all().count()) {
        let passed_over = store.link.passes_over(&answer);
        scores.push(if passed_over { Vec::new() } else { read::<Vec<Option<i64>>>(answer?)? });
    }
    hear(store, &mut answers, &mut found, &seen, now)?;
    let (mut calls, mut spots, mut needed) = (Vec::new(), Vec::new(), Vec::new());
    for (number, want) in wants.iter().enumerate() {
        let is_long = rest(&mut store.recent().rests, want, now);
        let mut due: [Vec<(i64, Partition)>; CLASSES] = Default::default();
        let mut is_resting = is_long;
        for (partition, scores) in all().zip(&scores) {
            let Some([classes @ .., rest]) = scores.chunks(CLASSES + 1).nth(number) else { continue };
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
                needed.extend(first(due, most).map(|partition| (partition, number, class)));
            }
        }
    }
    for answer in store.link.run(calls).await?.into_iter().filter(|answer| !store.link.passes_over(answer)) {
        read::<i64>(answer?)?;
    }
    let seen: HashSet<Spot> = seen.into_iter().collect();
    needed.retain(|spot| !seen.contains(spot));
    peek(store, wants, places, &Looked { now, spots: needed }, &mut found).await?;
    Ok((Looked { now, spots }, found))
}

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
