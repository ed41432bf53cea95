//! Looking for what is due in lanes, in all partitions at once.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

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
}

/// In which partitions the last look at what is due found something, a bit for each. It spares a way to the server and
/// back, and nothing else depends on it.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<EndpointId, u16>>);

impl Seen {
    pub(super) fn replace(&self, lanes: HashMap<EndpointId, u16>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lanes;
    }

    fn spots(&self, wants: &[Want]) -> Vec<Spot> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = wants.iter().enumerate().filter(|(_, want)| want.limit > 0);
        let bits = wanted.filter_map(|(number, want)| Some((number, *seen.get(&want.endpoint)?)));
        bits.flat_map(|(number, bits)| {
            all().filter(move |partition| bits & partition.bit() != 0).map(move |partition| (partition, number))
        })
        .collect()
    }
}

/// What one lane has due: the urgent, and the others.
pub(super) type Found = (Vec<Candidate>, Vec<Candidate>);

/// A lane by its number, in one partition.
type Spot = (Partition, usize);

/// Where something is due.
pub(super) struct Looked {
    now: i64,
    spots: Vec<Spot>,
}

/// Most partitions have nothing due in most lanes: their indexes tell which have. What the last look at what is due saw is
/// asked for at the same time. Puts lanes to rest or ends their rest.
pub(super) async fn look(store: &RedisStore, wants: &[Want], places: &[Places]) -> Result<(Looked, Vec<Found>)> {
    let mut found = vec![Found::default(); wants.len()];
    if wants.is_empty() {
        return Ok((Looked { now: 0, spots: Vec::new() }, found));
    }
    let mut calls = vec![Call::plain(&["TIME"])];
    for partition in all() {
        let mut call = Call::plain(&["ZMSCORE", &partition.key("lanes")]);
        for want in wants {
            call.arg(want.endpoint.as_str()).arg(format!(" {}", want.endpoint));
        }
        calls.push(call);
    }
    let seen = store.seen.spots(wants);
    ask(&mut calls, wants, places, &seen);
    let mut answers = store.link.run(calls).await?.into_iter();
    let now = time(answers.next())?;
    let (mut calls, mut spots) = (Vec::new(), Vec::new());
    for (partition, answer) in all().zip(answers.by_ref()) {
        let scores: Vec<Option<i64>> = read(answer?)?;
        for (number, (want, scores)) in wants.iter().zip(scores.chunks(2)).enumerate() {
            let [score, rest] = scores else { return Err(corrupt("a lane's place")) };
            let is_resting = rest.is_some() || want.rest.is_some();
            if is_resting {
                calls.push(rest_call(partition, want));
            }
            // What rests may be due all the same.
            if want.limit > 0 && score.is_some_and(|score| score <= now || is_resting) {
                spots.push((partition, number));
            }
        }
    }
    hear(&mut answers, &mut found, &seen, now)?;
    store.link.run_all::<i64>(calls).await?;
    let known: HashSet<Spot> = seen.iter().copied().collect();
    let unseen = spots.into_iter().filter(|spot| !known.contains(spot)).collect();
    let mut looked = Looked { now, spots: unseen };
    peek(store, wants, places, &looked, &mut found).await?;
    looked.spots.extend(seen);
    Ok((looked, found))
}

fn rest_call(partition: Partition, want: &Want) -> Call {
    let mut call = Call::new(&scripts::REST, partition, &["lanes"]);
    call.num(1).arg(want.endpoint.as_str());
    call.arg(want.rest.map_or(String::new(), |rest| micros(rest).to_string()));
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
    hear(&mut store.link.run(calls).await?.into_iter(), found, &looked.spots, looked.now)?;
    for (high, normal) in found {
        high.sort_by_key(|candidate| candidate.due);
        normal.sort_by_key(|candidate| candidate.due);
    }
    Ok(())
}

fn ask(calls: &mut Vec<Call>, wants: &[Want], places: &[Places], spots: &[Spot]) {
    for (partition, number) in spots {
        let Some((want, places)) = wants.get(*number).zip(places.get(*number)) else { continue };
        for class in Class::ALL {
            let tail = format!("{}:{}", letter(class), want.endpoint);
            // A place at least, for this is asked all the same when none is left.
            let len = places.all.max(1);
            let mut fresh = Call::plain(&["LRANGE", &partition.key(&format!("f:{tail}")), "0"]);
            fresh.num(len - 1);
            let mut again = Call::plain(&["ZRANGE", &partition.key(&format!("q:{tail}")), "0"]);
            again.num(len - 1).arg("WITHSCORES");
            calls.extend([fresh, again]);
        }
    }
}

/// Adds what each lane has: of each class those never tried, and the others.
fn hear(
    answers: &mut impl Iterator<Item = Result<Value>>,
    found: &mut [Found],
    spots: &[Spot],
    now: i64,
) -> Result<()> {
    let mut next = || answers.next().unwrap_or_else(|| Err(corrupt("no answer")));
    for &(partition, want) in spots {
        let Some((high, normal)) = found.get_mut(want) else { continue };
        for class in Class::ALL {
            let into = if class == Class::High { &mut *high } else { &mut *normal };
            let one = |due, entry| Candidate { due, want, class, partition, entry };
            for (place, entry) in read::<Vec<Vec<u8>>>(next()?)?.into_iter().enumerate() {
                let due = stamp(&entry).ok_or_else(|| corrupt("a lane's entry"))?;
                into.push(one(due, Entry::Fresh(place)));
            }
            for (entry, due) in read::<Vec<(String, i64)>>(next()?)? {
                if due <= now {
                    into.push(one(due.unsigned_abs(), Entry::Again(entry)));
                }
            }
        }
    }
    Ok(())
}
