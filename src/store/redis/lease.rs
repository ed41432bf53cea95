//! Taking leases: look at what is due in all partitions, choose fairly, then take what is still due.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use super::keys::{Partition, lane_entry, letter};
use super::link::{Call, corrupt, read};
use super::look::{Candidate, Entry, Found, Looked, Places, Spot, glance, look, peek, sighted};
use super::read::{is_erased, parse};
use super::rows::micros;
use super::{RedisStore, scripts};
use crate::crash;
use crate::domain::delivery::{Class, Owed};
use crate::domain::id::EndpointId;
use crate::domain::plan::Generation;
use crate::store::{Lease, Leased, Result, Want};

/// The other class has one place in so many.
const KEPT_PART: usize = 4;
/// The most leases of one lane in one call.
const LEASES_MAX: usize = 1_000;

/// At least so many of a lane are looked at further: what is asked for next may be more than the last time.
const FURTHER_LEN: usize = 32;
/// No more lanes than these are.
const FURTHER_LANES_MAX: usize = 8;

/// The most rounds of one call: each finds at least one that may not go yet or is another's, and does not find it again.
const ROUNDS_MAX: usize = 10;

/// What each lane's less urgent class is owed, in places, while the urgent one would take all; and what its replays are.
#[derive(Default)]
pub(super) struct Credits {
    normal: HashMap<EndpointId, usize>,
    low: HashMap<EndpointId, Owed>,
}

pub(super) async fn lease(store: &RedisStore, wants: &[Want]) -> Result<Leased> {
    let of = |want: &Want| Places {
        all: want.limit.min(LEASES_MAX),
        kept: None,
        low: None,
        low_max: want.replays.min(LEASES_MAX),
    };
    let mut places: Vec<Places> = wants.iter().map(of).collect();
    let (mut looked, mut found) = look(store, wants, &places).await?;
    let further = further(store, wants, &places, &found, &looked);
    let mut leased = Leased::default();
    for round in 0..ROUNDS_MAX {
        if round > 0 && looked.is_known {
            // It may be another's, or gone.
            (looked, found) = look(store, wants, &places).await?;
        } else if round > 0 {
            found = vec![Found::default(); wants.len()];
            peek(store, wants, &places, &looked, &mut found).await?;
        }
        let mut picks = Vec::new();
        {
            let mut credits = store.credits.lock().unwrap_or_else(PoisonError::into_inner);
            for ((want, places), found) in wants.iter().zip(&mut places).zip(std::mem::take(&mut found)) {
                picks.extend(choose(&want.endpoint, places, found, &mut credits));
            }
        }
        if picks.is_empty() && round > 0 {
            break;
        }
        let (taken, generation) = take(store, wants, group(wants, &picks), further.as_ref()).await?;
        leased.generation = generation;
        let is_all = taken.len() >= picks.len();
        for (want, lease) in taken {
            if let Some(places) = places.get_mut(want) {
                places.all = places.all.saturating_sub(1);
                let of_class = |class| usize::from(lease.class == class);
                places.kept = places.kept.map(|left| left.saturating_sub(of_class(Class::Normal)));
                places.low = places.low.map(|left| left.saturating_sub(of_class(Class::Low)));
                places.low_max = places.low_max.saturating_sub(of_class(Class::Low));
            }
            leased.leases.push(lease);
        }
        if is_all {
            break;
        }
        // Some that were chosen wait for others of their mail. They are out of the way now.
        leased.leases.sort_by_key(|lease| lease.class);
    }
    if !leased.leases.is_empty() {
        crash::point("lease.committed");
    }
    Ok(leased)
}

/// The urgent first, but of every four places one is kept for the others; where fewer are asked for at a time, the
/// places they are owed add up over the calls. Replays get what [`Owed::places`] says.
fn choose(lane: &EndpointId, places: &mut Places, found: Found, credits: &mut Credits) -> Vec<Candidate> {
    let [mut high, mut normal, mut low] = found;
    let live = high.len() + normal.len();
    low.truncate(places.low_max);
    let lows = places.low.unwrap_or_else(|| replays(lane, places.all, live, low.len(), &mut credits.low));
    places.low = Some(lows);
    low.truncate(lows.max(places.all.saturating_sub(live)));
    let limit = places.all.saturating_sub(low.len());
    let credits = &mut credits.normal;
    let owed = places.kept.unwrap_or_else(|| {
        if normal.is_empty() || live <= limit {
            credits.remove(lane);
            return 0;
        }
        let credit = credits.entry(lane.clone()).or_default();
        *credit += limit;
        let owed = *credit / KEPT_PART;
        *credit %= KEPT_PART;
        owed
    });
    places.kept = Some(owed);
    let kept = owed.min(normal.len()).min(limit);
    high.truncate(limit - kept);
    normal.truncate(limit - high.len());
    high.append(&mut normal);
    high.append(&mut low);
    high
}

