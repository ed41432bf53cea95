//! The signatures of a request.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::domain::endpoint::Scheme;
use crate::domain::header::BODY_SIGNATURE;
pub use crate::domain::secret::SigningSecret as Secret;

/// A signature header.
pub type Header = (&'static str, String);

/// Whether a secret can sign a scheme.
fn is_good(secret: &Secret, scheme: Scheme) -> bool {
    match scheme {
        Scheme::Drin | Scheme::Hex | Scheme::Sha256 => secret.shared().is_some(),
        Scheme::Standard | Scheme::Svix => secret.key().is_some(),
        Scheme::Ed25519 => secret.private().is_some(),
    }
}

/// Whether any of the schemes can be signed with any of the secrets. A request is never sent unsigned.
pub fn can_sign(schemes: &[Scheme], secrets: &[Secret]) -> bool {
    schemes.iter().any(|scheme| secrets.iter().any(|secret| is_good(secret, *scheme)))
}

/// The signature headers of one attempt, sent at `at`, with the live secrets, newest first. A scheme that no secret can
/// sign is left out. Those that carry several values have one of each secret; `hex` and `sha256` carry one, of the oldest
/// secret, for that is the one that every receiver has until the rotation ends.
pub fn sign(schemes: &[Scheme], secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> Vec<Header> {
    let seconds = at.as_second().to_string();
    let has = |scheme| schemes.contains(&scheme);
    let mut headers = Vec::with_capacity(4);
    if has(Scheme::Drin) {
        headers.extend(drin(secrets, &seconds, body).map(|value| ("drin-signature", value)));
    }
    if has(Scheme::Standard) || has(Scheme::Ed25519) {
        let mut value = String::new();
        if has(Scheme::Standard) {
            v1(&mut value, secrets, id, &seconds, body);
        }
        if has(Scheme::Ed25519) {
            v1a(&mut value, secrets, id, &seconds, body);
        }
        let names = ["webhook-id", "webhook-signature", "webhook-timestamp"];
        headers.extend(identified(names, id, value, &seconds));
    }
    if has(Scheme::Svix) {
        let mut value = String::new();
        v1(&mut value, secrets, id, &seconds, body);
        headers.extend(identified(["svix-id", "svix-signature", "svix-timestamp"], id, value, &seconds));
    }
    let prefixes = [(Scheme::Hex, ""), (Scheme::Sha256, "sha256=")];
    if let Some((_, prefix)) = prefixes.into_iter().find(|(scheme, _)| has(*scheme)) {
        let oldest = secrets.iter().rev().find_map(Secret::shared_mac);
        let value = oldest.map(|key| format!("{prefix}{}", hex::encode(mac(key, &[body]))));
        headers.extend(value.map(|value| (BODY_SIGNATURE, value)));
    }
    headers
}

/// The three headers of a signature over id, time and body; none without one.
fn identified(names: [&'static str; 3], id: &str, value: String, seconds: &str) -> impl Iterator<Item = Header> {
    let values = (!value.is_empty()).then(|| [id.to_owned(), value, seconds.to_owned()]);
    values.into_iter().flat_map(move |values| names.into_iter().zip(values))
}

/// None without a key.
fn drin(secrets: &[Secret], seconds: &str, body: &[u8]) -> Option<String> {
    let mut value = String::new();
    for key in secrets.iter().filter_map(Secret::shared_mac) {
        if value.is_empty() {
            value.reserve(96);
            value.extend(["t=", seconds]);
        }
        let mut digits = [0; 64];
        hex::encode_to_slice(mac(key, &[seconds.as_bytes(), b".", body]), &mut digits).ok()?;
        value.push_str(",v1=");
        value.extend(digits.map(char::from));
    }
    (!value.is_empty()).then_some(value)
}

/// Adds one `v1` for each secret that holds a key.
fn v1(value: &mut String, secrets: &[Secret], id: &str, seconds: &str, body: &[u8]) {
    for key in secrets.iter().filter_map(Secret::key_mac) {
        let tag = mac(key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
        push(value, "v1,", tag.as_ref());
    }
}

/// Adds one `v1a` for each private key.
fn v1a(value: &mut String, secrets: &[Secret], id: &str, seconds: &str, body: &[u8]) {
    for pair in secrets.iter().filter_map(Secret::private) {
        // Ed25519 reads its message twice, so it must be in one piece.
        let message = [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat();
        push(value, "v1a,", pair.sign(&message).as_ref());
    }
}

fn push(value: &mut String, version: &str, signature: &[u8]) {
    value.reserve(version.len() + signature.len().div_ceil(3) * 4 + 1);
    if !value.is_empty() {
        value.push(' ');
    }
    value.push_str(version);
    STANDARD.encode_string(signature, value);
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S1: &str = "whsec_your_secret_key_here";
    const SVIX_A: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SVIX_B: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PRIVATE: &str = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::parse(text).unwrap()).collect()
    }

    fn signed(scheme: Scheme, secret: &str, id: &str, seconds: i64, body: &str) -> Vec<Header> {
        let at = Timestamp::from_second(seconds).unwrap();
        sign(&[scheme], &secrets(&[secret]), id, at, body.as_bytes())
    }

    #[test]
    fn drin_matches_the_seed() {
        let body = concat!(
            r#"{"type":"email.delivered","created_at":"2026-06-02T14:08:11Z","data":{"id":"msg_8fK2q1","#,
            r#""to":"user@acme.com","from":"hello@drin.run","subject":"Welcome aboard"}}"#
        );
        let expected = "t=1780409291,v1=5745b0dc0603dec697dc927bfc88a7c9e706a03eba1c3382b600cbee6d3b6f12";
        let headers = signed(Scheme::Drin, S1, "evt_1", 1_780_409_291, body);
        assert_eq!(headers, [("drin-signature", expected.to_owned())]);
    }

    #[test]
    fn standard_matches_the_public_examples() {
        let cases = [
            (
                SVIX_A,
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (
                SVIX_B,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ];
        for (secret, id, seconds, body, expected) in cases {
            let headers = signed(Scheme::Standard, secret, id, seconds, body);
            assert_eq!(headers[0], ("webhook-id", id.to_owned()));
            assert_eq!(headers[1], ("webhook-signature", expected.to_owned()));
            assert_eq!(headers[2], ("webhook-timestamp", seconds.to_string()));
        }
    }

    #[test]
    fn a_text_secret_leaves_standard_out() {
        assert!(signed(Scheme::Standard, S1, "evt_1", 0, "{}").is_empty());
        assert!(!can_sign(&[Scheme::Standard], &secrets(&[S1])));
        assert!(can_sign(&[Scheme::Standard, Scheme::Drin], &secrets(&[S1])));
        assert!(!can_sign(&[Scheme::Drin], &[]));
    }

    #[test]
    fn during_rotation_each_live_secret_signs() {
        let both = secrets(&[SVIX_A, SVIX_B]);
        let headers = sign(&[Scheme::Drin, Scheme::Standard], &both, "evt_1", Timestamp::UNIX_EPOCH, b"{}");
        assert_eq!(headers[0].1.matches(",v1=").count(), 2);
        assert_eq!(headers[2].1.split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
    }

    /// The example of the Go library of Standard Webhooks.
    #[test]
    fn ed25519_matches_the_public_example() {
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let v1a = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==";
        let headers = signed(Scheme::Ed25519, PRIVATE, id, 1_614_265_330, body);
        let names = ["webhook-id", "webhook-signature", "webhook-timestamp"];
        assert_eq!(headers, names.into_iter().zip([id, v1a, "1614265330"].map(str::to_owned)).collect::<Vec<_>>());
        let both = sign(
            &[Scheme::Ed25519, Scheme::Standard],
            &secrets(&[PRIVATE, SVIX_B]),
            id,
            Timestamp::from_second(1_614_265_330).unwrap(),
            body.as_bytes(),
        );
        assert_eq!(both[1].1, format!("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= {v1a}"));
    }

    #[test]
    fn svix_is_standard_under_other_names() {
        let of = |scheme| signed(scheme, SVIX_A, "evt_1", 7, "{}");
        let names: Vec<_> = of(Scheme::Svix).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["svix-id", "svix-signature", "svix-timestamp"]);
        let values = |scheme| of(scheme).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(values(Scheme::Svix), values(Scheme::Standard));
    }

    /// The examples of the seed documents 001, 002 and 004, with their secrets.
    #[test]
    fn hex_and_sha256_match_the_seeds() {
        const S2: &str = "your-webhook-secret";
        let cases = [
            (
                Scheme::Hex,
                S1,
                concat!(
                    r#"{"type":"email.bounced","email_id":"msg_abc123def456","recipient":"invalid@example.com","#,
                    r#""timestamp":"2026-03-03T08:15:00Z"}"#
                ),
                "51ef3d55b5adfa10972d4371bde91b9be51401cba97f1f7e4511fb6b2f6dd092",
            ),
            (
                Scheme::Sha256,
                S2,
                concat!(
                    r#"{"id":"evt_xyz789","type":"delivered","created_at":"2024-01-15T10:30:05Z","#,
                    r#""data":{"email_id":"msg_abc123","from":"sender@yourdomain.com","to":"recipient@example.com","#,
                    r#""subject":"Hello","delivered_at":"2024-01-15T10:30:05Z"}}"#
                ),
                "sha256=2ef3cc2ddfb2a4234b0b7bba122b3f5fbe1e93b330c34b5a71acc9cd9df92fe5",
            ),
            (
                Scheme::Hex,
                S2,
                concat!(
                    r#"{"event":"delivered","email_id":"abc123","message_id":"<uuid@yourapp.com>","#,
                    r#""recipient":"user@example.com","timestamp":"2026-02-13T12:00:00.000Z","#,
                    r#""metadata":{"mx_host":"mx.example.com","smtp_code":250,"smtp_message":"OK"}}"#
                ),
                "2a85f4ccb336c51adc83aaf13e9b75ff4491757186e389e1fab0ebde98c0717d",
            ),
        ];
        for (scheme, secret, body, expected) in cases {
            assert_eq!(signed(scheme, secret, "evt_1", 0, body), [(BODY_SIGNATURE, expected.to_owned())]);
        }
    }

    #[test]
    fn one_value_is_the_oldest_secrets_until_it_is_gone() {
        let made = |texts: &[&str]| sign(&[Scheme::Hex], &secrets(texts), "evt_1", Timestamp::UNIX_EPOCH, b"{}");
        assert_eq!(made(&[SVIX_A, SVIX_B]), made(&[SVIX_B]));
        assert_ne!(made(&[SVIX_A, SVIX_B]), made(&[SVIX_A]));
        // A private key has no part in it.
        assert_eq!(made(&[SVIX_A, PRIVATE]), made(&[SVIX_A]));
    }

    #[test]
    fn a_private_key_signs_nothing_but_ed25519() {
        for scheme in [Scheme::Drin, Scheme::Standard, Scheme::Svix, Scheme::Hex, Scheme::Sha256] {
            assert!(signed(scheme, PRIVATE, "evt_1", 0, "{}").is_empty());
            assert!(!can_sign(&[scheme], &secrets(&[PRIVATE])));
        }
        assert!(signed(Scheme::Ed25519, SVIX_A, "evt_1", 0, "{}").is_empty());
        assert!(can_sign(&[Scheme::Ed25519], &secrets(&[SVIX_A, PRIVATE])));
    }
}
