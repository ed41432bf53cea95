//! What a store should hold, as plainly as it can be said.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waypost::domain::delivery::{Class, Status};
use waypost::domain::id::{DeliveryId, EndpointId, EventId, MailKey, ReplayId};
use waypost::domain::plan::{Condition, Copies, Ingest};
use waypost::domain::replay::Replay;
use waypost::domain::state::State;
use waypost::store::{Due, Ingested, LEASE_LAG_MAX, Lease, Replayed, Then};

/// A moment of the store's clock in microseconds, as far as it is known: between these two, both included. Where the
/// clock stands still, they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

impl Moment {
    fn after(self, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_micros()).unwrap();
        Self { earliest: self.earliest + wait, latest: self.latest + wait }
    }

    pub(crate) fn is_before(self, other: Self) -> bool {
        self.latest < other.earliest
    }

    /// Whether something due then is certainly due now.
    fn is_due(self, now: Self) -> bool {
        self.latest <= now.earliest
    }

    /// Whether it may be.
    fn may_be_due(self, now: Self) -> bool {
        self.earliest <= now.latest
    }

    fn min(self, other: Self) -> Self {
        Self { earliest: self.earliest.min(other.earliest), latest: self.latest.min(other.latest) }
    }
}

/// Which delivery: the place of its event, and its own place in that.
type Key = (usize, usize);

/// A delivery as the model has it.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) event: EventId,
    pub(crate) endpoint: EndpointId,
    pub(crate) replay: Option<ReplayId>,
    /// Which of all replays it is; 0 of what began with its event.
    made: usize,
    class: Class,
    mail: MailKey,
    pub(crate) status: Status,
    due: Moment,
    token: u64,
    held: bool,
    tried: bool,
    pub(crate) begun: u32,
    pub(crate) attempts: usize,
    /// When it ended; when it was made, if it has not.
    pub(crate) ended: Moment,
}

impl Expected {
    pub(crate) fn id(&self) -> DeliveryId {
        DeliveryId::of(&self.event, &self.endpoint, self.replay.as_ref())
    }
}

/// What the store should hold.
pub(crate) struct Model {
    /// Whether every moment is known exactly; then the order of what falls due together is that of the commits.
    is_exact: bool,
    /// Events in commit order, each with the number of the call that brought it.
    pub(crate) events: Vec<(EventId, usize)>,
    pub(crate) deliveries: BTreeMap<Key, Expected>,
    /// The first event of each fingerprint, and of which an event is marked as a copy.
    firsts: BTreeMap<[u8; 16], EventId>,
    pub(crate) marks: BTreeMap<EventId, EventId>,
    /// All that was told of each entity.
    told: BTreeMap<[u8; 16], Vec<State>>,
    calls: usize,
    /// How many replays were made.
    made: usize,
    canceled: BTreeSet<ReplayId>,
    /// Where something was canceled that had never begun. On Redis its place at the head of its lane lists the lane until
    /// it is leased from.
    left: Vec<(EndpointId, Moment)>,
}

impl Model {
    pub(crate) fn new(is_exact: bool) -> Self {
        let (events, deliveries, canceled) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let (firsts, marks, told) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { is_exact, events, deliveries, firsts, marks, told, calls: 0, made: 0, canceled, left: Vec::new() }
    }

    /// Whether it is later than all that was told before, and holds when the latest of that did not.
    fn is_news(&mut self, Condition { entity, state }: &Condition) -> bool {
        let told = self.told.entry(*entity).or_default();
        let latest = told.iter().max_by_key(|state| (state.at_ms, state.holds)).copied();
        told.push(*state);
        state.holds && latest.is_none_or(|latest| !latest.holds && latest.at_ms <= state.at_ms)
    }

