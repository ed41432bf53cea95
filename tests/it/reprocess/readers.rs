//! By whom a request is read again: what its source is now says nothing of who sent what came in by it before.

use super::jobs::{begin, job_in};
use super::*;

async fn is_read_by_who_sent_it(server: Option<Server>) {
    let (hooks, poster) = (Hooks::start(), Poster::new());
    let mut gateway = served(&server.as_ref().map_or("embedded".into(), Server::url), &hooks).await;
    let (store, now) = (opened(&gateway, server.as_ref()).await, SystemClock::new().now());
    let older = Older::lacking("sendgrid", "delivered");
    let [one, other] = [1, 2].map(|number| poster.sendgrid_batch(number, 2).1);
    let one = taken_by(&*store, &older, ("mail", now), &one).await;
    taken_by(&*store, &older, ("mail", now), &other).await;
    let newer = Older { name: "of tomorrow", ..Older::blind("resend") };
    let unknown = taken_by(&*store, &newer, ("mail", now), &poster.resend_event(1).1).await;
    drop(store);

    let source = "[sources.mail]\nprovider = \"mailgun\"\nsigning_keys = [\"another\"]\n";
    gateway.configure(&(hooks.endpoints(0..1, MORE) + source));
    gateway.up(None);
    gateway.until_alive().await;
    let kept = gateway.read(&format!("/v1/requests/{one}")).await;
    assert_eq!((&kept["source"], &kept["provider"]), (&json!("mail"), &json!("sendgrid")));
    assert_eq!(reprocessed(&gateway, &one).await, outcome(2, 0, 0, 0));
    let (status, answer) = call(&gateway, "POST", &format!("/v1/requests/{unknown}/reprocess"), "").await;
    assert_eq!((status, &answer["type"]), (409, &json!("urn:waypost:problem:provider_unknown")), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("`of tomorrow`"), "{answer}");
    for (dry_run, counts) in [(true, [2, 0, 0, 0]), (false, [2, 1, 1, 2])] {
        let job = job_in(&gateway, &begin(&gateway, json!({"dry_run": dry_run})).await, "done").await;
        let told = ["total", "made", "left_out", "stored"].map(|name| job[name].clone());
        assert_eq!(told, counts.map(Value::from), "{job}");
        assert_eq!(job["providers_unknown"], json!(["of tomorrow"]), "{job}");
    }
    until(SOON, "they come", || hooks.arrivals().len() == 4).await;
    assert!(hooks.arrivals().iter().all(|arrival| arrival.source == "mail"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_read_again_by_the_provider_that_sent_it_embedded() {
    is_read_by_who_sent_it(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_read_again_by_the_provider_that_sent_it_on_redis() {
    is_read_by_who_sent_it(Some(Server::start().await)).await;
}
