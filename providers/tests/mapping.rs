//! The mapping of each provider's words to ours, row by row: what is reported, as what, and what is not.

use serde_json::{Value, json};
use waypost_providers::Parsed;

use crate::cases::source;

/// Their type, what else decides, ours (or none), and what `data` then says.
type Row = (&'static str, Value, Option<&'static str>, Value);

#[test]
fn resend() {
    let rows: Vec<Row> = vec![
        ("email.sent", json!({}), Some("email.sent"), json!({ "id": "id", "to": "a@b.example" })),
        ("email.scheduled", json!({}), None, json!({})),
        ("email.delivered", json!({}), Some("email.delivered"), json!({ "delivery": {} })),
        ("email.delivery_delayed", json!({}), Some("email.delivery_delayed"), json!({ "delay": {} })),
        (
            "email.failed",
            json!({ "failed": { "reason": "reached_daily_quota" } }),
            Some("email.failed"),
            json!({ "failure": { "reason": "reached_daily_quota", "stage": "before_sending" } }),
        ),
        ("email.complained", json!({}), Some("email.complained"), json!({})),
        ("email.opened", json!({}), Some("email.opened"), json!({ "open": {} })),
        (
            "email.clicked",
            json!({ "click": { "link": "l" } }),
            Some("email.clicked"),
            json!({ "click": { "url": "l" } }),
        ),
        ("email.received", json!({ "cc": ["c"] }), Some("email.received"), json!({ "mail": { "cc": ["c"] } })),
        (
            "contact.topics.updated",
            json!({ "email": "a@b.example",
                "topics": [{ "id": "1", "subscription": "opt_in" }, { "id": "2", "subscription": "opt_out" }] }),
            Some("contact.unsubscribed"),
            json!({ "to": "a@b.example", "unsubscribe": { "scope": "topic", "ids": ["2"] } }),
        ),
        ("contact.topics.updated", json!({ "topics": [{ "id": "1", "subscription": "opt_in" }] }), None, json!({})),
        (
            "contact.updated",
            json!({ "unsubscribed": true, "id": "c", "email": "a@b.example" }),
            Some("contact.unsubscribed"),
            json!({ "to": "a@b.example", "contact": { "id": "c" }, "unsubscribe": { "scope": "global" } }),
        ),
        ("contact.deleted", json!({ "unsubscribed": true, "id": "c" }), None, json!({})),
        (
            "domain.updated",
            json!({ "status": "verified", "id": "d", "name": "b.example" }),
            Some("domain.verified"),
            json!({ "domain": { "id": "d", "name": "b.example" } }),
        ),
        ("domain.deleted", json!({ "status": "verified", "id": "d", "name": "b.example" }), None, json!({})),
        ("suppression.added", json!({}), None, json!({})),
        ("suppression.removed", json!({}), None, json!({})),
        ("topic.created", json!({}), None, json!({})),
        ("email.unheard_of", json!({}), None, json!({})),
    ];
    check("resend", rows, resend_body);
}

/// What is made verified or opted out did not become so, and what is told otherwise is remembered.
#[test]
fn resend_snapshots() {
    let source = source("resend");
    let state = |word, more: Value| {
        let body = resend_body(word, merged(json!({ "id": "1", "name": "b.example", "email": "a@b.example" }), more));
        match source.read_body(body.to_string().as_bytes()).unwrap().remove(0) {
            Parsed::Event(found) => (true, found.state.unwrap()),
            Parsed::Snapshot { kind, state } if kind == word => (false, state),
            other => panic!("{body}\nis {other:?}"),
        }
    };
    for (word, more, is_event, entity, holds) in [
        ("domain.updated", json!({ "status": "verified" }), true, "domain:1", true),
        ("domain.updated", json!({ "status": "partially_verified" }), false, "domain:1", false),
        ("domain.updated", json!({ "status": "unheard_of" }), false, "domain:1", false),
        ("domain.created", json!({ "status": "verified" }), false, "domain:1", true),
        ("domain.created", json!({ "status": "not_started" }), false, "domain:1", false),
        ("contact.updated", json!({ "unsubscribed": true }), true, "contact:1", true),
        ("contact.updated", json!({ "unsubscribed": false }), false, "contact:1", false),
        ("contact.created", json!({ "unsubscribed": true }), false, "contact:1", true),
        ("contact.created", json!({ "unsubscribed": false }), false, "contact:1", false),
    ] {
        let (was_event, told) = state(word, more.clone());
        assert_eq!((was_event, told.entity.as_str(), told.holds), (is_event, entity, holds), "{word} {more}");
        assert_eq!(told.at.to_string(), "2026-03-14T09:26:53Z", "the root's");
    }
}