    pub(crate) fn ingest(&mut self, Ingest { units, states, .. }: &Ingest, now: Moment) -> Ingested {
        let (mut new, mut repeated) = (0, 0);
        self.calls += 1;
        for told in states {
            self.is_news(told);
        }
        for unit in units {
            let first = unit.fingerprint.and_then(|fingerprint| self.firsts.get(&fingerprint.bits).cloned());
            let is_copy = first.is_some() && unit.fingerprint.is_some_and(|one| one.copies == Copies::Repeat);
            if is_copy || self.events.iter().any(|(id, _)| *id == unit.id) {
                repeated += 1;
                continue;
            }
            if unit.condition.as_ref().is_some_and(|told| !self.is_news(told)) {
                continue;
            }
            match (first, unit.fingerprint) {
                (Some(first), _) => drop(self.marks.insert(unit.id.clone(), first)),
                (None, Some(fingerprint)) => drop(self.firsts.insert(fingerprint.bits, unit.id.clone())),
                (None, None) => {}
            }
            new += 1;
            for (place, planned) in unit.deliveries.iter().enumerate() {
                let expected = Expected {
                    event: unit.id.clone(),
                    endpoint: planned.endpoint.clone(),
                    replay: None,
                    made: 0,
                    class: planned.class,
                    mail: unit.mail,
                    status: if planned.skipped { Status::Skipped } else { Status::Pending },
                    due: now,
                    token: 0,
                    held: false,
                    tried: false,
                    begun: 0,
                    attempts: 0,
                    ended: now,
                };
                self.deliveries.insert((self.events.len(), place), expected);
            }
            self.events.push((unit.id.clone(), self.calls));
        }
        Ingested::Stored { new, repeated }
    }

    /// What may be leased once it is due, by (due, key).
    fn open(&self, endpoint: &EndpointId, class: Class) -> BTreeSet<(Moment, Key)> {
        let mut waiting = BTreeSet::new();
        let mut open = BTreeSet::new();
        let mut deliveries: Vec<_> = self.deliveries.iter().collect();
        deliveries.sort_by_key(|(key, delivery)| (delivery.made, **key));
        for (key, delivery) in deliveries {
            if delivery.status != Status::Pending || delivery.endpoint != *endpoint || delivery.class != class {
                continue;
            }
            if delivery.tried || waiting.insert(delivery.mail) {
                open.insert((delivery.due, *key));
            }
        }
        open
    }

    fn find(&mut self, lease: &Lease) -> &mut Expected {
        let same = |one: &&mut Expected| {
            one.event == lease.event_id && one.endpoint == lease.endpoint && one.replay == lease.replay
        };
        self.deliveries.values_mut().find(same).unwrap()
    }

    /// What is due then may not be left by a lease of now. An engine that is asked at an exact time has no lag.
    fn told(&self, now: Moment) -> Moment {
        let lag = if self.is_exact { 0 } else { u64::try_from(LEASE_LAG_MAX.as_micros()).unwrap() };
        Moment { earliest: now.earliest - lag, latest: now.latest - lag }
    }

    /// Checks what was leased from one lane, and takes it over.
    pub(crate) fn lease(&mut self, endpoint: &EndpointId, limit: usize, leases: &[Lease], hold: Duration, now: Moment) {
        let open = Class::ALL.map(|class| self.open(endpoint, class));
        let certain = open.each_ref().map(|open| open.iter().filter(|(due, _)| due.is_due(self.told(now))).count());
        let possible = open.each_ref().map(|open| open.iter().filter(|(due, _)| due.may_be_due(now)).count());
        let taken = leases.len();
        assert!(taken >= limit.min(certain.iter().sum()) && taken <= limit.min(possible.iter().sum()), "{taken}");
        if taken < limit {
            self.left.retain(|(other, _)| other != endpoint);
        }
        let replays = leases.iter().filter(|lease| lease.class == Class::Low).count();
        let [live_certain, live_possible] = [certain, possible].map(|counts| counts[..2].iter().sum::<usize>());
        // What live deliveries leave, and one place that is owed.
        assert!(replays <= limit.saturating_sub(live_certain) + 1, "{replays} replays went first");
        assert!(replays >= certain[2].min(limit.saturating_sub(live_possible)), "only {replays} replays");
        let limit = limit - replays;
        for ((class, open), certain) in Class::ALL.into_iter().zip(&open).zip(certain) {
            let taken: Vec<_> = leases.iter().filter(|lease| lease.class == class).collect();
            self.check_order(open, &taken, now);
            if class == Class::Low {
                continue;
            }
            // Where places do not divide by four, an engine may keep one more for the other class.
            let more = usize::from(!self.is_exact && !limit.is_multiple_of(4));
            let kept = if class == Class::High { limit - limit / 4 - more } else { limit / 4 };
            assert!(limit < 4 || taken.len() >= certain.min(kept), "{class:?} got too few places");
        }
        let is_exact = self.is_exact;
        for lease in leases {
            let delivery = self.find(lease);
            delivery.begun += 1;
            assert_eq!(lease.number, delivery.begun);
            assert!(lease.token > delivery.due.earliest && lease.token > delivery.token);
            let held = now.after(hold);
            assert!(lease.token >= held.earliest);
            // Where a clock can be set back, tokens go on from the latest all the same.
            assert!(is_exact || lease.token <= held.latest.max(delivery.due.latest + 1));
            assert_eq!(lease.event.as_ref().unwrap().id, lease.event_id);
            let until = Moment { earliest: lease.token, latest: lease.token };
            (delivery.token, delivery.due, delivery.held) = (lease.token, until, true);
        }
    }

