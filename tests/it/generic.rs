//! The generic source: what a `platform` endpoint is sent, a generic source takes, and reads as the same.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use waypost::clock::{Clock, SystemClock};
use waypost::domain::format::Format;
use waypost_providers::{Draft, Headers, Keys, Parsed, Request, Signed, by_name};

use crate::formats::goldens;
use crate::gateway::{Gateway, Poster, endpoint, until};

const SECRET: &str = "whsec_your_secret_key_here";

/// What `platform` tells of an event in `drin`.
fn told(drin: &Value) -> Value {
    let (data, bounce) = (&drin["data"], &drin["data"]["bounce"]);
    let class = match bounce["class"].as_str() {
        Some("suppressed") => "hard",
        Some("blocked") => "soft",
        Some(class) => class,
        None => "",
    };
    let at: Timestamp = drin["created_at"].as_str().unwrap().parse().unwrap();
    let access = ["open", "click", "unsubscribe"].map(|detail| &data[detail]["ip"]);
    let ip = access.into_iter().find(|ip| !ip.is_null());
    json!([
        drin["type"],
        data["id"],
        at.as_second(),
        class,
        bounce["message"],
        data["failure"]["reason"],
        data["click"]["url"],
        data["delivery"]["code"],
        data["delay"]["message"],
        data["domain"]["name"],
        ip
    ])
}

/// What a generic source reads, when it is posted this then.
fn read_at(body: &str, now: Timestamp) -> Vec<Parsed> {
    let generic = by_name("generic").unwrap();
    let keys = Keys::read(generic, &[("signing_secrets".to_owned(), vec![SECRET.to_owned()])].into()).unwrap();
    let draft = Draft { body: body.as_bytes(), secret: SECRET, now, nonce: [0; 16] };
    let signed = generic.sign(draft).unwrap();
    let request = Request { source: "default".into(), received_at: now, headers: signed.headers, body: signed.body };
    generic.parse(&generic.verify(request, &keys, now).unwrap())
}

#[test]
fn every_event_in_the_format_platform_reads_as_itself() {
    for (drin, platform) in goldens(Format::Drin).iter().zip(goldens(Format::Platform)) {
        let drin: Value = serde_json::from_str(drin).unwrap();
        let sent: Value = serde_json::from_str(&platform).unwrap();
        let parsed = read_at(&platform, sent["timestamp"].as_str().unwrap().parse().unwrap());
        let needs_mail = drin["type"].as_str().unwrap().starts_with("email.");
        if needs_mail && sent["email_id"].is_null() {
            assert!(matches!(parsed[0], Parsed::Unreadable { .. }), "{platform}");
            continue;
        }
        let [Parsed::Event(found)] = &parsed[..] else { panic!("{platform}: {parsed:?}") };
        let read = serde_json::to_value(&found.event).unwrap();
        assert_eq!(told(&read), told(&drin), "{platform}");
        assert_eq!(read["data"].get("to").unwrap_or(&Value::Null), &sent["recipient"], "{platform}");
        let is_sent = read["type"] == "email.sent";
        assert!(is_sent || found.identity == sent["id"], "{platform}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_takes_what_it_is_told_itself_at_the_source_named_default() {
    let mut gateway = Gateway::serving("embedded", "");
    let here = format!("http://127.0.0.1:{}/api/webhooks", gateway.port());
    let to_itself = endpoint("wh_self", &here, "format = \"platform\"\nsources = [\"resend\"]\n");
    let secret = crate::gateway::SECRET;
    let kept = "[retention]\nevents_days = 2\nrequests_days = 2\n";
    gateway.configure(&format!("{kept}[sources.default]\nsigning_secrets = [\"{secret}\"]\n{to_itself}"));
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let now = SystemClock::new().now();
    let body =
        format!(r#"{{"type":"email.bounced","created_at":"{now}","data":{{"email_id":"a","to":["a@b.example"]}}}}"#);
    let event = poster.sign("resend", &body, [1; 16]);
    assert_eq!(poster.post(&gateway.url("resend"), event).await, Some(200));
    until("it came back", async || gateway.read("/v1/events").await["data"].as_array().unwrap().len() == 2).await;
    let events = gateway.read("/v1/events").await;
    let [again, first] = &events["data"].as_array().unwrap()[..] else { panic!("{events}") };
    assert_eq!(told(again), told(first));
    assert_eq!(again["data"]["to"], first["data"]["to"]);
    assert_eq!(again["data"]["provider"]["event_id"], first["id"]);

    // What happened longer ago than identities are kept is not taken.
    for (hours, status) in [(47, 200), (49, 401)] {
        let at = now - SignedDuration::from_hours(hours);
        let body = format!(r#"{{"type":"opened","email_id":"{hours}","timestamp":"{at}"}}"#);
        let signed = poster.sign("generic", &body, [0; 16]);
        assert_eq!(poster.post(&gateway.url("default"), signed).await, Some(status), "{hours} h ago");
    }

    let unsigned = Signed { headers: Headers::default(), body: body.into() };
    assert_eq!(poster.post(&gateway.url("default"), unsigned).await, Some(401));
}