#[test]
fn resend_bounces_and_suppressions() {
    let bounced = |bounce: Value| json!({ "bounce": bounce });
    let class = |class: &str| json!({ "bounce": { "class": class } });
    let rows: Vec<Row> = vec![
        ("email.bounced", bounced(json!({ "type": "Permanent" })), Some("email.bounced"), class("hard")),
        ("email.bounced", bounced(json!({ "type": "Transient" })), Some("email.bounced"), class("soft")),
        ("email.bounced", bounced(json!({ "type": "Undetermined" })), Some("email.bounced"), class("undetermined")),
        ("email.bounced", json!({}), Some("email.bounced"), class("undetermined")),
        (
            "email.bounced",
            bounced(json!({ "type": "Permanent", "subType": "Suppressed" })),
            Some("email.bounced"),
            class("suppressed"),
        ),
        (
            "email.bounced",
            bounced(json!({ "type": "Permanent", "message": "has Suppressed sending to" })),
            Some("email.bounced"),
            class("suppressed"),
        ),
        (
            "email.suppressed",
            json!({ "suppressed": { "reason": "previous_bounce" } }),
            Some("email.failed"),
            json!({ "failure": { "reason": "suppressed", "stage": "before_sending", "suppressed_by": "bounce" } }),
        ),
        (
            "email.suppressed",
            json!({ "suppressed": { "reason": "previous_complaint" } }),
            Some("email.failed"),
            json!({ "failure": { "reason": "suppressed", "suppressed_by": "complaint" } }),
        ),
    ];
    check("resend", rows, resend_body);
}

fn resend_body(word: &str, more: Value) -> Value {
    let data = merged(json!({ "email_id": "id", "to": ["a@b.example"] }), more);
    json!({ "type": word, "created_at": "2026-03-14T09:26:53Z", "data": data })
}

