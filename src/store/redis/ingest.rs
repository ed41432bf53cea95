//! From a plan to what is stored: the token, the raw request, then each event.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use redis::{Cmd, Pipeline};
use waypost_providers::{Kind, ReplayGuard};

use super::gather::{Shape, run_gathered};
use super::keys::{Partition, letter};
use super::link::{Call, Link, missing, read};
use super::raw::{self, Keep};
use super::requests::understood;
use super::rows::seconds;
use super::suppression::{AddressKeys, SUPPRESSED};
use super::{RedisStore, scripts};
use crate::crash;
use crate::domain::address::AddressKey;
use crate::domain::id::RequestId;
use crate::domain::plan::{Condition, Copies, Fingerprint, Generation, Ingest, PlannedDelivery, RawRequest, Unit};
use crate::domain::retention::Lifetimes;
use crate::domain::search::{self, Word};
use crate::domain::suppression::ToSuppress;
use crate::store::{Committed, Fate, Result, StoreError};

const STATES: &str = "states";
const KEYS: [&str; 9] = ["gen", "feed", "lanes", "st:pending", "st:skipped", "announce", "stamp", STATES, SUPPRESSED];

/// What a script answers where the hashes of addresses that it got are made with another key than those it has.
const OTHER_KEY: i64 = 4;
/// What it answers of an event that is read again and would have expired.
pub(super) const EXPIRED: i64 = 5;

/// A unit to be committed.
#[derive(Clone)]
pub(super) struct Planned {
    /// The endpoint set it was planned with.
    pub(super) generation: Generation,
    pub(super) unit: Unit,
    /// When its request was received, if that is read again: it lives from then on.
    pub(super) received_at: Option<Timestamp>,
    /// That a search finds it by.
    words: Vec<Word>,
}

impl Planned {
    pub(super) fn new(generation: Generation, unit: Unit, received_at: Option<Timestamp>) -> Self {
        Self { generation, words: search::words(&unit.event), unit, received_at }
    }
}

/// Each step is one pipeline for all that came to it.
pub(super) async fn ingest_all(store: &RedisStore, ingests: Vec<Ingest>) -> Vec<Result<Committed>> {
    let mut answers = vec![Err(missing()); ingests.len()];
    let remembered = remember(store, &ingests).await;
    let (mut open, mut raws) = (Vec::with_capacity(ingests.len()), Vec::with_capacity(ingests.len()));
    let whole = |raw: &RawRequest| (!raw.is_incomplete()).then(|| raw.id.clone());
    for ((ingest, answer), is_same) in ingests.into_iter().zip(&mut answers).zip(remembered) {
        let life = ingest.request_life(&store.lifetimes);
        let mails = ingest.units.iter().filter(|unit| unit.brings_mail());
        let mails = mails.map(|unit| Partition::of_mail(unit.mail).event(&unit.id)).collect();
        let Ingest { raw, generation, units, states, .. } = ingest;
        match is_same {
            Ok(true) => {
                open.push((answer, raw.as_ref().and_then(whole), generation, units, states));
                raws.push(raw.map(|raw| Keep { raw, life, mails }));
            }
            Ok(false) => *answer = Ok(Committed::Forged),
            Err(error) => *answer = Err(error),
        }
    }
    let (mut planned, mut told, mut waiting) =
        (Vec::with_capacity(open.len()), Vec::new(), Vec::with_capacity(open.len()));
    for ((answer, whole, generation, units, states), kept) in open.into_iter().zip(raw::keep(store, raws).await) {
        match kept {
            Ok(was_there) => {
                waiting.push((answer, units.len(), states.len(), whole.filter(|_| was_there)));
                told.extend(states);
                planned.extend(units.into_iter().map(|unit| Planned::new(generation, unit, None)));
            }
            Err(error) => *answer = Err(error),
        }
    }
    crash::point("raw.stored");
    let mut told = tell(store, &told).await.into_iter();
    let committed = store.units.call(planned).await;
    if committed.iter().any(|unit| matches!(unit, Ok(1))) {
        store.work.notify_one();
    }
    let (mut done, mut again, mut ids) = (committed.into_iter(), Vec::new(), Vec::new());
    for (answer, units, states, whole) in waiting {
        let told = told.by_ref().take(states).fold(Ok(()), Result::and);
        let committed = committed_of(done.by_ref().take(units));
        *answer = told.and(committed);
        if let (Ok(Committed::Stored(_)), Some(id)) = (&answer, whole) {
            again.push(answer);
            ids.push(id);
        }
    }
    // They may not have been understood before.
    for (answer, unlisted) in again.into_iter().zip(understood(&store.link, &ids).await) {
        if let Err(error) = unlisted {
            *answer = Err(error);
        }
    }
    answers
}

