//! Places, and who is told of them.

use super::*;
use crate::domain::rate::Rate;

const NOW: Duration = Duration::from_secs(100);

fn cap(max_in_flight: u32) -> Limits {
    Limits { max_in_flight, rate: None, forgives: None }
}

fn fail(lanes: &Lanes, times: u32) -> Option<LaneState> {
    let noted = (0..times).map(|_| lanes.note(&"wh_1".into(), false, NOW, Timestamp::UNIX_EPOCH)).last().flatten();
    noted.map(|noted| noted.state)
}

#[test]
fn permits_keep_to_the_cap_of_the_lane_the_share_and_the_whole() {
    let lanes = Lanes::new(64);
    let first = lanes.reserve(&"wh_1".into(), cap(2), 9, NOW);
    assert_eq!((first.permits.len(), first.rest), (2, None));
    let full = lanes.reserve(&"wh_1".into(), cap(2), 9, NOW);
    assert_eq!((full.permits.len(), full.rest), (0, None));
    assert_eq!(lanes.reserve(&"wh_2".into(), cap(3), 1, NOW).permits.len(), 1);
    assert!(lanes.take_waiting().is_empty(), "what another gave back does not help a lane at its cap");
    drop(first);
    assert_eq!(lanes.take_waiting(), ["wh_1".into()]);
    assert!(lanes.take_waiting().is_empty());
    assert_eq!(lanes.available(), 64);
}

#[tokio::test]
async fn an_answer_makes_room_in_the_lane_and_the_record_among_all() {
    let lanes = Lanes::new(64);
    let mut permits: Vec<_> =
        lanes.reserve(&"wh_1".into(), cap(2), 9, NOW).permits.into_iter().map(Permit::used).collect();
    assert!(lanes.reserve(&"wh_1".into(), cap(2), 9, NOW).permits.is_empty());
    permits[0].answered();
    tokio::time::timeout(Duration::from_secs(5), lanes.freed()).await.expect("who waits is told");
    assert_eq!(lanes.take_waiting(), ["wh_1".into()]);
    assert_eq!(lanes.available(), 62, "what is not recorded yet has its place among all");
    assert_eq!(lanes.reserve(&"wh_1".into(), cap(2), 9, NOW).permits.len(), 1);
    drop(permits);
    assert_eq!(lanes.available(), 64);
}

#[tokio::test]
async fn who_was_turned_away_is_told_of_the_next_place_and_nobody_else_is() {
    let lanes = Lanes::new(1);
    let mut permits = lanes.reserve(&"wh_1".into(), cap(2), 9, NOW).permits;
    assert!(lanes.reserve(&"wh_2".into(), cap(2), 9, NOW).permits.is_empty());
    let is_told = async || tokio::time::timeout(Duration::from_millis(50), lanes.freed()).await.is_ok();
    assert!(!is_told().await);
    drop(permits.pop().map(Permit::used));
    assert!(is_told().await);
    assert_eq!(lanes.take_waiting(), ["wh_2".into()]);
    let next = lanes.reserve(&"wh_2".into(), cap(2), 9, NOW).permits.pop().map(Permit::used);
    drop(next);
    assert!(!is_told().await, "nobody waits");
}

#[test]
fn lanes_that_hang_leave_permits_to_the_others() {
    let lanes = Lanes::new(256);
    let sick: Vec<EndpointId> = (0..20).map(|number| format!("wh_{number}").as_str().into()).collect();
    let reserve = |lane| lanes.reserve(lane, cap(32), 32, NOW).permits;
    let mut held: Vec<_> = sick.iter().map(reserve).collect();
    assert!(lanes.available() > 0, "none is left at first");
    // Their attempts time out, again and again, and begin anew.
    for round in 0..200 {
        held[round % 20].clear();
        for (lane, permits) in sick.iter().zip(&mut held) {
            permits.extend(reserve(lane));
        }
    }
    assert!(lanes.available() >= 24, "only {} are left", lanes.available());
    assert!(reserve(&"wh_healthy".into()).len() >= 5);
    lanes.take_waiting();
    let one_of_another = held.iter_mut().find_map(Vec::pop);
    let used = one_of_another.map(Permit::used);
    lanes.reserve(&"wh_0".into(), cap(32), 32, NOW);
    drop(used);
    assert!(lanes.take_waiting().contains(&"wh_0".into()), "a lane below its cap waits for any");
}

#[tokio::test]
async fn replays_leave_places_to_live_deliveries_and_who_waits_for_theirs_is_told() {
    let lanes = Lanes::new(256);
    let reserve = |max_in_flight| lanes.reserve(&"wh_1".into(), cap(max_in_flight), 99, NOW);
    let one = |reserved: Reserved| (reserved.permits.len(), reserved.replays);
    assert_eq!(one(reserve(1)), (1, 1), "a lane of one place has none to spare");
    assert_eq!(one(reserve(2)), (2, 1));
    let Reserved { permits, replays, .. } = reserve(8);
    assert_eq!((permits.len(), replays), (8, 6));
    let mut replaying: Vec<_> = permits.into_iter().take(6).map(|permit| permit.used().of_replay()).collect();
    assert_eq!(one(reserve(8)), (2, 0));
    let is_told = async || tokio::time::timeout(Duration::from_millis(50), lanes.freed()).await.is_ok();
    assert!(!is_told().await);
    replaying.pop();
    assert!(is_told().await);
    assert_eq!(one(reserve(8)), (3, 1));
}

