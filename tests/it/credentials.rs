//! Sources that are proven by a login or a token, on running gateways.

use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};
use waypost_providers::Signed;

use crate::gateway::{Gateway, Poster, config, until};
use crate::wire;

const SOURCES: &str = r#"
[sources.login]
provider = "sendgrid"
verify = "basic"
logins = [{ user = "sendgrid", password = "the old password" }, { user = "sendgrid", password = "the next password" }]

[sources.token]
provider = "sendgrid"
verify = "oauth"
"#;
const CLIENT: &str = "clients = [{ id = \"sendgrid\", secret = \"the secret of a client\" }]\n";
const ASKS: &str = "grant_type=client_credentials&client_id=sendgrid&client_secret=the+secret+of+a+client";

async fn up(sources: &str) -> Gateway {
    let mut gateway = Gateway::serving("embedded", sources);
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

/// A request with this in the place of its signature.
fn with_authorization(event: &Signed, authorization: &str) -> Signed {
    let headers = [("content-type", "application/json"), ("authorization", authorization)].into_iter().collect();
    Signed { headers, body: event.body.clone() }
}

async fn post(gateway: &Gateway, source: &str, event: &Signed) -> u16 {
    wire::exchange(gateway.port(), &wire::post(&format!("/in/{source}"), event)).await.unwrap().status
}

/// What the token route of a source answers.
async fn ask(gateway: &Gateway, source: &str, form: &'static str) -> (u16, serde_json::Value) {
    let headers = [("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
    let request = wire::post(&format!("/in/{source}/token"), &Signed { headers, body: form.into() });
    let reply = wire::exchange(gateway.port(), &request).await.unwrap();
    (reply.status, serde_json::from_str(&reply.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_proves_a_source_and_is_not_kept() {
    let (gateway, poster) = (up(&format!("{SOURCES}{CLIENT}")).await, Poster::new());
    let event = poster.sendgrid_batch(1, 1).1;
    let login = |login: &str| with_authorization(&event, &format!("Basic {}", STANDARD.encode(login)));
    let (old, new) = (login("sendgrid:the old password"), login("sendgrid:the next password"));
    for (source, request, status) in [
        ("login", &old, 200),
        ("login", &new, 200),
        ("login", &login("sendgrid:another password"), 401),
        // A good signature is no login, and a login no signature.
        ("login", &event, 401),
        ("sendgrid", &old, 401),
        ("token", &old, 401),
        ("token", &event, 401),
    ] {
        assert_eq!(post(&gateway, source, request).await, status, "{source}");
    }
    let events = gateway.read("/v1/events").await;
    let [stored] = &events["data"].as_array().unwrap()[..] else { panic!("{events}") };
    let raw = gateway.read(&format!("/v1/events/{}/raw", stored["id"].as_str().unwrap())).await.to_string();
    assert!(raw.contains("content-type") && !raw.contains("authorization"), "{raw}");
    assert!(!gateway.log().contains("password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_gateway_is_good_at_all_until_its_client_is_gone() {
    let sources = format!("{SOURCES}{CLIENT}");
    let (mut first, second) = (up(&sources).await, up(&sources).await);
    let (status, answer) = ask(&first, "token", ASKS).await;
    assert_eq!((status, &answer["token_type"], &answer["expires_in"]), (200, &"Bearer".into(), &3_600.into()));
    let token = answer["access_token"].as_str().unwrap();
    let event = Poster::new().sendgrid_batch(1, 1).1;
    let bearer = with_authorization(&event, &format!("Bearer {token}"));
    assert_eq!((post(&first, "token", &bearer).await, post(&second, "token", &bearer).await), (200, 200));
    first.down();
    first.up(None);
    first.until_alive().await;
    assert_eq!(post(&first, "token", &bearer).await, 200);
    assert_eq!(post(&first, "login", &bearer).await, 401);

    let another = CLIENT.replace("sendgrid", "another");
    first.configure(&format!("{SOURCES}{another}"));
    first.signal("HUP");
    until("the client is gone", async || post(&first, "token", &bearer).await == 401).await;
    assert_eq!(ask(&first, "token", ASKS).await, (401, serde_json::json!({ "error": "invalid_client" })));
    assert!(!first.log().contains("the secret of") && !first.log().contains(token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_given_where_they_are_taken_and_to_clients_only() {
    let gateway = up(&format!("{SOURCES}{CLIENT}")).await;
    for (source, form, status, error) in [
        ("token", "grant_type=password", 400, "unsupported_grant_type"),
        ("token", "", 400, "invalid_request"),
        ("token", "grant_type=client_credentials", 401, "invalid_client"),
        ("login", ASKS, 404, "unknown_source"),
        ("sendgrid", ASKS, 404, "unknown_source"),
        ("nobody", ASKS, 404, "unknown_source"),
    ] {
        assert_eq!(
            ask(&gateway, source, form).await,
            (status, serde_json::json!({ "error": error })),
            "{source} {form}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_shows_the_credentials_that_a_source_asks_for() {
    let sources = format!("{SOURCES}{CLIENT}");
    let gateway = up(&sources).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waypost.toml");
    std::fs::write(&path, config(&gateway.address().to_string(), "embedded:data", &sources)).unwrap();
    for (source, secret, is_taken) in [
        ("login", "sendgrid:the old password", true),
        ("token", "sendgrid:the secret of a client", true),
        ("login", "sendgrid:the secret of a client", false),
        ("token", "sendgrid:the old password", false),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        let output =
            command.args(["send", source, "bounce", "--secret", secret, "--config"]).arg(&path).output().unwrap();
        assert_eq!(output.status.success(), is_taken, "{source}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(gateway.read("/v1/events").await["data"].as_array().unwrap().len(), 2);
}