#[test]
fn sendgrid() {
    let suppressed =
        |by: &str| json!({ "failure": { "reason": "suppressed", "suppressed_by": by, "stage": "before_sending" } });
    let rows: Vec<Row> = vec![
        ("processed", json!({}), Some("email.sent"), json!({ "id": "id", "to": "a@b.example" })),
        ("Processed", json!({}), Some("email.sent"), json!({})),
        (
            "deferred",
            json!({ "response": "451 4.7.1 later", "attempt": "2" }),
            Some("email.delivery_delayed"),
            json!({ "delay": { "code": "451", "status": "4.7.1", "attempt": 2 } }),
        ),
        (
            "delivered",
            json!({ "response": "250 2.0.0 OK" }),
            Some("email.delivered"),
            json!({ "delivery": { "code": "250", "status": "2.0.0", "message": "250 2.0.0 OK" } }),
        ),
        ("bounce", json!({ "type": "bounce" }), Some("email.bounced"), json!({ "bounce": { "class": "hard" } })),
        ("bounce", json!({}), Some("email.bounced"), json!({ "bounce": { "class": "hard" } })),
        ("bounce", json!({ "type": "blocked" }), Some("email.bounced"), json!({ "bounce": { "class": "blocked" } })),
        ("dropped", json!({ "reason": "Bounced Address" }), Some("email.failed"), suppressed("bounce")),
        ("dropped", json!({ "reason": "Unsubscribed Address" }), Some("email.failed"), suppressed("unsubscribe")),
        ("dropped", json!({ "reason": "Spam Reporting Address" }), Some("email.failed"), suppressed("complaint")),
        (
            "dropped",
            json!({ "reason": "Invalid" }),
            Some("email.failed"),
            json!({ "failure": { "reason": "Invalid", "stage": "before_sending" } }),
        ),
        ("open", json!({ "sg_machine_open": true }), Some("email.opened"), json!({ "open": { "machine": true } })),
        ("click", json!({ "url": "l" }), Some("email.clicked"), json!({ "click": { "url": "l" } })),
        ("spamreport", json!({}), Some("email.complained"), json!({})),
        ("unsubscribe", json!({}), Some("contact.unsubscribed"), json!({ "unsubscribe": { "scope": "global" } })),
        (
            "group_unsubscribe",
            json!({ "asm_group_id": 7 }),
            Some("contact.unsubscribed"),
            json!({ "unsubscribe": { "scope": "group", "ids": ["7"] } }),
        ),
        ("group_resubscribe", json!({}), None, json!({})),
        ("account_status_change", json!({ "type": "compliance_suspend" }), None, json!({})),
        ("received", json!({}), None, json!({})),
        ("blocked", json!({}), None, json!({})),
        ("spam_report", json!({}), None, json!({})),
    ];
    check("sendgrid", rows, |word, more| {
        let given =
            json!({ "event": word, "email": "a@b.example", "timestamp": 1_773_480_413, "sg_message_id": "id.x" });
        json!([merged(given, more)])
    });
}

#[test]
fn mailgun() {
    let rows: Vec<Row> = vec![
        ("accepted", json!({}), Some("email.sent"), json!({ "id": "<id>", "message_id": "<id>", "to": "a@b.example" })),
        ("accepted", json!({ "flags": { "is-routed": true } }), None, json!({})),
        ("accepted", json!({ "routes": [{}] }), None, json!({})),
        ("delivered", json!({}), Some("email.delivered"), json!({ "delivery": {} })),
        ("delivered", json!({ "flags": { "is-routed": true } }), None, json!({})),
        ("rejected", json!({ "flags": { "is-routed": true } }), None, json!({})),
        ("failed", json!({ "severity": "permanent", "flags": { "is-routed": true } }), None, json!({})),
        ("failed", json!({ "severity": "permanent", "reason": "suppress-bounce", "routes": [{}] }), None, json!({})),
        ("failed", json!({ "severity": "temporary", "routes": [{}] }), None, json!({})),
        (
            "rejected",
            json!({ "recipient": null, "reject": { "reason": "no" }, "message": { "headers": { "to": "C <c@d.example>" } } }),
            Some("email.failed"),
            json!({ "to": "C <c@d.example>", "failure": { "reason": "no", "stage": "before_sending" } }),
        ),
        (
            "opened",
            json!({ "client-info": { "bot": "gmail" } }),
            Some("email.opened"),
            json!({ "open": { "machine": true } }),
        ),
        (
            "opened",
            json!({ "client-info": { "bot": "" } }),
            Some("email.opened"),
            json!({ "open": { "machine": false } }),
        ),
        ("clicked", json!({ "url": "l" }), Some("email.clicked"), json!({ "click": { "url": "l" } })),
        ("complained", json!({}), Some("email.complained"), json!({})),
        (
            "unsubscribed",
            json!({ "mailing-list": { "address": "l@m.example" } }),
            Some("contact.unsubscribed"),
            json!({ "unsubscribe": { "scope": "list", "ids": ["l@m.example"] } }),
        ),
        ("unsubscribed", json!({}), Some("contact.unsubscribed"), json!({ "unsubscribe": {} })),
        (
            "delivered",
            json!({ "flags": { "is-test-mode": true } }),
            Some("email.delivered"),
            json!({ "provider": { "test": true } }),
        ),
        ("stored", json!({}), None, json!({})),
        ("list_uploaded", json!({}), None, json!({})),
        ("email_validation", json!({}), None, json!({})),
        ("unheard_of", json!({}), None, json!({})),
    ];
    check("mailgun", rows, mailgun_body);
}