    /// The longest due of a class go first.
    fn check_order(&self, open: &BTreeSet<(Moment, Key)>, taken: &[&Lease], now: Moment) {
        let event = |key: &Key| (&self.deliveries[key].event, &self.deliveries[key].replay);
        let of = |lease: &Lease, key: &Key| event(key) == (&lease.event_id, &lease.replay);
        if self.is_exact {
            let first: Vec<_> = open.iter().map(|(_, key)| event(key)).take(taken.len()).collect();
            assert_eq!(taken.iter().map(|lease| (&lease.event_id, &lease.replay)).collect::<Vec<_>>(), first);
        }
        let due_of = |lease: &&Lease| {
            let found = open.iter().find(|(_, key)| of(lease, key));
            found.expect("only what is open can be leased").0
        };
        let dues: Vec<_> = taken.iter().map(due_of).collect();
        assert!(dues.iter().all(|due| due.may_be_due(now)), "leased before it was due");
        assert!(dues.windows(2).all(|pair| !pair[1].is_before(pair[0])), "out of order: {dues:?}");
        let left = open.iter().filter(|(_, key)| !taken.iter().any(|lease| of(lease, key)));
        // What fell due during the call may have done so just after its partition was looked at.
        for (due, key) in left.filter(|(due, _)| due.is_due(self.told(now))) {
            assert!(!dues.iter().any(|taken| due.is_before(*taken)), "{:?} was passed over", event(key));
        }
    }

    /// Whether the lease is still good.
    pub(crate) fn finish(&mut self, lease: &Lease, then: Then, now: Moment) -> bool {
        let delivery = self.find(lease);
        if !delivery.held || delivery.token != lease.token || delivery.status != Status::Pending {
            return false;
        }
        delivery.attempts += 1;
        delivery.held = false;
        let was_first = !std::mem::replace(&mut delivery.tried, true);
        match then {
            Then::Retry(wait) => delivery.due = now.after(wait),
            Then::End(status, _) => (delivery.status, delivery.ended) = (status, now),
        }
        let done = delivery.clone();
        if was_first {
            self.let_go(&done, now);
        }
        true
    }

    /// The first of this delivery's chain may go.
    fn let_go(&mut self, done: &Expected, now: Moment) {
        let is_exact = self.is_exact;
        let chain = |one: &Expected| {
            one.status == Status::Pending
                && !one.tried
                && (&one.endpoint, one.class, one.mail) == (&done.endpoint, done.class, done.mail)
        };
        let next = self.deliveries.iter_mut().filter(|(_, one)| chain(one)).min_by_key(|(key, one)| (one.made, **key));
        if let Some((_, next)) = next {
            // Its place among the others is that of when it came in; on Redis also that of now, where it had to be held
            // back.
            let earliest = next.due.min(now).earliest;
            next.due = if is_exact { next.due.min(now) } else { Moment { earliest, latest: now.latest } };
        }
    }

    /// What to ask for to have a delivery that began with its event, by its number, made anew.
    pub(crate) fn again(&self, number: usize, replay: ReplayId) -> Option<Replay> {
        let began: Vec<_> = self.deliveries.values().filter(|one| one.replay.is_none()).collect();
        let one = began.get(number % began.len().max(1))?;
        Some(Replay { replay, event_id: one.event.clone(), mail: one.mail, endpoint: one.endpoint.clone() })
    }

    pub(crate) fn replay(&mut self, replay: &Replay, now: Moment) -> Replayed {
        if self.canceled.contains(&replay.replay) {
            return Replayed::Canceled;
        }
        let Some(seq) = self.events.iter().position(|(id, _)| *id == replay.event_id) else { return Replayed::Gone };
        let of_event = self.deliveries.range((seq, 0)..(seq + 1, 0));
        let is_same = |one: &Expected| one.replay.as_ref() == Some(&replay.replay) && one.endpoint == replay.endpoint;
        if of_event.clone().any(|(_, one)| is_same(one)) {
            return Replayed::Known;
        }
        self.made += 1;
        let expected = Expected {
            event: replay.event_id.clone(),
            endpoint: replay.endpoint.clone(),
            replay: Some(replay.replay.clone()),
            made: self.made,
            class: Class::Low,
            mail: replay.mail,
            status: Status::Pending,
            due: now,
            token: 0,
            held: false,
            tried: false,
            begun: 0,
            attempts: 0,
            ended: now,
        };
        let place = of_event.count();
        self.deliveries.insert((seq, place), expected);
        Replayed::Made
    }