/// How many places replays get. A lane that owes them nothing is not remembered.
fn replays(
    lane: &EndpointId,
    limit: usize,
    live: usize,
    replays: usize,
    credits: &mut HashMap<EndpointId, Owed>,
) -> usize {
    if replays == 0 {
        credits.remove(lane);
        return 0;
    }
    credits.entry(lane.clone()).or_default().places(limit, live, replays)
}

/// One partition's part of what is to be taken: lanes by their number and class, each with how many at its head to take
/// from, and others with when they are due.
type Part<'a> = BTreeMap<(usize, Class), (usize, Vec<(&'a str, u64)>)>;
/// A call, and the lanes it asks.
type Taking = (Call, Vec<(usize, Class)>);

fn group(wants: &[Want], picks: &[Candidate]) -> Vec<Taking> {
    let mut parts: BTreeMap<Partition, Part<'_>> = BTreeMap::new();
    for pick in picks {
        let lane = parts.entry(pick.partition).or_default().entry((pick.want, pick.class)).or_default();
        match &pick.entry {
            Entry::Again(entry) => lane.1.push((entry, pick.due)),
            Entry::Fresh(place) => lane.0 = lane.0.max(place + 1),
        }
    }
    let mut calls = Vec::with_capacity(parts.len());
    for (partition, part) in parts {
        let mut call = Call::new(&scripts::TAKE, partition, &["lanes"]);
        call.num(part.len());
        for ((number, class), (fresh, again)) in &part {
            let Some(want) = wants.get(*number) else { continue };
            call.arg(want.endpoint.as_str()).arg(letter(*class)).num(micros(want.hold));
            call.num(*fresh).num(again.len());
            for (entry, due) in again {
                call.arg(entry).num(due);
            }
        }
        calls.push((call, part.into_keys().collect()));
    }
    calls
}

/// What was taken, as its script answers it: entry, when it was due, token, number, event.
type Taken = (String, u64, u64, u32, Vec<u8>);

/// What is leased, with the number of its lane.
type Numbered = Vec<(usize, Lease)>;

/// Where to look at what is left of lanes, while some of it is taken.
struct Further {
    places: Vec<Places>,
    spots: Vec<Spot>,
}

/// That of lanes which have all they are asked for, and had a moment ago. Of a few only: it is for those that are asked again
/// and again, and what is leased waits for it.
fn further(store: &RedisStore, wants: &[Want], places: &[Places], found: &[Found], looked: &Looked) -> Option<Further> {
    let is_filled = |((want, places), found): ((&Want, &Places), &Found)| {
        want.limit > 0 && want.rest.is_none() && found.iter().map(Vec::len).sum::<usize>() >= places.all
    };
    let are_filled = wants.iter().zip(places).zip(found).all(is_filled);
    if !are_filled || wants.len() > FURTHER_LANES_MAX || !looked.is_whole {
        return None;
    }
    let more = |places: &Places| Places { all: places.all.max(FURTHER_LEN), ..*places };
    let is_again = store.recent().fill(wants, store.clock.elapsed());
    is_again.then(|| Further { places: places.iter().map(more).collect(), spots: looked.spots.clone() })
}

