//! What a gateway posts, as those see it who receive it: their libraries, and the snippets of the seed documents.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use waypost::domain::format::Format;
use waypost_providers::Signed;

use crate::capture::{Capture, Posted};
use crate::formats::{OPERATIONAL, SEEDS, goldens, goldens_in};
use crate::gateway::{Gateway, Poster};
use crate::hooks::until;
use crate::interop::{Check, ask, ask_of, hold, installed, object};
use crate::tidy::root;

const SOON: Duration = Duration::from_secs(60);
/// The secrets that the documents show.
const S1: &str = "whsec_your_secret_key_here";
const S2: &str = "your-webhook-secret";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Recorded requests of the provider in front.
const RECORDED: [&str; 11] = [
    "resend/email.delivered",
    "resend/email.sent-several-recipients",
    "resend/email.bounced",
    "resend/email.clicked",
    "resend/email.suppressed",
    "resend/email.received",
    "resend/non-ascii",
    "resend/contact.topics.updated",
    "resend/contact.updated",
    "resend/domain.updated",
    "mailgun/delivered",
];

fn secret(format: Format) -> &'static str {
    match format {
        Format::Platform => S1,
        Format::Selfhosted | Format::Sentinmail | Format::Relaypost => S2,
        Format::Drin | Format::Resend | Format::Cloudevents => SECRET,
    }
}

/// An endpoint whose id is its format, with whatever is that format's default.
fn endpoints(target: std::net::SocketAddr) -> String {
    let mut text = String::new();
    for format in Format::ALL {
        let (id, secret) = (format.as_str(), secret(format));
        let url = format!("http://{target}/{id}");
        writeln!(text, "[[endpoints]]\nid = '{id}'\nurl = '{url}'\nformat = '{id}'\nsecret = '{secret}'").unwrap();
        writeln!(text, "events = ['*', 'waypost.*']").unwrap();
    }
    text
}

/// A recorded request, signed anew.
fn recorded(poster: &Poster, number: u8, case: &str) -> (String, Signed) {
    let request = std::fs::read_to_string(root().join(format!("fixtures/{case}.http"))).unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let provider = case.split('/').next().unwrap();
    (provider.to_owned(), poster.sign(provider, body, [number; 16]))
}

/// What a gateway process makes of the recorded requests, at an endpoint of each format.
async fn posted() -> Vec<Posted> {
    let capture = Capture::answering(|_| 200);
    let mut gateway = Gateway::serving("embedded", &endpoints(capture.address));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for (number, case) in RECORDED.into_iter().enumerate() {
        let (provider, signed) = recorded(&poster, u8::try_from(number).unwrap(), case);
        assert_eq!(poster.post(&gateway.url(&provider), signed).await, Some(200), "{case}");
    }
    for number in 0..20 {
        let (_, signed) = poster.resend_event(number);
        let unproven = Signed { body: "{}".into(), ..signed };
        assert_eq!(poster.post(&gateway.url("resend"), unproven).await, Some(401));
    }
    // The last is operational.
    until(SOON, "everything is there", || capture.posted().len() == (RECORDED.len() + 1) * Format::ALL.len()).await;
    capture.posted()
}

/// The questions about one request: who verifies it.
fn checks(posted: &Posted) -> Vec<Check> {
    let format = Format::ALL.into_iter().find(|format| format.as_str() == posted.endpoint).unwrap();
    let verifiers: &[&str] = match format {
        Format::Drin => &["stripe", "readme", "standard", "svix"],
        Format::Platform => &["seed001"],
        Format::Selfhosted | Format::Sentinmail => &["seed002"],
        Format::Relaypost => &["seed004"],
        Format::Resend => &["svix", "resend"],
        Format::Cloudevents => &["standard"],
    };
    let ask = |library: &str| {
        json!({"library": library, "body": posted.body, "headers": object(&posted.headers), "secret": secret(format),
            "header": posted.headers.get("drin-signature")})
    };
    let what = |library: &str| format!("{library} on {posted:?}");
    let mut checks: Vec<_> = verifiers.iter().flat_map(|library| Check::both(&what(library), ask(library))).collect();
    if SEEDS.contains(&format) {
        checks.push(Check { what: what("stringify"), ask: ask("stringify"), expected: true.into() });
    }
    if format == Format::Cloudevents {
        checks.push(Check { what: what("cloudevents"), ask: ask("cloudevents"), expected: true.into() });
    }
    checks
}

/// What the handlers of the document 003 print of a request.
fn printed(posted: &Posted, said: &str, nobody: &str) -> String {
    let body: Value = serde_json::from_str(&posted.body).unwrap();
    let recipient = body["recipient"].as_str().unwrap_or(nobody);
    format!("{said}: {} for {recipient}", body["type"].as_str().unwrap())
}

