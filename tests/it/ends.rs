//! How deliveries end on a real gateway: exhausted, skipped, put off; and that what has ended can be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::client_of_api::call;
use crate::gateway::{Gateway, Poster};
use crate::gateways::accepted;
use crate::hooks::{Hooks, until};
use crate::redis_harness::Server;

const SOON: Duration = Duration::from_secs(20);
/// What `wh_2` asks for, in seconds.
const ASKED: u64 = 3;

/// The delivery of this event to this endpoint.
async fn delivery(gateway: &Gateway, event: &str, endpoint: &str) -> Value {
    let list = gateway.read(&format!("/v1/events/{event}/deliveries")).await;
    let mut all = list["data"].as_array().unwrap().iter();
    all.find(|one| one["endpoint_id"] == endpoint).unwrap().clone()
}

fn standing(delivery: &Value) -> (&str, &str, usize) {
    let text = |name: &str| delivery[name].as_str().unwrap_or_default();
    (text("status"), text("reason"), delivery["attempts"].as_array().unwrap().len())
}

/// `wh_0` fails, `wh_1` is gone, `wh_2` asks to wait; until all are well.
async fn what_ended_is_sent_again(store: &str) {
    let is_well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_well);
    let hooks = Hooks::answering(move |arrival| match arrival.endpoint.as_str() {
        "wh_2" if arrival.attempt == 1 => {
            HttpResponse::ServiceUnavailable().insert_header(("retry-after", ASKED)).finish()
        }
        "wh_0" if !told.load(Ordering::SeqCst) => HttpResponse::Found().insert_header(("location", "/wh_9")).body("no"),
        "wh_1" if !told.load(Ordering::SeqCst) => HttpResponse::Gone().finish(),
        _ => HttpResponse::Ok().finish(),
    });
    let mut gateway = Gateway::serving(store, &hooks.endpoints(0..3, "retry = [1]\n"));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let first = accepted(&poster, &gateway, 1).await;
    gateway.until_idle().await;

    let failed = delivery(&gateway, &first, "wh_0").await;
    assert_eq!(standing(&failed), ("failed", "exhausted", 2), "{failed}");
    assert_eq!((&failed["attempts"][1]["status"], &failed["attempts"][1]["answer"]), (&json!(302), &json!("no")));
    assert_eq!(gateway.read("/v1/deliveries?status=failed").await["data"], json!([failed]));
    assert!(hooks.arrivals().iter().all(|arrival| arrival.endpoint != "wh_9"), "a redirect was followed");
    let gone = delivery(&gateway, &first, "wh_1").await;
    assert_eq!(standing(&gone), ("skipped", "gone", 1), "{gone}");
    let put_off: Vec<_> = hooks.arrivals().into_iter().filter(|arrival| arrival.endpoint == "wh_2").collect();
    assert_eq!(put_off.len(), 2);
    assert!(put_off[1].at - put_off[0].at >= Duration::from_secs(ASKED), "{put_off:?}");

    let shown = gateway.read("/v1/webhooks/wh_1").await;
    assert_eq!((&shown["active"], &shown["disabled"]["reason"]), (&json!(false), &json!("gone")));
    let second = accepted(&poster, &gateway, 2).await;
    let skipped = delivery(&gateway, &second, "wh_1").await;
    assert_eq!(standing(&skipped), ("skipped", "disabled", 0), "{skipped}");

    is_well.store(true, Ordering::SeqCst);
    let (status, _) = call(&gateway, "POST", "/v1/webhooks/wh_1/enable", "").await;
    assert_eq!(status, 200);
    for ended in [failed, gone, skipped] {
        let path = format!("/v1/deliveries/{}/retry", ended["id"].as_str().unwrap());
        let (status, made) = call(&gateway, "POST", &path, "").await;
        assert_eq!(status, 201, "{made}");
        let came = || {
            let mut all = hooks.arrivals().into_iter();
            all.find(|arrival| arrival.replay.as_deref() == made["replay_id"].as_str())
        };
        until(SOON, "it comes again", || came().is_some()).await;
        let came = came().unwrap();
        assert_eq!((came.event.as_str(), came.attempt), (ended["event_id"].as_str().unwrap(), 1));
        gateway.until_idle().await;
        assert_eq!(gateway.read(&format!("/v1/deliveries/{}", ended["id"].as_str().unwrap())).await, ended);
    }
    assert_eq!(gateway.read("/v1/webhooks/wh_1").await["active"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_was_gone_or_skipped_is_kept_and_sent_again_embedded() {
    what_ended_is_sent_again("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_was_gone_or_skipped_is_kept_and_sent_again_on_redis() {
    what_ended_is_sent_again(&Server::start().await.url()).await;
}
