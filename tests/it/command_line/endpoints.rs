//! Endpoints are made, changed, tried and deleted by commands.

use serde_json::{Value, json};

use super::{command, file, ran, waypost};
use crate::gateway::endpoint;
use crate::webhooks::{Inbox, OLD_KEY, Stage, text};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

async fn live_and_die(on: &str) {
    let (inbox, folder) = (Inbox::start(), tempfile::tempdir().unwrap());
    let of_file = endpoint("wh_file", &inbox.url("/file"), "");
    let stage = Stage::new(on, &format!("{OLD_KEY}{of_file}")).await;
    let run = |arguments: &[&str]| waypost(&stage.gateway, arguments);

    let url = inbox.url("/a");
    let fields = r#"{"headers": {"x-team": "hunter2"}, "timeout_s": 9, "description": "by file"}"#;
    let create = ["endpoints", "create", "--to", &url, "--events", "email.sent,email.bounced", "--fields", "-"];
    let made = ran(command(&stage.gateway, &create).arg("--timeout-s=3"), fields).one();
    let (id, secret) = (text(&made["id"]), text(&made["secret"]));
    assert_eq!((&made["events"], &made["timeout_s"]), (&json!(["email.sent", "email.bounced"]), &3.into()));
    assert_eq!((&made["headers"]["x-team"], &made["description"]), (&"hunter2".into(), &"by file".into()));

    let listed = run(&["endpoints", "list"]).lines();
    let managed = |one: &Value| (text(&one["id"]), text(&one["managed_by"]));
    let expected = [(id.clone(), "api".to_owned()), ("wh_file".to_owned(), "file".to_owned())];
    let mut found: Vec<_> = listed.iter().map(managed).collect();
    found.sort_by_key(|(_, by)| by.clone());
    assert_eq!(found, expected);

    let update = ["endpoints", "update", &id, "--rate-limit", "50", "--unset", "description,timeout_s", "--events", ""];
    let changed = run(&update).one();
    assert_eq!(
        (&changed["rate_limit"], &changed["timeout_s"], &changed["events"]),
        (&50.into(), &15.into(), &json!([]))
    );
    assert_eq!((changed.get("description"), &changed["headers"]["x-team"]), (None, &"hunter2".into()));
    assert_eq!(run(&["endpoints", "show", &id]).one(), changed);
    assert!(run(&["endpoints", "update", &id]).failure().contains("nothing to change"));

    assert_eq!(run(&["endpoints", "secret", &id]).one()["secret"], secret.as_str());
    let path = file(&folder, "secret", &format!("{SECRET}\n"));
    let rotate = ["endpoints", "rotate", &id, "--overlap-s", "60", "--secret-file", path.to_str().unwrap()];
    assert_eq!(run(&rotate).one().get("secret"), None);
    let shown = run(&["endpoints", "secret", &id]).one();
    assert_eq!((&shown["secret"], &shown["old"]["secret"]), (&SECRET.into(), &secret.as_str().into()));
    assert!(run(&["endpoints", "rotate", &id]).failure().contains("(409)"));
    assert_eq!(run(&["endpoints", "revoke", &id]).one()["id"], id.as_str());
    assert_eq!(run(&["endpoints", "secret", &id]).one().get("old"), None);

    for id in ["wh_file", &id] {
        let sample = run(&["endpoints", "test", id, "--type", "email.bounced"]).one();
        inbox.wait(if id == "wh_file" { "/file" } else { "/a" }, sample["event_id"].as_str().unwrap()).await;
        assert_eq!(run(&["endpoints", "disable", id]).one()["active"], false);
        assert!(run(&["endpoints", "test", id]).failure().contains("disabled"));
        assert_eq!(run(&["endpoints", "enable", id]).one()["active"], true);
    }
    let refused = run(&["endpoints", "update", "wh_file", "--rate-limit", "1"]);
    assert!(refused.failure().contains("[[endpoints]]"), "{refused:?}");
    assert_eq!(run(&["endpoints", "delete", &id]).one()["id"], id.as_str());
    let changes = run(&["audit", "--limit", "1"]).lines();
    assert_eq!((&changes[0]["action"], &changes[0]["target"]), (&"webhook.deleted".into(), &id.as_str().into()));
    assert!(run(&["endpoints", "show", &id]).failure().contains("no such webhook"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_lives_and_dies_by_commands_embedded() {
    live_and_die("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_lives_and_dies_by_commands_on_redis() {
    live_and_die("redis").await;
}
