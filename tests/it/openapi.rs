//! `/openapi.json` by those who read such documents: a validator, and schemathesis, which calls a live gateway with all that
//! the document allows and much that it does not. Needs Python; without it they say so and pass, unless
//! `WAYPOST_REQUIRE_PYTHON=1`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::client_of_api::call;
use crate::gateway::{Gateway, Poster, receiver};
use crate::mails::{SOURCE, proven};
use crate::redis_harness::Server;
use crate::tidy::root;
use crate::webhooks::NEW_KEY;

/// A source that is proven by a token.
const OAUTH: &str = "[sources.clients]\nprovider = \"sendgrid\"\nverify = \"oauth\"\n\
    clients = [{ id = \"client\", secret = \"test secret, not a secret\" }]\n";

/// Where the packages are installed that a folder of tests lists, once for all tests. Without Python it is none, and says so,
/// unless there must be one.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    match try_installed(name) {
        Ok(folder) => Some(folder),
        Err(why) => {
            assert!(std::env::var("WAYPOST_REQUIRE_PYTHON").as_deref() != Ok("1"), "{why}");
            eprintln!("not checked with Python: {why}");
            None
        }
    }
}

fn here() -> PathBuf {
    root().join("tests/it/openapi")
}

fn try_installed(name: &str) -> Result<PathBuf, String> {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&to).unwrap();
    // Several tests come here, each a process of its own; unlocked when dropped.
    let lock = std::fs::File::create(to.join("lock")).unwrap();
    lock.lock().unwrap();
    let (list, done) = (root().join("tests/it").join(name).join("requirements.txt"), to.join("installed.txt"));
    let wanted = std::fs::read_to_string(&list).unwrap();
    if std::fs::read_to_string(&done).ok().as_ref() == Some(&wanted) {
        return Ok(to);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&to).output();
        let output = output.map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{} {arguments:?}: {told}", program.display())) }
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", "venv"])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list.to_str().unwrap()];
    run(&to.join("venv/bin/python"), &pip)?;
    std::fs::write(done, wanted).unwrap();
    Ok(to)
}

/// The document, and where it is written.
async fn document(gateway: &Gateway, folder: &Path) -> (Value, PathBuf) {
    let reply = gateway.get("/openapi.json").await.unwrap();
    let path = folder.join(format!("{}.json", gateway.port()));
    std::fs::write(&path, &reply.bytes).unwrap();
    (serde_json::from_slice(&reply.bytes).unwrap(), path)
}

#[tokio::test]
async fn the_document_is_openapi_and_its_examples_are_of_its_schemas() {
    let Some(folder) = installed("openapi") else { return };
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let (mut told, path) = document(&gateway, &folder).await;
    let check = |path: &Path| {
        let mut command = Command::new(folder.join("venv/bin/python"));
        let recorded = root().join("fixtures/formats/drin.jsonl");
        let output = command.arg(here().join("check.py")).arg(path).arg(recorded).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(check(&path), "");
    // It would be told.
    told["paths"]["/v1/webhooks"]["post"]["requestBody"]["content"]["application/json"]["example"]["url"] = 1.into();
    told["info"]["title"] = 1.into();
    std::fs::write(&path, told.to_string()).unwrap();
    assert!(check(&path).lines().count() >= 2, "{}", check(&path));
}

#[tokio::test]
async fn an_embedded_gateway_answers_as_it_tells() {
    answers_as_it_tells("embedded", "examples,coverage,fuzzing").await;
}

#[tokio::test]
async fn a_redis_gateway_answers_as_it_tells() {
    let server = Server::start().await;
    // Where the schemas are tried out value by value, the store does not matter.
    answers_as_it_tells(&server.url(), "examples,fuzzing").await;
}

async fn answers_as_it_tells(store: &str, phases: &str) {
    let Some(folder) = installed("openapi") else { return };
    let more = format!("{SOURCE}{OAUTH}{NEW_KEY}");
    // Who tries wrong keys is another client each time: see hooks.py.
    let mut gateway = Gateway::with(store, receiver().0, "trusted_proxies = [\"127.0.0.1\"]", &more);
    gateway.up(None);
    gateway.until_alive().await;
    let work = folder.join(gateway.port().to_string());
    std::fs::create_dir_all(&work).unwrap();
    std::fs::copy(here().join("hooks.py"), work.join("hooks.py")).unwrap();
    let settings = std::fs::read_to_string(here().join("schemathesis.toml")).unwrap();
    std::fs::write(work.join("schemathesis.toml"), settings + &seeded(&gateway).await).unwrap();

    let mut command = Command::new(folder.join("venv/bin/st"));
    let url = format!("http://{}/openapi.json", gateway.address());
    let output = command.args(["run", &url, "--phases", phases]).current_dir(&work).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let cases = told.split(" generated, ").next().and_then(|text| text.rsplit(' ').next()).unwrap_or_default();
    assert!(cases.parse::<usize>().is_ok_and(|cases| cases > 300), "{told}");
    std::fs::remove_dir_all(work).unwrap();
}

/// Fills the gateway with some of everything; what there is, as dictionaries.
async fn seeded(gateway: &Gateway) -> String {
    let poster = Poster::new();
    for number in 1..=3 {
        poster.until_accepted(gateway, number).await;
    }
    let kinds = [poster.resend_event_of(9, 9, "email.bounced").1, poster.resend_event_of(10, 10, "email.surprise").1];
    for signed in kinds {
        assert_eq!(poster.post(&gateway.url("resend"), signed).await, Some(200));
    }
    assert_eq!(poster.post(&gateway.url("mail"), proven("mail-1", "Hello")).await, Some(200));
    gateway.until_idle().await;
    let webhook = r#"{"url": "https://127.0.0.1:9/", "headers": {"x-team": "a"}}"#;
    for path in ["/v1/webhooks", "/v1/webhooks"] {
        assert_eq!(call(gateway, "POST", path, webhook).await.0, 201);
    }
    let since = r#"{"since": "2020-01-01T00:00:00Z"}"#;
    assert_eq!(call(gateway, "POST", "/v1/webhooks/wh_ledger/replay", since).await.0, 202);
    assert_eq!(call(gateway, "PUT", "/v1/feed/consumers/flags", "").await.0, 201);
    let manual = r#"{"address": "gone@customer.example"}"#;
    assert_eq!(call(gateway, "POST", "/v1/suppressions", manual).await.0, 201);

    let mut words = String::new();
    for (name, path) in [
        ("events", "/v1/events"),
        ("mails", "/v1/events?type=email.received"),
        ("deliveries", "/v1/deliveries?status=delivered"),
        ("requests", "/v1/requests?status=unmapped"),
        ("replays", "/v1/replays"),
        ("webhooks", "/v1/webhooks"),
        ("numbers", "/api/webhooks/manage"),
    ] {
        let list = gateway.read(path).await;
        let items = list["data"].as_array().or(list["webhooks"].as_array()).unwrap();
        let ids: Vec<_> = items.iter().map(|one| one["id"].clone()).collect();
        assert!(!ids.is_empty(), "{path} has nothing");
        words += &format!("{name} = {{ values = {} }}\n", Value::from(ids));
    }
    words
}