#[test]
fn mailgun_failures() {
    let failed = |severity: &str, reason: &str, code: u32| json!({ "severity": severity, "reason": reason, "delivery-status": { "code": code } });
    let suppressed =
        |by: &str| json!({ "failure": { "reason": "suppressed", "suppressed_by": by, "stage": "before_sending" } });
    let exhausted = json!({ "bounce": { "class": "soft", "retries_exhausted": true } });
    let delayed_bounce = json!({ "severity": "permanent", "flags": { "is-delayed-bounce": true }, "envelope": {},
        "delivery-status": { "code": 550, "bounce-code": "5.1.1" } });
    let rows: Vec<Row> = vec![
        (
            "failed",
            failed("temporary", "generic", 452),
            Some("email.delivery_delayed"),
            json!({ "delay": { "code": "452" } }),
        ),
        ("failed", failed("permanent", "suppress-bounce", 0), Some("email.failed"), suppressed("bounce")),
        ("failed", failed("permanent", "suppress-complaint", 0), Some("email.failed"), suppressed("complaint")),
        ("failed", failed("permanent", "suppress-unsubscribe", 0), Some("email.failed"), suppressed("unsubscribe")),
        ("failed", failed("permanent", "generic", 605), Some("email.failed"), suppressed("bounce")),
        ("failed", failed("permanent", "generic", 606), Some("email.failed"), suppressed("unsubscribe")),
        ("failed", failed("permanent", "generic", 607), Some("email.failed"), suppressed("complaint")),
        ("failed", delayed_bounce, Some("email.bounced"), json!({ "bounce": { "class": "hard", "status": "5.1.1" } })),
        ("failed", failed("permanent", "bounce", 550), Some("email.bounced"), json!({ "bounce": { "class": "hard" } })),
        ("failed", failed("permanent", "old", 602), Some("email.bounced"), exhausted.clone()),
        ("failed", failed("permanent", "generic", 498), Some("email.bounced"), exhausted.clone()),
        ("failed", failed("permanent", "generic", 499), Some("email.bounced"), exhausted.clone()),
        ("failed", failed("permanent", "greylisted", 451), Some("email.bounced"), exhausted),
        ("failed", json!({ "reason": "bounce" }), None, json!({})),
        ("failed", failed("odd", "bounce", 550), None, json!({})),
    ];
    check("mailgun", rows, mailgun_body);
}

fn mailgun_body(word: &str, more: Value) -> Value {
    let given = json!({ "event": word, "id": "x", "timestamp": 1_773_480_413.5, "recipient": "a@b.example",
            "message": { "headers": { "message-id": "id" } } });
    json!({ "event-data": merged(given, more) })
}

/// Every name of the five seed documents, and the others of the table.
#[test]
fn generic() {
    let names = [
        ("email.sent", "sent queued email.queued sending processing email.processing Sent"),
        ("email.delivered", "email.delivered delivered"),
        ("email.delivery_delayed", "email.delivery_delayed delivery_delayed deferred"),
        ("email.opened", "email.opened email.open opened open"),
        ("email.clicked", "email.clicked email.click clicked click"),
        ("email.bounced", "email.bounced email.bounce bounced bounce EMAIL.BOUNCED"),
        ("email.complained", "email.complained complained"),
        ("email.failed", "email.failed failed rejected email.rejected"),
        ("email.received", "email.received received"),
        ("domain.verified", "domain.verified"),
        ("contact.unsubscribed", "contact.unsubscribed email.unsubscribe unsubscribed unsubscribe"),
    ];
    let words = names.iter().flat_map(|(kind, words)| words.split(' ').map(|word| (word, json!({}), Some(*kind))));
    let unknown = ["email.bounces", "email.domain.verified", "email.email.sent", "email.", "waypost.endpoint.failing"];
    let unknown = unknown.map(|word| (word, json!({}), None));
    let rows = words.chain(unknown).map(|(word, more, kind)| (word, more, kind, json!({ "id": "id" }))).collect();
    check("generic", rows, generic_body);
}

