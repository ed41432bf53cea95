//! The signatures of a request.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::domain::endpoint::Scheme;
pub use crate::domain::secret::SigningSecret as Secret;

/// The bytes that a secret keys this scheme with; none if it cannot.
fn key(secret: &Secret, scheme: Scheme) -> Option<&[u8]> {
    match scheme {
        Scheme::Drin => Some(secret.text().as_bytes()),
        Scheme::Standard => secret.key(),
    }
}

/// Whether any of the schemes can be signed with any of the secrets. A request is never sent unsigned.
pub fn can_sign(schemes: &[Scheme], secrets: &[Secret]) -> bool {
    schemes.iter().any(|scheme| secrets.iter().any(|secret| key(secret, *scheme).is_some()))
}

/// The signature headers of one attempt, sent at `at`. A scheme that no secret can sign is left out.
pub fn sign(
    schemes: &[Scheme],
    secrets: &[Secret],
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let seconds = at.as_second().to_string();
    let mut headers = Vec::with_capacity(4);
    for scheme in schemes {
        let keys = secrets.iter().filter_map(|secret| key(secret, *scheme));
        match scheme {
            Scheme::Drin => headers.extend(drin(keys, &seconds, body).map(|value| ("drin-signature", value))),
            Scheme::Standard => {
                if let Some(value) = standard(keys, id, &seconds, body) {
                    headers.push(("webhook-id", id.to_owned()));
                    headers.push(("webhook-signature", value));
                    headers.push(("webhook-timestamp", seconds.clone()));
                }
            }
        }
    }
    headers
}

/// None without a key.
fn drin<'a>(keys: impl Iterator<Item = &'a [u8]>, seconds: &str, body: &[u8]) -> Option<String> {
    let mut value = String::new();
    for key in keys {
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

/// None without a key.
fn standard<'a>(keys: impl Iterator<Item = &'a [u8]>, id: &str, seconds: &str, body: &[u8]) -> Option<String> {
    let mut value = String::new();
    for key in keys {
        if !value.is_empty() {
            value.push(' ');
        }
        value.reserve(48);
        value.push_str("v1,");
        STANDARD.encode_string(mac(key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]), &mut value);
    }
    (!value.is_empty()).then_some(value)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
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

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::parse(text).unwrap()).collect()
    }

    fn signed(scheme: Scheme, secret: &str, id: &str, seconds: i64, body: &str) -> Vec<(&'static str, String)> {
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
}
