//! What is accepted as a proof, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use serde_json::value::RawValue;
use waypost_providers::{Draft, KeyError, Keys, PROVIDERS, Proof, ReplayGuard, VerifyError, Way, by_name};

use crate::cases::{Case, Source, source, sources};

/// One letter changed for another of the same alphabet.
fn flip(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

/// The same case with one letter of its (last) signature changed.
fn with_flipped_signature(source: &Source, case: &Case) -> Case {
    let Some(header) = &source.about.signature else { return with_flipped_mailgun_signatures(case) };
    let value = case.headers.get(header).unwrap();
    case.with_header(header, &flip(value, value.len() - 20))
}

fn with_flipped_mailgun_signatures(case: &Case) -> Case {
    let mut body = String::from_utf8_lossy(&case.body).into_owned();
    if !body.starts_with('{') {
        let values: Vec<_> = body.split(['=', '&', '\r', '\n']).filter(|value| value.len() == 64).collect();
        let [.., signature] = values[..] else { panic!("{}", case.name()) };
        return case.with_body(body.replace(signature, &flip(signature, 30)).into_bytes());
    }
    // Some of the bodies cannot be read as a whole.
    let given: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&body).unwrap();
    let proof: Value = serde_json::from_str(given["signature"].get()).unwrap();
    for field in ["signature", "parent-signature"] {
        if let Some(signature) = proof[field].as_str() {
            body = body.replace(signature, &flip(signature, 30));
        }
    }
    case.with_body(body.into_bytes())
}

#[test]
fn one_letter_of_a_signature_changed_is_a_mismatch() {
    for source in sources() {
        for (case, _) in source.good() {
            let flipped = with_flipped_signature(&source, case);
            assert_eq!(source.verify(&flipped).unwrap_err(), VerifyError::Mismatch, "{}", case.name());
        }
    }
}

#[test]
fn one_byte_of_a_signed_body_changed_is_a_mismatch() {
    // Mailgun's signature and a login prove who called, not what was said.
    let covers = |source: &&Source| source.about.signature.is_some() && source.proof.way() == Way::Signature;
    for source in sources().iter().filter(covers) {
        for (case, _) in source.good() {
            let length = case.body.len();
            for at in [0, length / 3, length / 2, length.saturating_sub(1)] {
                let mut body = case.body.clone();
                match body.get_mut(at) {
                    Some(byte) => *byte ^= 1,
                    None => body.push(b' '),
                }
                let error = source.verify(&case.with_body(body)).unwrap_err();
                assert_eq!(error, VerifyError::Mismatch, "{} at {at}", case.name());
            }
        }
    }
}

