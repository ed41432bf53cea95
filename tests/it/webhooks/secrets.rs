//! Rotation: two secrets sign for a while, then one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waypost::domain::delivery::Class;
use waypost::domain::endpoint::{EndpointSettings, Scheme};
use waypost::domain::kept::{Kept, OVERLAP_DEFAULT};
use waypost::domain::seal::{MasterKey, Place, seal};
use waypost::outbound::request::build;

use super::{Inbox, NEW_KEY, Stage, text, verifies};
use crate::gateway::{API_KEY, Gateway, Poster, until};
use crate::gateways::accepted;
use crate::support::{at, endpoint, unit};

const MINE: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const REFUSED: &str = "urn:waypost:problem:overlap_running";

async fn rotates(on: &str) {
    let inbox = Inbox::start();
    let stage = Stage::new(on, NEW_KEY).await;
    let (id, first) = stage.create(&inbox.url("/a")).await;
    let rotate = format!("POST /v1/webhooks/{id}/rotate");
    let secrets = format!("GET /v1/webhooks/{id}/secret");
    let next = async |number| inbox.wait("/a", &accepted(&Poster::new(), &stage.gateway, number).await).await;
    assert_eq!(next(1).await.signatures(), 1);

    let second = text(&stage.done(&rotate, Value::Null).await["secret"]);
    let came = next(2).await;
    assert_eq!(came.signatures(), 2);
    assert!(verifies(&came, &first) && verifies(&came, &second) && !verifies(&came, MINE));
    let shown = stage.done(&secrets, Value::Null).await;
    assert_eq!((&shown["secret"], &shown["old"]["secret"]), (&second.as_str().into(), &first.as_str().into()));
    let seconds = |value: &Value| text(value).parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(seconds(&shown["old"]["expires_at"]) - seconds(&shown["created_at"]), 86_400);

    // A third has no room until the first is gone.
    let (status, problem) = stage.call(&rotate, json!({"overlap_s": 60})).await;
    assert_eq!((status, &problem["type"]), (409, &REFUSED.into()));
    let old = format!("DELETE /v1/webhooks/{id}/secrets/old");
    assert_eq!(stage.call(&old, Value::Null).await, (204, Value::Null));
    assert_eq!(stage.call(&old, Value::Null).await.0, 404);
    let came = next(3).await;
    assert_eq!(came.signatures(), 1);
    assert!(verifies(&came, &second) && !verifies(&came, &first));

    // One that is given is not shown.
    let given = stage.done(&rotate, json!({"overlap_s": 3600, "secret": MINE})).await;
    assert_eq!(given.get("secret"), None);
    assert!(given["old_secret_expires_at"].is_string(), "{given}");
    let came = next(4).await;
    assert!(verifies(&came, &second) && verifies(&came, MINE));
    // One that leaked is ended at once, whatever overlaps.
    let third = text(&stage.done(&rotate, json!({"overlap_s": 0})).await["secret"]);
    let came = next(5).await;
    assert_eq!(came.signatures(), 1);
    assert!(verifies(&came, &third) && !verifies(&came, MINE));
    for secret in [&first, &second, &third, MINE] {
        assert!(!stage.holds(secret).await && !stage.gateway.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_signs_beside_the_new_one_until_it_is_revoked_embedded() {
    rotates("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_signs_beside_the_new_one_until_it_is_revoked_on_redis() {
    rotates("redis").await;
}

#[test]
fn a_request_carries_both_signatures_until_the_overlap_ends_and_then_one() {
    let (key, id) = (MasterKey::read("a", &format!("{}=", "A".repeat(43))).unwrap(), "wh_a".into());
    let sealed = |text| seal(&key, Place::Secret(&id), text, [0; 12]).unwrap();
    let kept = Kept::new(sealed(MINE), BTreeMap::new(), at(0));
    let kept = kept.rotated(sealed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), OVERLAP_DEFAULT, at(100)).unwrap();
    let keys = [key.clone()].into_iter().collect();
    let opened = kept.open(&id, &keys);
    let event = unit("resend", "a", "a", Class::Normal, &["wh_a"]).event;
    let settings = EndpointSettings { signatures: vec![Scheme::Drin, Scheme::Standard], ..endpoint("wh_a").settings };
    let signatures = |second| {
        let request = build(&settings, opened.secrets(at(second)), &event, None, 1, at(second)).unwrap();
        let header = |name| request.headers()[name].to_str().unwrap().to_owned();
        (header("drin-signature").matches(",v1=").count(), header("webhook-signature").matches("v1,").count())
    };
    let end = 100 + 86_400;
    assert_eq!([100, end - 1, end, end + 1].map(signatures), [(2, 2), (2, 2), (1, 1), (1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_ends_by_the_clock_without_another_request() {
    let inbox = Inbox::start();
    let stage = Stage::new("embedded", "").await;
    let (id, first) = stage.create(&inbox.url("/a")).await;
    let rotated = stage.done(&format!("POST /v1/webhooks/{id}/rotate"), json!({"overlap_s": 2})).await;
    let came = inbox.wait("/a", &accepted(&Poster::new(), &stage.gateway, 1).await).await;
    assert_eq!(came.signatures(), 2);
    let shown = format!("GET /v1/webhooks/{id}");
    until("the overlap ends", async || stage.done(&shown, Value::Null).await.get("old_secret_expires_at").is_none())
        .await;
    let came = inbox.wait("/a", &accepted(&Poster::new(), &stage.gateway, 2).await).await;
    assert_eq!(came.signatures(), 1);
    assert!(verifies(&came, &text(&rotated["secret"])) && !verifies(&came, &first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_rotation_is_named_and_changes_nothing() {
    let stage = Stage::new("embedded", "").await;
    let (id, secret) = stage.create("https://a.example/").await;
    let cases = [
        (json!({"overlap_s": 604_801}), "overlap_s: 604801 is out of range; use 0 to 604800"),
        (json!({"overlap_s": "1"}), "overlap_s: invalid type: string, expected u64"),
        (json!({"secret": "hunter2"}), "secret: a secret must be `whsec_` and base64"),
        (json!({"secret": "a text of more than 16"}), "secret: is not good for each of the endpoint's `signatures`"),
        (json!({"overlap": 1}), "overlap: unknown field `overlap`, expected `overlap_s`"),
    ];
    for (body, expected) in cases {
        let (status, problem) = stage.call(&format!("POST /v1/webhooks/{id}/rotate"), body).await;
        let told = text(&problem["detail"]);
        assert!(status == 422 && told.starts_with(expected) && !told.contains("hunter2"), "{status} {problem}");
    }
    let shown = stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await;
    assert_eq!((&shown["secret"], shown.get("old")), (&secret.as_str().into(), None));
}

/// Dies at this point of making its key, and makes one when it is started again.
async fn dies_making_its_key(point: &str, is_made: bool) {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(Some(point));
    gateway.until_alive().await;
    let body = json!({"url": "https://a.example/"}).to_string();
    let head = format!(
        "POST /v1/webhooks HTTP/1.1\r\nhost: waypost\r\nx-api-key: {API_KEY}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = format!("{head}{body}");
    assert!(crate::wire::exchange(gateway.port(), request.as_bytes()).await.is_err(), "{point}: it lives");
    let path = gateway.data().join("master.key");
    let before = std::fs::read_to_string(&path).ok();
    assert_eq!(before.is_some(), is_made, "{point}");
    gateway.ended(std::time::Duration::from_secs(10)).await.unwrap();
    gateway.up(None);
    let stage = Stage { gateway, server: None };
    stage.until_ready().await;
    let (id, secret) = stage.create("https://a.example/").await;
    let shown = stage.done(&format!("GET /v1/webhooks/{id}/secret"), Value::Null).await;
    assert_eq!(shown["secret"], secret.as_str());
    assert!(before.is_none_or(|before| before == std::fs::read_to_string(&path).unwrap()), "{point}: made again");
    assert_eq!(stage.done("GET /v1/webhooks", Value::Null).await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_while_it_makes_its_key_has_one_key_in_the_end() {
    tokio::join!(dies_making_its_key("master_key.written", false), dies_making_its_key("master_key.made", true));
}