#[test]
fn generic_details() {
    let class = |class: &str| json!({ "bounce": { "class": class } });
    let bounced = |kind: &str| ("bounced", json!({ "bounce_type": kind }), Some("email.bounced"));
    let scope = |scope: Value| ("unsubscribed", json!({ "scope": scope }), Some("contact.unsubscribed"));
    let rows = [
        (bounced("hard"), class("hard")),
        (bounced("Soft"), class("soft")),
        (bounced("undetermined"), class("undetermined")),
        (bounced("odd"), class("undetermined")),
        (scope(json!(null)), json!({ "unsubscribe": { "scope": "global" } })),
        (scope(json!("list")), json!({ "unsubscribe": { "scope": "list" } })),
        (("rejected", json!({}), Some("email.failed")), json!({ "failure": { "stage": "before_sending" } })),
    ];
    check("generic", rows.map(|((word, more, kind), says)| (word, more, kind, says)).into(), generic_body);
}

#[test]
fn a_mail_is_sent_once_by_whatever_words() {
    let source = source("generic");
    let identity = |word: &str, more: Value| {
        let parsed = source.read_body(generic_body(word, more).to_string().as_bytes()).unwrap();
        let Parsed::Event(found) = &parsed[0] else { panic!("{parsed:?}") };
        found.identity.clone()
    };
    let first = identity("queued", json!({}));
    for word in ["sending", "email.processing", "SENT"] {
        assert_eq!(identity(word, json!({ "timestamp": "2026-03-16T09:29:59Z", "id": word })), first, "{word}");
    }
    let others = [json!({ "email_id": "another" }), json!({ "recipient": "c@d.example" })];
    assert!(others.into_iter().all(|other| identity("queued", other) != first));
    assert_eq!(identity("opened", json!({ "id": "evt_1" })), "evt_1");
    let opened = |second: u8| identity("opened", json!({ "timestamp": format!("2026-03-16T09:29:0{second}Z") }));
    assert_eq!(opened(1), opened(1));
    assert_ne!(opened(1), opened(2));
}

fn generic_body(word: &str, more: Value) -> Value {
    let given = json!({ "type": word, "email_id": "id", "recipient": "a@b.example", "domain": "b.example",
            "timestamp": "2026-03-16T09:29:00Z" });
    merged(given, more)
}

fn check(provider: &str, rows: Vec<Row>, body: impl Fn(&str, Value) -> Value) {
    let source = source(provider);
    for (word, more, kind, says) in rows {
        let body = body(word, more);
        let parsed = source.read_body(body.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.len(), 1, "{body}");
        match (&parsed[0], kind) {
            (Parsed::Event(found), Some(kind)) => {
                assert_eq!(found.event.kind.as_str(), kind, "{body}");
                let data = serde_json::to_value(&found.event.data).unwrap();
                assert!(holds(&data, &says), "{body}\nsays {data}\nnot {says}");
                assert_eq!(data["provider"]["type"], word, "the word is kept as sent");
            }
            (Parsed::Unmapped { kind }, None) => assert_eq!(kind, word),
            (other, expected) => panic!("{body}\nis {other:?}\nnot {expected:?}"),
        }
    }
}

/// Whether `whole` says all that `part` says.
fn holds(whole: &Value, part: &Value) -> bool {
    match part {
        Value::Object(fields) => {
            fields.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part)))
        }
        _ => whole == part,
    }
}

fn merged(mut given: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    given.as_object_mut().unwrap().extend(more);
    given
}
