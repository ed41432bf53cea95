//! Erasing a person whom a request names that a gateway died over: it was kept, and what it says was not.

use super::*;

/// Of a batch with another person, over which a gateway dies. It is sent again when it has been erased, or when that was
/// asked for and has not begun.
async fn is_sent_again(is_erased: bool) {
    let (mut stage, poster) = (Stage::new("redis").await, Poster::new());
    let element = |id: &str, to: &str| {
        format!(r#"{{"email":"{to}","timestamp":1773480415,"event":"bounce","sg_event_id":"{id}"}}"#)
    };
    let batch = poster.sign("sendgrid", &format!("[{},{}]", element("sg-1", NORA), element("sg-2", OTHER)), [0; 16]);
    stage.gateway.up(Some("raw.stored"));
    stage.gateway.until_alive().await;
    let lost = wire::exchange(stage.gateway.port(), &wire::post("/in/sendgrid", &batch)).await;
    assert!(!lost.is_ok_and(|reply| reply.status == 200));
    stage.gateway.ended(Duration::from_secs(60)).await.expect("it dies at its point");
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    assert_eq!(stage.events().await.len(), 0);
    let mut job = stage.begin("").await;
    if !is_erased {
        stage.post("sendgrid", &batch).await;
    }
    job = stage.done(text(&job, "id")).await;
    let events = u64::from(!is_erased);
    assert_eq!([&job["events"], &job["requests"]], [events, 1].map(Value::from).each_ref(), "{job}");

    stage.post("sendgrid", &batch).await;
    let left = stage.events().await;
    assert_eq!(left.iter().map(|event| text(&event["data"], "to")).collect::<Vec<_>>(), [OTHER]);
    until("the other is told", async || !stage.list("delivered").await.is_empty()).await;
    assert_eq!(stage.naming(&stage.paths().await).await, [] as [&str; 0]);
    assert_eq!(stage.files(), [] as [PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_brings_the_others_of_its_batch() {
    tokio::join!(is_sent_again(false), is_sent_again(true));
}

/// It dies where the body of a mail is kept and nothing refers to it; whoever sends it sends it no more.
async fn is_gone_after(point: &str, on: &str) {
    let (mut stage, poster) = (Stage::new(on).await, Poster::new());
    if let (Some(server), "blob.named") = (&stage.server, point) {
        let config = stage.gateway.data().with_file_name("waypost.toml");
        let blobs = format!("[store]\nblobs = \"{}\"\n", server.dir().join("bodies").display());
        let text = std::fs::read_to_string(&config).unwrap().replacen("[store]\n", &blobs, 1);
        std::fs::write(config, text).unwrap();
    }
    let large = requests(&poster).into_iter().find(|(_, signed)| signed.body.len() > 500_000).unwrap();
    let other = ("mail", proven("mail-4", &format!("{} {OTHER}", "large ".repeat(100_000))));
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    stage.post(other.0, &other.1).await;
    stage.gateway.down();
    stage.gateway.up(Some(point));
    stage.gateway.until_alive().await;
    let lost = wire::exchange(stage.gateway.port(), &wire::post("/in/mail", &large.1)).await;
    assert!(!lost.is_ok_and(|reply| reply.status == 200), "{point}");
    stage.gateway.ended(Duration::from_secs(60)).await.expect("it dies at its point");
    stage.gateway.up(None);
    stage.gateway.until_alive().await;
    assert_eq!(stage.files().len(), 1, "{point}: it is on the disk");
    let job = stage.begin("").await;
    stage.done(text(&job, "id")).await;
    assert_eq!(stage.files(), [] as [PathBuf; 0], "{point}");
    let events = stage.events().await;
    assert_eq!(events.len(), 1, "{point}");
    let (status, raw) =
        stage.gateway.call(API_KEY, &format!("GET /v1/events/{}/raw", text(&events[0], "id")), "").await;
    assert_eq!(status, 200, "{point}: {raw}");
    // What is sent now is new.
    stage.post(large.0, &large.1).await;
    assert_eq!(stage.events().await.len(), 2, "{point}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_its_request_is_gone_embedded() {
    for point in ["blob.written", "blob.named"] {
        is_gone_after(point, "embedded").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_its_request_is_gone_on_redis() {
    for point in ["chunks.written", "blob.named"] {
        is_gone_after(point, "redis").await;
    }
}
