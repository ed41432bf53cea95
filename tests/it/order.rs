//! First attempts of one mail leave for an endpoint in the order of their commits, however many connections bring them in
//! and take them out, while retries may be overtaken.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::future::join_all;
use waypost::domain::id::EventId;

use crate::gateway::{Gateway, Poster};
use crate::gateways::crowd;
use crate::hooks::{Arrival, Hooks, until};
use crate::redis_harness::Server;

const MAILS: u32 = 24;
const EVENTS: u32 = 12;
const ENDPOINTS: u32 = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// The second is urgent, and may overtake the others.
const KINDS: [&str; 3] = ["email.delivered", "email.bounced", "email.opened"];

/// Which event of which mail.
type Places = HashMap<String, (u32, u32)>;

/// Posts the events of one mail one after the other, each to another gateway.
async fn post_mail(poster: &Poster, gateways: &[Gateway], mail: u32) -> Places {
    let mut places = Places::new();
    for event in 0..EVENTS {
        let kind = KINDS[event as usize % KINDS.len()];
        let (id, signed) = poster.resend_event_of(mail, mail * EVENTS + event, kind);
        let gateway = &gateways[(mail + event) as usize % gateways.len()];
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
        places.insert(EventId::of("resend", &id).to_string(), (mail, event));
    }
    places
}

fn number(arrival: &Arrival) -> u64 {
    arrival.event.bytes().map(u64::from).sum()
}

/// One first attempt of five.
fn is_refused(arrival: &Arrival) -> bool {
    arrival.attempt == 1 && number(arrival).is_multiple_of(5)
}

/// Answers late, each time by something else.
fn hooks() -> Hooks {
    let answer = |arrival: &Arrival| match is_refused(arrival) {
        true => HttpResponse::InternalServerError().finish(),
        false => HttpResponse::Ok().finish(),
    };
    Hooks::late(answer, |arrival| Duration::from_millis(number(arrival) % 13))
}

async fn keeps_order(gateways: &[Gateway], hooks: &Hooks) {
    let poster = Poster::new();
    let posted = join_all((0..MAILS).map(|mail| post_mail(&poster, gateways, mail))).await;
    let places: Places = posted.into_iter().flatten().collect();
    let all = places.len() * ENDPOINTS as usize;
    let landed = || hooks.by_delivery().values().filter(|tries| tries.iter().any(|one| !is_refused(one))).count();
    until(WITHIN, "everything lands", || landed() == all).await;
    let mut latest = HashMap::new();
    let mut overtaken = 0;
    for arrival in hooks.arrivals().into_iter().filter(|arrival| places.contains_key(&arrival.event)) {
        let (mail, event) = places[&arrival.event];
        let is_urgent = KINDS[event as usize % KINDS.len()] == "email.bounced";
        let before = latest.entry((arrival.endpoint.clone(), mail, is_urgent)).or_insert(None);
        if arrival.attempt > 1 {
            overtaken += u32::from(before.is_some_and(|before| before > event));
            continue;
        }
        assert!(before.is_none_or(|before| before < event), "{arrival:?} of mail {mail} comes after {before:?}");
        *before = Some(event);
    }
    println!("{overtaken} retries were overtaken");
    assert!(overtaken > 0, "a failed attempt holds back no other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mail_keeps_its_order_on_four_gateways() {
    let (server, hooks) = (Server::start().await, hooks());
    let gateways = crowd(&server, &hooks.endpoints(0..ENDPOINTS, "retry = [1, 1, 1]\n"), 4).await;
    keeps_order(&gateways, &hooks).await;
}

/// What it has under way when it leaves is not overtaken by who takes its lanes, nor the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mail_keeps_its_order_while_lanes_change_hands() {
    let (server, hooks) = (Server::start().await, hooks());
    let mut gateways = crowd(&server, &hooks.endpoints(0..ENDPOINTS, "retry = [1, 1, 1]\n"), 3).await;
    let mut leaving = gateways.remove(2);
    let changes = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            assert!(leaving.terminate(WITHIN).await);
            leaving.up(None);
            leaving.until_alive().await;
        }
    };
    tokio::join!(keeps_order(&gateways, &hooks), changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mail_keeps_its_order_on_the_embedded_store() {
    let hooks = hooks();
    let mut gateway = Gateway::serving("embedded", &hooks.endpoints(0..ENDPOINTS, "retry = [1, 1, 1]\n"));
    gateway.up(None);
    gateway.until_alive().await;
    keeps_order(&[gateway], &hooks).await;
}