#[test]
fn an_open_breaker_rests_then_lets_one_probe_through() {
    let lanes = Lanes::new(64);
    let state = fail(&lanes, 10).unwrap();
    assert_eq!(state.breaker.failures, 10);
    let resting = lanes.reserve(&"wh_1".into(), cap(3), 9, NOW);
    assert_eq!((resting.permits.len(), resting.rest), (0, Some(Duration::from_secs(30))));
    assert_eq!(fail(&lanes, 5), None, "what was under way when it opened counts no more");
    let later = NOW + Duration::from_secs(30);
    let probe = lanes.reserve(&"wh_1".into(), cap(3), 9, later);
    assert_eq!((probe.permits.len(), probe.rest), (1, None));
    let closed = lanes.note(&"wh_1".into(), true, later, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((closed.before, closed.state.breaker), (state.breaker, Breaker::default()));
    assert_eq!(lanes.reserve(&"wh_1".into(), cap(3), 9, later).permits.len(), 2);
}

#[test]
fn what_failed_before_an_endpoint_was_enabled_again_counts_no_more() {
    let lanes = Lanes::new(64);
    let second = |second| Some(Timestamp::from_second(second).unwrap());
    let permits = |forgives| lanes.reserve(&"wh_1".into(), Limits { forgives, ..cap(3) }, 9, NOW).permits.len();
    fail(&lanes, 10);
    assert_eq!((permits(None), permits(second(-1)), permits(second(0))), (0, 0, 0));
    assert_eq!(permits(second(1)), 3);
    let again = fail(&lanes, 1).unwrap().breaker;
    assert_eq!(
        (again.failures, again.sick_since),
        (1, second(0)),
        "who was told that it fails is told that it recovers"
    );
}

#[test]
fn a_lane_that_is_taken_over_keeps_its_breaker() {
    let lanes = Lanes::new(64);
    fail(&lanes, 3);
    let state = LaneState { breaker: Breaker { failures: 12, ..Breaker::default() }, at: Timestamp::UNIX_EPOCH };
    lanes.take_over(&["wh_1".into(), "wh_2".into()].into(), &[("wh_2".into(), state)], NOW);
    assert_eq!(lanes.reserve(&"wh_2".into(), cap(3), 9, NOW).permits.len(), 1);
    assert_eq!(lanes.reserve(&"wh_1".into(), cap(3), 9, NOW).permits.len(), 3);
}

#[test]
fn a_lane_whose_endpoint_is_disabled_begins_anew_and_knows_of_it() {
    let (lanes, at) = (Lanes::new(64), Timestamp::UNIX_EPOCH);
    fail(&lanes, 9);
    let state = LaneState { breaker: Breaker::default().disabled(at), at };
    assert_eq!(lanes.disabled(&"wh_1".into(), at, at), Some(state));
    assert_eq!(lanes.disabled(&"wh_1".into(), Timestamp::MAX, at), None, "others were under way with it");
    assert_eq!(lanes.reserve(&"wh_1".into(), cap(3), 9, NOW).permits.len(), 3);
    assert_eq!(fail(&lanes, 1).unwrap().breaker.sick_since, Some(at));
    assert_eq!(lanes.note(&"wh_1".into(), true, NOW, at).unwrap().before.sick_since, Some(at));
}

#[test]
fn a_rate_rests_the_lane_and_gives_back_what_was_not_used() {
    let lanes = Lanes::new(256);
    let limits = Limits { max_in_flight: 32, rate: Some(Rate::per_s(50)), forgives: None };
    let reserve = |elapsed| lanes.reserve(&"wh_1".into(), limits, 32, elapsed);
    lanes.take_over(&["wh_1".into()].into(), &[], NOW);
    let unknown = reserve(NOW);
    let until_half = Some(Duration::from_millis(60));
    assert_eq!((unknown.permits.len(), unknown.rest), (0, until_half), "another may have used it up just now");
    let later = NOW + Duration::from_secs(1);
    let mut first = reserve(later);
    assert_eq!((first.permits.len(), first.rest), (5, until_half));
    assert_eq!(reserve(later).permits.len(), 0);
    drop(first.permits.pop());
    first.permits.into_iter().for_each(|permit| drop(permit.used()));
    assert_eq!(reserve(later).permits.len(), 1, "only what was not used came back");
    assert_eq!(reserve(later + Duration::from_secs(1)).permits.len(), 5);
}
