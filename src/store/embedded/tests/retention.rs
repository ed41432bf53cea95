//! A store that takes in and delivers at a steady pace stops growing.

use fjall::AbstractTree as _;

use super::super::ids::Kind as IdKind;
use super::*;
use crate::domain::delivery_counts::{DeliveryCounts, Hour};
use crate::domain::id::ReplayId;
use crate::domain::job::{Job, JobState, Task};
use crate::domain::replay::Replay;
use crate::domain::reprocess::{Filter, Outcome};
use crate::domain::tally::{Outcome as Became, Tally};
use crate::store::{Counts, Replays};
use waypost_providers::ReplayGuard;

/// How many steps a lifetime has.
const STEPS: u32 = 8;

/// What a gateway does in some minutes: events of every end, one that is sent again, and numbers.
async fn step(store: &Embedded, clock: &Set, number: u32) {
    let now = clock.now();
    for which in 0..4_u8 {
        let name = format!("{number}-{which}");
        let mut ingest = to(&name, "wh_a");
        let (unit, raw) = (&mut ingest.units[0], ingest.raw.as_mut().unwrap());
        unit.mail = MailKey::of("mail", &name);
        // It is found by two words, one of them that of all others too.
        let data = format!(r#"{{"to":"all@a.example","id":"{name}"}}"#);
        Arc::make_mut(&mut unit.event).data = RawValue::from_string(data).unwrap();
        unit.fingerprint = Some(Fingerprint { bits: hash128(&[name.as_bytes()]), copies: Copies::Repeat });
        raw.id = RequestId::of("resend", name.as_bytes());
        raw.request.received_at = now;
        raw.unmapped = u32::from(which == 0);
        let mut token = [which; 32];
        token[..4].copy_from_slice(&number.to_be_bytes());
        ingest.guards = vec![ReplayGuard { token, digest: [1; 32] }];
        store.ingest(ingest).await.unwrap();
    }
    let replay = ReplayId::of(&[&number.to_be_bytes()]);
    let Unit { id, .. } = to(&format!("{number}-1"), "wh_a").units.remove(0);
    let mail = MailKey::of("mail", &format!("{number}-1"));
    store.replay(vec![Replay { replay: replay.clone(), event_id: id, mail, endpoint: "wh_a".into() }]).await.unwrap();
    let ends = [
        Then::End(Status::Delivered, None),
        Then::End(Status::Failed, Some(EndReason::Exhausted)),
        Then::End(Status::Skipped, Some(EndReason::Disabled)),
        Then::Retry(DAY / STEPS),
    ];
    for (place, lease) in take(store, "wh_a").await.into_iter().enumerate() {
        // What was tried before is delivered now.
        let then = if lease.number > 1 { ends[0] } else { ends[place % 4] };
        let finished = Finished { lease, attempt: Some(attempt()), then, lane: None };
        assert_eq!(store.finish(vec![finished]).await.unwrap(), []);
    }
    let filter = Filter { since: None, until: now, source: None, status: Vec::new() };
    let job = Job::new(replay, Task::Reprocess { filter, outcome: Outcome::default() }, false, now);
    assert!(store.keep_job(&job).await.unwrap() && store.keep_job(&job.to(JobState::Done, now)).await.unwrap());
    let mut counts = DeliveryCounts::default();
    counts.ended(Status::Delivered);
    store.count_deliveries(&[(("wh_a".into(), Hour::of(now)), counts)].into()).await.unwrap();
}

/// The rows of each space that are not kept for good.
fn rows(spaces: &Spaces) -> Vec<(Space, usize)> {
    let kept = [Space::Meta, Space::Tallies];
    Space::all().filter(|space| !kept.contains(space)).map(|space| (space, count(spaces, space))).collect()
}

#[tokio::test]
async fn a_store_in_steady_use_stops_growing_and_an_idle_one_is_empty_at_last() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Set::new());
    let store = Embedded::open(dir.path(), Arc::clone(&clock) as _, LIFETIMES).unwrap();
    let spaces = store.shared.spaces().unwrap();
    let mut tally = Tally::default();
    tally.refused(Became::Refused);
    store.count(&[("gone".to_owned(), tally)].into()).await.unwrap();
    let (mut after_two, mut most) = (Vec::new(), 0);
    for number in 0..6 * STEPS {
        step(&store, &clock, number).await;
        clock.advance(DAY / STEPS);
        if number + 1 == 2 * STEPS {
            // The sweep is awaited: of each step's four requests, those of one lifetime are left.
            until(|| count(&spaces, Space::Requests) <= 4 * STEPS as usize).await;
            after_two = rows(&spaces);
            most = after_two.iter().map(|(_, rows)| rows).sum();
            assert!(most > 200, "{after_two:?}");
        }
    }
    until(|| rows(&spaces).iter().map(|(_, rows)| rows).sum::<usize>() <= most + 5).await;
    for ((space, later), (_, before)) in rows(&spaces).into_iter().zip(after_two) {
        assert!(later <= before + 5, "{space:?} has {later} rows after six lifetimes, and had {before} after two");
    }
    // What is pending is delivered; then all goes.
    clock.advance(DAY / STEPS);
    for lease in take(&store, "wh_a").await {
        let finished = Finished { lease, attempt: None, then: Then::End(Status::Delivered, None), lane: None };
        store.finish(vec![finished]).await.unwrap();
    }
    clock.advance(DAY * 2);
    until(|| rows(&spaces).iter().all(|(_, rows)| *rows == 0)).await;
    until(|| spaces.ids.counts() == [0; 3] && spaces.ids.trees.words.rows.approximate_len() == 0).await;
    let stays = spaces.ids.get(IdKind::Event, &to("1-1", "").units[0].id.bits().unwrap()).unwrap();
    assert_eq!(stays, None);
    assert_eq!(count(&spaces, Space::Tallies), 1, "a source that is silent still tells when something last came");
    clock.advance(DAY * (Lifetimes::OF_TALLIES + 1));
    until(|| count(&spaces, Space::Tallies) == 0).await;
}