    /// Ends all that is pending of a replay; how many that were.
    pub(crate) fn cancel(&mut self, replay: &ReplayId, now: Moment) -> usize {
        self.canceled.insert(replay.clone());
        let is_its = |one: &Expected| one.status == Status::Pending && one.replay.as_ref() == Some(replay);
        let endpoints: BTreeSet<_> = self.deliveries.values().map(|one| one.endpoint.clone()).collect();
        let open = endpoints.iter().flat_map(|endpoint| self.open(endpoint, Class::Low));
        let firsts: Vec<_> = open.map(|(_, key)| self.deliveries[&key].clone()).collect();
        let mut count = 0;
        for one in self.deliveries.values_mut().filter(|one| is_its(one)) {
            (one.status, one.held, one.ended) = (Status::Canceled, false, now);
            if !self.is_exact && one.begun == 0 {
                self.left.push((one.endpoint.clone(), one.due));
            }
            count += 1;
        }
        for one in firsts.iter().filter(|one| is_its(one) && !one.tried) {
            self.let_go(one, now);
        }
        count
    }

    /// The deliveries in a status, the latest end first, or the latest made of what has not ended.
    pub(crate) fn listed(&self, status: Status) -> Vec<&Expected> {
        let mut found: Vec<_> = self.deliveries.iter().filter(|(_, one)| one.status == status).collect();
        let end = |one: &Expected| (status != Status::Pending).then_some(one.ended);
        found.sort_by_key(|(key, one)| Reverse((end(one), **key)));
        found.into_iter().map(|(_, one)| one).collect()
    }

    /// Checks what the store says is due, and when something else will be.
    pub(crate) fn check_due(&self, endpoints: &[EndpointId], due: &Due, now: Moment) {
        let first = |endpoint: &EndpointId| {
            let open = Class::ALL.into_iter().flat_map(|class| self.open(endpoint, class));
            open.map(|(due, _)| due).reduce(Moment::min)
        };
        let mut firsts: Vec<_> =
            endpoints.iter().filter_map(|endpoint| Some((first(endpoint)?, endpoint.clone()))).collect();
        firsts.sort();
        // A lane may be listed by what is left of it, as due since then, and need not be.
        let of = |endpoint: &EndpointId| {
            let first = firsts.iter().find(|(_, other)| other == endpoint).map(|(due, _)| *due);
            let left = self.left.iter().filter(|(other, _)| other == endpoint).map(|(_, due)| due.earliest);
            let earliest = left.chain(first.map(|due| due.earliest)).min().expect("nothing is in it");
            Moment { earliest, latest: first.map_or(now.latest, |due| due.latest) }
        };
        let listed: Vec<_> = due.lanes.iter().map(of).collect();
        assert!(listed.iter().all(|due| due.may_be_due(now)), "not due: {due:?} at {now:?}");
        // The partitions are looked at one after the other, each at its own moment within the call.
        let call = Duration::from_micros(now.latest - now.earliest);
        let is_in_order = listed.windows(2).all(|pair| !pair[1].after(call).is_before(pair[0]));
        assert!(is_in_order, "out of order: {due:?} of {listed:?} at {now:?}");
        if self.is_exact {
            let ripe = firsts.iter().filter(|(due, _)| due.is_due(now)).map(|(_, endpoint)| endpoint);
            assert_eq!(due.lanes.iter().collect::<Vec<_>>(), ripe.collect::<Vec<_>>());
        }
        let later = firsts.iter().filter(|(_, endpoint)| !due.lanes.contains(endpoint)).map(|(due, _)| *due);
        match (later.reduce(Moment::min), due.next) {
            (None, None) => {}
            (Some(first), Some(next)) => {
                let next = u64::try_from(next.as_micros()).unwrap();
                let bounds = first.earliest.saturating_sub(now.latest)..=first.latest.saturating_sub(now.earliest);
                assert!(bounds.contains(&next) && next > 0, "{next} is not in {bounds:?}");
            }
            (first, next) => panic!("something is due at {first:?}, the store says in {next:?}"),
        }
    }
}