/// Takes, and looks further, so that the next call need not.
async fn take(
    store: &RedisStore,
    wants: &[Want],
    takings: Vec<Taking>,
    further: Option<&Further>,
) -> Result<(Numbered, Generation)> {
    let (calls, lanes): (Vec<Call>, Vec<_>) = takings.into_iter().unzip();
    let mut then = further.map_or_else(Vec::new, |further| glance(wants, &further.places, &further.spots));
    // Read last, so that a sender hears of every change that was made before it was given its leases.
    then.push(Call::plain(&["GET", &Partition::FIRST.key("generation")]));
    let began = store.clock.elapsed();
    let mut answers = store.link.run_then(calls, then).await?;
    let generation = answers.pop().ok_or_else(|| corrupt("no generation"))?;
    let generation: u64 = read::<Option<u64>>(generation?)?.unwrap_or_default();
    let seen = answers.split_off(lanes.len());
    if let Some(Further { places, spots }) = further
        && let Ok(sights) = sighted(store, seen, wants, spots)
    {
        store.recent().remember(wants, places, sights, began);
    }
    let (mut leases, mut failed) = (Vec::new(), None);
    for (lanes, answer) in lanes.into_iter().zip(answers) {
        match answer.and_then(read::<Vec<Vec<Taken>>>) {
            Ok(answer) => {
                for ((number, class), taken) in lanes.into_iter().zip(answer) {
                    let Some(want) = wants.get(number) else { continue };
                    for one in taken {
                        let due = one.1;
                        leases.push(((number, class, due), leased(want, class, one)?));
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    leases.sort_by_key(|(place, _)| *place);
    match failed {
        // What was taken is sent all the same; what failed is still due.
        Some(error) if leases.is_empty() => return Err(error),
        Some(error) => tracing::warn!(%error, "could not lease from every partition"),
        None => {}
    }
    Ok((leases.into_iter().map(|((number, ..), lease)| (number, lease)).collect(), Generation(generation)))
}

fn leased(want: &Want, class: Class, (entry, _, token, number, kept): Taken) -> Result<Lease> {
    let (mail, event_id, replay) = lane_entry(&entry).ok_or_else(|| corrupt("a lane's entry"))?;
    let stored = if kept.is_empty() || is_erased(&kept) { None } else { Some(parse(&kept)) };
    // One unreadable event must not block its lane: it is as if it had expired.
    let stored = stored.and_then(|read| {
        read.inspect_err(|error| tracing::error!(event = %event_id, %error, "a stored event cannot be read")).ok()
    });
    let (endpoint, hold, event) = (want.endpoint.clone(), want.hold, stored.map(|(_, event)| Arc::new(event)));
    Ok(Lease { event_id, endpoint, replay, class, mail, number, token, hold, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(class: Class, count: usize) -> Vec<Candidate> {
        let one = Candidate { due: 0, want: 0, class, partition: Partition::FIRST, entry: Entry::Fresh(0) };
        vec![one; count]
    }

    fn chosen(limit: usize, found: [usize; 3], credits: &mut Credits) -> [usize; 3] {
        let mut places = Places { all: limit, kept: None, low: None, low_max: limit };
        let found = [0, 1, 2].map(|class| candidates(Class::ALL[class], found[class]));
        let chosen = choose(&"wh_1".into(), &mut places, found, credits);
        Class::ALL.map(|class| chosen.iter().filter(|candidate| candidate.class == class).count())
    }

    fn normals(limit: usize, high: usize, normal: usize, credits: &mut Credits) -> usize {
        chosen(limit, [high, normal, 0], credits)[1]
    }

    #[test]
    fn a_quarter_is_kept_for_the_less_urgent_and_none_is_wasted() {
        let mut credits = Credits::default();
        assert_eq!(normals(8, 20, 20, &mut credits), 2);
        assert_eq!(normals(8, 20, 1, &mut credits), 1);
        assert_eq!(normals(8, 3, 20, &mut credits), 5);
        assert_eq!(normals(8, 20, 0, &mut credits), 0);
    }

    #[test]
    fn replays_get_what_is_left_and_one_place_in_twenty() {
        let mut credits = Credits::default();
        assert_eq!(chosen(8, [2, 3, 20], &mut credits), [2, 3, 3]);
        assert_eq!(chosen(8, [20, 20, 0], &mut credits), [6, 2, 0]);
        let rounds = [0; 5].map(|_| chosen(8, [20, 20, 20], &mut credits));
        assert_eq!(rounds.map(|[_, _, low]| low), [0, 0, 1, 0, 1]);
        assert!(rounds.iter().all(|classes| classes.iter().sum::<usize>() == 8));
    }

    #[test]
    fn one_place_at_a_time_starves_nobody() {
        let mut credits = Credits::default();
        let taken: Vec<_> = (0..8).map(|_| normals(1, 9, 9, &mut credits)).collect();
        assert_eq!(taken, [0, 0, 0, 1, 0, 0, 0, 1]);
    }
}