#[tokio::test]
async fn the_consumers_of_each_format_believe_what_a_gateway_posts() {
    let Some(folder) = installed() else { return };
    let posted = posted().await;
    let mut node: Vec<_> = posted.iter().flat_map(checks).collect();
    let mut python = Vec::new();
    for posted in &posted {
        let ask = |library: &str| json!({"library": library, "body": posted.body, "headers": object(&posted.headers), "secret": S2});
        let what = format!("the documents' handlers on {posted:?}");
        match posted.endpoint.as_str() {
            "selfhosted" => python.extend(Check::both(&what, ask("seed002"))),
            // The document's handlers need a `recipient`, which no operational event has.
            "sentinmail" if !posted.body.contains("waypost.") => {
                let expected = printed(posted, "Received event", "null").into();
                node.push(Check { what: what.clone(), ask: ask("seed003"), expected });
                let expected = printed(posted, "Received", "None").into();
                python.push(Check { what, ask: ask("seed003"), expected });
            }
            _ => {}
        }
    }
    let questions = |checks: &[Check]| checks.iter().map(|check| check.ask.clone()).collect::<Vec<_>>().into();
    hold(&node, &ask(&folder, &questions(&node)));
    hold(&python, &ask_of(&folder, ["python3", "check.py"], &questions(&python)));
}

#[test]
fn the_goldens_of_the_seeds_are_what_javascript_writes() {
    let Some(folder) = installed() else { return };
    let formats = || SEEDS.into_iter().chain([Format::Resend]);
    let all = formats().flat_map(goldens).chain(formats().flat_map(|format| goldens_in(OPERATIONAL, format)));
    let check = |body: String| {
        let ask = json!({"library": "stringify", "body": body});
        Check { what: body, ask, expected: true.into() }
    };
    let checks: Vec<_> = all.map(check).collect();
    let questions: Vec<_> = checks.iter().map(|check| check.ask.clone()).collect();
    hold(&checks, &ask(&folder, &questions.into()));
}

/// The types of Resend's own library take every golden, and not one with a wrong field.
#[test]
fn the_goldens_of_resend_are_of_its_own_types() {
    let Some(folder) = installed() else { return };
    let mut module = "import type { WebhookEventPayload } from \"resend\";\n\
                      const takes = <Event extends WebhookEventPayload>(event: Event) => event;\n"
        .to_owned();
    for golden in goldens(Format::Resend) {
        writeln!(module, "takes({golden});").unwrap();
    }
    let bounce = goldens(Format::Resend).into_iter().find(|golden| golden.contains("email.bounced")).unwrap();
    for (right, wrong) in [(r#""to":["#, r#""to":[1,"#), (r#""bounce":"#, r#""bounced":"#)] {
        assert!(bounce.contains(right));
        writeln!(module, "// @ts-expect-error\ntakes({});", bounce.replace(right, wrong)).unwrap();
    }
    std::fs::write(folder.join("goldens.ts"), module).unwrap();
    compile(&folder);
}

fn compile(folder: &Path) {
    let mut node = Command::new("node");
    node.arg("node_modules/typescript/bin/tsc").current_dir(folder);
    node.args(["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "goldens.ts"]);
    let output = node.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A receiver may be changed while a delivery waits for another attempt.
#[tokio::test]
async fn a_retry_has_the_format_and_the_secret_that_its_endpoint_has_by_then() {
    let capture = Capture::answering(|posted| if posted.body.starts_with("{\"event\":") { 200 } else { 500 });
    let endpoint = |more: &str| {
        let url = format!("http://{}/one", capture.address);
        format!("[[endpoints]]\nid = 'one'\nurl = '{url}'\nretry = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n{more}\n")
    };
    let old = endpoint(&format!("format = 'selfhosted'\nsecret = '{S1}'"));
    let mut gateway = Gateway::serving("embedded", &old);
    gateway.up(None);
    gateway.until_alive().await;
    let (_, status) = Poster::new().resend(&gateway.url("resend"), 1).await;
    assert_eq!(status, Some(200));
    until(SOON, "it is tried", || !capture.posted().is_empty()).await;
    gateway.configure(&endpoint(&format!("format = 'relaypost'\nsecret = '{S2}'")));
    gateway.signal("HUP");
    gateway.until_idle().await;

    let posted = capture.posted();
    let (first, last) = (&posted[0], posted.last().unwrap());
    assert_eq!(first.headers.get("webhook-id"), last.headers.get("webhook-id"));
    assert!(first.headers.get("waypost-attempt") < last.headers.get("waypost-attempt"));
    let body = |posted: &Posted| serde_json::from_str::<Value>(&posted.body).unwrap();
    assert_eq!((&body(first)["type"], &body(last)["event"]), (&"delivered".into(), &"delivered".into()));
    assert_eq!(body(first)["id"], body(last)["id"]);
    let signature = |posted: &Posted, secret: &str| {
        let secret = [waypost::outbound::sign::Secret::parse(secret).unwrap()];
        let schemes = [waypost::domain::endpoint::Scheme::Hex];
        let made =
            waypost::outbound::sign::sign(&schemes, &secret, "", jiff::Timestamp::UNIX_EPOCH, posted.body.as_bytes());
        made[0].1.clone()
    };
    let sent = |posted: &Posted| posted.headers.get("x-webhook-signature").unwrap().to_owned();
    assert_eq!(sent(first), format!("sha256={}", signature(first, S1)));
    assert_eq!(sent(last), signature(last, S2));
}