/// Remembers states that are no events, where they are later than what is known.
pub(super) async fn tell(store: &RedisStore, states: &[Condition]) -> Vec<Result<()>> {
    let mut pipe = Pipeline::new();
    for told in states {
        let key = Partition::of_mail(told.mail()).key(STATES);
        pipe.cmd("ZADD").arg(key).arg("GT").arg(told.state.rank()).arg(entity(told));
    }
    let answers = store.link.kept().pipe_each(&pipe).await;
    if !states.is_empty() {
        crash::point("states.told");
    }
    answers.into_iter().map(|answer| answer.map(drop)).collect()
}

fn entity(told: &Condition) -> String {
    URL_SAFE_NO_PAD.encode(told.entity)
}

/// What became of a request, from what became of its units.
pub(super) fn committed_of(units: impl Iterator<Item = Result<i64>>) -> Result<Committed> {
    let (mut fates, mut stale, mut failed) = (Vec::new(), false, None);
    for unit in units {
        match unit {
            Ok(1) => fates.push(Some(Fate::New)),
            Ok(2) => fates.push(Some(Fate::Repeated)),
            Ok(3) => {
                fates.push(None);
                stale = true;
            }
            Ok(OTHER_KEY) => failed = Some(StoreError::Unavailable("the key of addresses changes".into())),
            Ok(_) => fates.push(Some(Fate::Unmet)),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None if stale => Ok(Committed::Stale(fates)),
        None => Ok(Committed::Stored(fates.into_iter().flatten().collect())),
    }
}

/// Whether the token of each is new, or was used with the same content, under each of its keys. They may live in
/// several partitions, so of several all are looked at first: a forgery leaves none of them behind.
async fn remember(store: &RedisStore, ingests: &[Ingest]) -> Vec<Result<bool>> {
    let get = |guard: &ReplayGuard| Cmd::new().arg("GET").arg(token_key(guard)).clone();
    let set = |guard: &ReplayGuard| {
        let mut set = Cmd::new();
        set.arg("SET").arg(token_key(guard)).arg(&guard.digest[..]);
        set.arg("NX").arg("GET").arg("EX").arg(seconds(store.lifetimes.tokens)).clone()
    };
    let several = ingests.iter().map(|ingest| if ingest.guards.len() > 1 { &ingest.guards[..] } else { &[] });
    let mut answers = are_same(store, &several.collect::<Vec<_>>(), get).await;
    let fine = ingests.iter().zip(&answers);
    let fine = fine.map(|(ingest, is_same)| if matches!(is_same, Ok(true)) { &ingest.guards[..] } else { &[] });
    let fine: Vec<_> = fine.collect();
    for (answer, is_same) in answers.iter_mut().zip(are_same(store, &fine, set).await) {
        *answer = answer.clone().and_then(|was_same| Ok(was_same && is_same?));
    }
    if fine.iter().any(|guards| !guards.is_empty()) {
        crash::point("token.remembered");
    }
    answers
}

fn token_key(guard: &ReplayGuard) -> String {
    Partition::of_bytes(&guard.token).key(&format!("t:{}", hex::encode(guard.token)))
}

/// Whether, for each, no command answers another digest than its guard's.
async fn are_same(
    store: &RedisStore,
    guards: &[&[ReplayGuard]],
    command: impl Fn(&ReplayGuard) -> Cmd,
) -> Vec<Result<bool>> {
    let mut pipe = Pipeline::new();
    for guard in guards.iter().copied().flatten() {
        pipe.add_command(command(guard));
    }
    let mut answers = store.link.kept().pipe_each(&pipe).await.into_iter();
    let is_same = |guards: &&[ReplayGuard]| {
        let answers: Vec<_> = answers.by_ref().take(guards.len()).collect();
        let mut is_same = true;
        for (guard, answer) in guards.iter().zip(answers) {
            let known: Option<Vec<u8>> = read(answer?)?;
            is_same &= known.is_none_or(|digest| digest == guard.digest);
        }
        Ok(is_same)
    };
    guards.iter().map(is_same).collect()
}

/// Commits what has gathered.
pub(super) async fn commit(
    link: &Link,
    keys: &AddressKeys,
    lifetimes: Lifetimes,
    planned: Vec<Planned>,
) -> Vec<Result<i64>> {
    let run = async |planned: &[Planned], key: &AddressKey| {
        run_gathered(link, planned, &SHAPE, |partition, units| call(partition, lifetimes, units, key)).await
    };
    let key = match keys.known() {
        Some(key) => Ok(key),
        None => keys.settle(link).await,
    };
    let mut answers = match key {
        Ok(key) => run(&planned, &key).await,
        Err(error) => return vec![Err(error); planned.len()],
    };
    let others = answers.iter().zip(&planned).filter(|(answer, _)| matches!(answer, Ok(OTHER_KEY)));
    let others: Vec<Planned> = others.map(|(_, planned)| planned.clone()).collect();
    if !others.is_empty() {
        let again = match keys.settle(link).await {
            Ok(key) => run(&others, &key).await,
            Err(error) => vec![Err(error); others.len()],
        };
        let places = answers.iter_mut().filter(|answer| matches!(answer, Ok(OTHER_KEY)));
        places.zip(again).for_each(|(place, answer)| *place = answer);
    }
    crash::point("units.committed");
    answers
}

const SHAPE: Shape<Planned> = Shape {
    partition: |one| Partition::of_mail(one.unit.mail),
    rows: |Planned { unit, words, .. }| {
        1 + unit.deliveries.len() + words.len() + unit.suppresses.as_ref().map_or(0, |told| told.addresses.len())
    },
};

fn call(partition: Partition, lifetimes: Lifetimes, planned: &[&Planned], key: &AddressKey) -> Call {
    let mut call = Call::new(&scripts::INGEST, partition, &KEYS);
    // Most units of a request go to the same endpoints, which are told once.
    let mut plans: Vec<&[PlannedDelivery]> = Vec::new();
    let mut chosen = Vec::with_capacity(planned.len());
    for Planned { unit, .. } in planned {
        let known = plans.iter().rposition(|plan| *plan == unit.deliveries.as_slice());
        chosen.push(known.unwrap_or_else(|| {
            plans.push(&unit.deliveries);
            plans.len() - 1
        }));
    }
    call.num(seconds(lifetimes.events)).num(plans.len());
    for plan in plans {
        call.num(plan.len());
        for delivery in plan {
            call.arg(delivery.endpoint.as_str()).arg(letter(delivery.class)).num(u8::from(delivery.skipped));
        }
    }
    call.num(planned.len());
    for (Planned { generation, unit, received_at, words }, plan) in planned.iter().zip(chosen) {
        let in_feed = unit.kind.in_feed(unit.mail).map_or("", Kind::as_str);
        call.arg(unit.id.as_str()).arg(in_feed).arg(unit.mail.to_string()).arg(&unit.json);
        call.num(generation.0).num(plan + 1);
        match received_at {
            Some(received_at) => {
                let request = unit.event.request_id.as_ref();
                call.num(received_at.as_microsecond()).arg(request.map_or("", RequestId::as_str))
            }
            None => call.arg(""),
        };
        match unit.fingerprint {
            Some(Fingerprint { bits, copies }) => {
                call.arg(URL_SAFE_NO_PAD.encode(bits)).num(u8::from(copies == Copies::Kept))
            }
            None => call.arg(""),
        };
        match &unit.condition {
            Some(condition) => call.arg(entity(condition)).num(condition.state.rank()),
            None => call.arg(""),
        };
        call.num(words.len());
        for word in words {
            call.arg(hex::encode(word.hash(key)));
        }
    }
    add_suppressed(&mut call, planned, key);
    call
}

fn add_suppressed(call: &mut Call, planned: &[&Planned], key: &AddressKey) {
    let suppressing = (1..).zip(planned).filter_map(|(place, one)| Some((place, one.unit.suppresses.as_ref()?)));
    let suppressing: Vec<(usize, &ToSuppress)> = suppressing.collect();
    call.num(suppressing.len());
    for (place, ToSuppress { reason, at, addresses }) in &suppressing {
        call.num(*place).arg(reason.as_str()).num(at.as_microsecond());
        call.num(addresses.len());
        for address in addresses {
            call.arg(hex::encode(key.hash(address)));
        }
    }
    call.arg(key.id());
}