#[test]
fn each_window_is_bounded_on_both_sides() {
    let windows = [
        ("resend", 300),
        ("sendgrid", 25 * 3600),
        ("sendgrid-inbound", 80 * 3600),
        ("mailgun", 24 * 3600),
        ("mailgun-inbound", 24 * 3600),
    ];
    for (name, past_s) in windows {
        let source = source(name);
        let case = source.good().next().unwrap().0;
        let signed = source.sign("window", br#"{"event-data":{}}"#, source.now);
        let case = Case { headers: signed.headers, body: signed.body.to_vec(), ..case.clone() };
        let at = |age_s| source.verify_at(&case, source.now + SignedDuration::from_secs(age_s));
        assert!(at(past_s).is_ok() && at(-300).is_ok(), "{name}");
        assert_eq!(at(past_s + 1).unwrap_err(), VerifyError::Stale { age_s: past_s + 1 });
        assert_eq!(at(-301).unwrap_err(), VerifyError::Stale { age_s: -301 });
    }
}

/// Its signature has no time in it, so a copy is good while the event is younger than identities are remembered.
#[test]
fn a_generic_event_is_taken_while_its_identity_is_remembered() {
    let source = source("generic");
    let body = format!(r#"{{"type":"bounced","email_id":"a","timestamp":"{}"}}"#, source.now);
    let signed = source.sign("window", body.as_bytes(), source.now);
    let case = Case { headers: signed.headers, body: signed.body.to_vec(), ..source.cases[0].clone() };
    let day = SignedDuration::from_hours(24);
    let Proof::Signature(keys) = &source.proof else { panic!("it signs") };
    let keys = keys.clone().remembering(day);
    let at = |age_s| {
        let now = source.now + SignedDuration::from_secs(age_s);
        source.provider.verify(case.request(now), &keys, now).map(drop)
    };
    // An event that came five minutes before its own time is forgotten that much earlier.
    let oldest_s = day.as_secs() - 300;
    assert_eq!((at(oldest_s), at(-300)), (Ok(()), Ok(())));
    for age_s in [oldest_s + 1, -301] {
        assert_eq!(at(age_s), Err(VerifyError::Stale { age_s }));
    }
}

/// The negative cases of Svix's own tests (`svix-webhooks/rust/src/webhooks.rs`), and some more.
#[test]
fn svix_headers_that_prove_nothing_are_refused() {
    let source = source("resend");
    let case = source.cases.iter().find(|case| case.name() == "resend/email.sent.http").unwrap();
    let good = case.headers.get("svix-signature").unwrap().to_owned();
    let none = format!("v1,{}", STANDARD.encode([0; 32]));
    let check = |header: &str, value: &str| source.verify(&case.with_header(header, value)).map(drop);

    for accepted in [format!("{none} {good}"), format!("{good} {none}"), format!("v2,x  {good} v1a,{}", &good[3..])] {
        assert_eq!(check("svix-signature", &accepted), Ok(()), "{accepted}");
    }
    let unprefixed = good[3..].to_owned();
    for refused in [&good[..good.len() - 4], "v1,", "v1", ",", " ", &none, &format!("{none} {none}"), &unprefixed] {
        assert_eq!(check("svix-signature", refused), Err(VerifyError::Mismatch), "{refused}");
    }
    let time = case.headers.get("svix-timestamp").unwrap();
    for malformed in [format!("-{time}"), format!("+{time}"), format!(" {time}"), format!("{time}.0"), "9".repeat(40)] {
        assert_eq!(check("svix-timestamp", &malformed), Err(VerifyError::Malformed("svix-timestamp")), "{malformed}");
    }
    // The signed text is the header's, not the number's.
    assert_eq!(check("svix-timestamp", &format!("0{time}")), Err(VerifyError::Mismatch));
    assert_eq!(check("svix-id", "msg_other"), Err(VerifyError::Mismatch));
    for header in ["svix-id", "svix-timestamp", "svix-signature"] {
        assert!(matches!(check(header, ""), Err(VerifyError::Missing(name)) if name == header));
    }
}

#[test]
fn a_mailgun_token_is_bound_to_what_was_said_with_it() {
    let source = source("mailgun");
    let guard = |source: &Source, case: &Case| {
        let verified = source.verify(case).unwrap();
        let [guard] = verified.guards() else { panic!("one signature, one guard: {:?}", verified.guards()) };
        guard.clone()
    };
    let case = source.cases.iter().find(|case| case.name() == "mailgun/delivered.http").unwrap();
    let ReplayGuard { token, digest } = guard(&source, case);

    let said: Value = serde_json::from_slice(&case.body).unwrap();
    let spaced = case.with_body(format!("{said:#}").into_bytes());
    assert_eq!(guard(&source, &spaced), ReplayGuard { token, digest }, "white space and order mean nothing");
    let elsewhere = Case { source: "another".into(), ..case.clone() };
    assert_eq!(guard(&source, &elsewhere).token, token, "the same token on another URL is the same token");

    let mut forged = said;
    forged["event-data"]["recipient"] = "someone@else.example".into();
    let forged = guard(&source, &case.with_body(forged.to_string().into_bytes()));
    assert_eq!(forged.token, token);
    assert_ne!(forged.digest, digest);
    assert!(source.good().all(|(other, verified)| other.name() == case.name() || verified.guards()[0].token != token));
}

#[test]
fn a_mailgun_form_is_bound_to_each_field_and_not_to_how_it_is_written() {
    let source = source("mailgun");
    let case = source.cases.iter().find(|case| case.name() == "mailgun/form-opened.http").unwrap();
    let guard = |case: &Case| source.verify(case).unwrap().guards()[0].clone();
    let sent = guard(case);
    let body = String::from_utf8(case.body.clone()).unwrap();
    let written_otherwise = case.with_body(body.replace("Firefox", "%46irefox").into_bytes());
    assert_eq!(guard(&written_otherwise), sent);
    // A field that no event is read from counts, too.
    for (that, this) in [("Firefox", "Chrome"), ("nora", "omar"), ("event=", "more=1&event=")] {
        let forged = guard(&case.with_body(body.replace(that, this).into_bytes()));
        assert_eq!(forged.token, sent.token);
        assert_ne!(forged.digest, sent.digest, "{this}");
    }
}

/// Each signature of a captured request proves it alone, so whoever sends it with one of them and another body has to
/// meet a token that is remembered.
#[test]
fn a_mailgun_token_is_bound_under_each_key_that_signed_it() {
    let mailgun = source("mailgun");
    let (own_key, parent_key) = ("test-signing-key-not-a-secret", "test-parent-signing-key-not-a-secret");
    let sign = |secret: &str| {
        let draft = Draft { body: br#"{"event-data":{}}"#, secret, now: mailgun.now, nonce: [7; 16] };
        serde_json::from_slice::<Value>(&mailgun.provider.sign(draft).unwrap().body).unwrap()
    };
    let mut captured = sign(own_key);
    captured["signature"]["parent-signature"] = sign(parent_key)["signature"]["signature"].take();
    let tokens = |own_keys: &[&str], parent_keys: &[&str], changed: &dyn Fn(&mut Value)| {
        let mut said = captured.clone();
        changed(&mut said["signature"]);
        let fields = [("signing_keys", own_keys), ("parent_signing_keys", parent_keys)];
        let texts = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let fields = fields.into_iter().map(|(name, keys)| (name.to_owned(), texts(keys)));
        let keys = Keys::read(mailgun.provider, &fields.collect()).unwrap();
        let request = mailgun.cases[0].with_body(said.to_string().into_bytes()).request(mailgun.now);
        let verified = mailgun.provider.verify(request, &keys, mailgun.now).unwrap();
        verified.guards().iter().map(|guard| guard.token).collect::<BTreeSet<_>>()
    };
    let without = |name: &'static str| move |proof: &mut Value| drop(proof.as_object_mut().unwrap().remove(name));
    let as_sent = |_: &mut Value| {};
    let both = tokens(&[own_key], &[parent_key], &as_sent);
    let own = tokens(&[own_key], &[parent_key], &without("parent-signature"));
    let parent = tokens(&[own_key], &[parent_key], &without("signature"));
    assert_eq!((both.len(), own.len(), parent.len()), (2, 1, 1));
    assert_eq!(both, own.union(&parent).copied().collect());

    // Both accounts send to one source: each key is an account's own, and a parent's signature can be told as one's own.
    let as_own = |proof: &mut Value| proof["signature"] = proof["parent-signature"].take();
    assert_eq!(tokens(&[own_key, parent_key], &[], &as_sent), both);
    assert_eq!(tokens(&[own_key, parent_key], &[], &as_own), parent);
    // One key under two names is one.
    assert_eq!(tokens(&[own_key], &[own_key], &as_sent), own);
}

#[test]
fn what_is_signed_is_accepted_and_says_when() {
    for provider in PROVIDERS {
        let source = source(provider.name());
        let signed = source.sign("signed", b" { \"event-data\" : { } } ", source.now);
        let case = Case { headers: signed.headers.clone(), body: signed.body.to_vec(), ..source.cases[0].clone() };
        // A proof that is the same a minute later has no time in it.
        let later = source.sign("signed", b" { \"event-data\" : { } } ", source.now + SignedDuration::from_mins(1));
        let is_timed = (later.headers, later.body) != (signed.headers.clone(), signed.body);
        assert_eq!(source.verify(&case).unwrap().signed_at(), is_timed.then_some(source.now), "{}", provider.name());
        assert!(signed.headers.get("content-type").unwrap().starts_with("application/json"));
    }
}

#[test]
fn what_cannot_be_signed_is_an_error() {
    let sign = |provider: &str, secret: &str, body: &[u8]| {
        let draft = Draft { body, secret, now: Timestamp::UNIX_EPOCH, nonce: [0; 16] };
        by_name(provider).unwrap().sign(draft).map(drop).unwrap_err()
    };
    assert!(matches!(sign("resend", "no secret", b""), KeyError::Shape(_)));
    assert!(matches!(sign("sendgrid", "AAAA", b""), KeyError::Shape(_)));
    assert!(matches!(sign("mailgun", "", b"{}"), KeyError::Shape(_)));
    assert!(matches!(sign("generic", "too short", b""), KeyError::Shape(_)));
    assert!(matches!(sign("mailgun", "key", b"[]"), KeyError::Body(_)));
    assert!(matches!(sign("mailgun", "key", b"event"), KeyError::Body(_)));
}

#[test]
fn keys_are_read_strictly_and_never_told() {
    let key = |provider: &str, field: &str, text: &str| by_name(provider).unwrap().key(field, text);
    let public = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &public[..64], &public[64..]);
    let good = [
        ("resend", "signing_secrets", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ("resend", "signing_secrets", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ("sendgrid", "public_keys", public),
        ("sendgrid", "public_keys", &pem),
        ("mailgun", "signing_keys", "whsec_not_decoded"),
        ("mailgun", "parent_signing_keys", "0123456789abcdef"),
        ("generic", "signing_secrets", "whsec_your_secret_key_here"),
    ];
    for (provider, field, text) in good {
        let told = format!("{:?}", key(provider, field, text).unwrap());
        assert!(told.len() < 25 && !told.contains(&text[..8]), "{told}");
    }
    let bad = [
        ("resend", "signing_secrets", ""),
        ("resend", "signing_secrets", "whsec_"),
        ("resend", "signing_secrets", "whsec_c2hvcnQ="),
        ("resend", "signing_secrets", "whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD"),
        ("resend", "signing_secrets", "re_An_API_key_of_Resend_itself"),
        ("sendgrid", "public_keys", ""),
        ("sendgrid", "public_keys", "SG.an-api-key"),
        ("sendgrid", "public_keys", &public[..60]),
        ("mailgun", "signing_keys", ""),
        ("mailgun", "signing_keys", "a-key-from-a-file\n"),
        ("generic", "signing_secrets", "fifteen letters"),
        ("generic", "signing_secrets", " sixteen and more "),
    ];
    for (provider, field, text) in bad {
        let error = key(provider, field, text).unwrap_err();
        assert!(text.len() < 7 || !error.to_string().contains(text), "{error}");
    }
}
