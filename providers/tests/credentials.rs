//! Sources that are proven by credentials: a login, or a token that a client has fetched.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use waypost_providers::{Client, GrantError, Headers, Login, Proof, Request, VerifyError, Way, grant};

use crate::cases::{Source, source};

const SECRET: &str = "a secret: of a client+&=%41";
const PASSWORD: &str = "an old password: with a colon";

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// What a recorded batch of SendGrid's is answered, with its own signature and with this `Authorization`.
fn verify(sendgrid: &Source, proof: &Proof, name: &str, authorization: &str, age_s: i64) -> Result<(), VerifyError> {
    let case = &sendgrid.cases[0];
    let mut headers: Headers = case.headers.iter().collect();
    if !authorization.is_empty() {
        headers.push("authorization", authorization);
    }
    let request = Request { source: name.into(), headers, ..case.request(sendgrid.now) };
    let verified = proof.verify(sendgrid.provider, request, sendgrid.now + SignedDuration::from_secs(age_s))?;
    assert!(verified.signed_at().is_none() && verified.guards().is_empty());
    assert!(!sendgrid.provider.parse(&verified).is_empty());
    Ok(())
}

#[test]
fn a_login_is_one_of_several_and_nothing_less() {
    let sendgrid = source("sendgrid");
    let logins = [("sendgrid", PASSWORD), ("sendgrid", "the next password")];
    let proof = Proof::Basic(logins.map(|(user, password)| Login::new(user, password).unwrap()).into());
    let check = |authorization: &str| verify(&sendgrid, &proof, "a", authorization, 0);
    for good in [basic(&format!("sendgrid:{PASSWORD}")), basic("sendgrid:the next password")] {
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&good.replace("Basic ", "bASIC  ")), Ok(()));
    }
    for bad in ["sendgrid:the next passwor", "sendgrid:the next password ", "Sendgrid:the next password", "sendgrid:"] {
        assert_eq!(check(&basic(bad)), Err(VerifyError::Mismatch), "{bad}");
    }
    for odd in ["Basic", "Basic ====", "Bearer x", &basic("sendgrid:the next password")[6..]] {
        assert_eq!(check(odd), Err(VerifyError::Malformed("authorization")), "{odd}");
    }
    // The signature is good, and is not what is asked for.
    assert_eq!(check(""), Err(VerifyError::Missing("authorization")));
}

fn client(id: &str, secret: &str) -> Client {
    Client::new(id, secret).unwrap()
}

#[test]
fn a_token_is_good_for_an_hour_at_its_source_and_for_its_client() {
    let sendgrid = source("sendgrid");
    let clients = vec![client("old", "a secret that is rotated"), client("sendgrid", SECRET)];
    let headers = [("authorization", basic(&format!("sendgrid:{SECRET}")))].into_iter().collect();
    let token = grant("a", &clients, &headers, b"grant_type=client_credentials", sendgrid.now).unwrap();
    let bearer = format!("Bearer {token}");
    let proof = Proof::Oauth(clients);
    let check = |authorization: &str, age_s| verify(&sendgrid, &proof, "a", authorization, age_s);
    for age_s in [0, 3_600, -300] {
        assert_eq!(check(&bearer, age_s), Ok(()), "{age_s}");
    }
    for age_s in [3_601, -301] {
        assert_eq!(check(&bearer, age_s), Err(VerifyError::Stale { age_s }));
    }
    assert_eq!(verify(&sendgrid, &proof, "b", &bearer, 0), Err(VerifyError::Mismatch));
    for others in [client("sendgrid", "another secret of it"), client("another", SECRET)] {
        assert_eq!(verify(&sendgrid, &Proof::Oauth(vec![others]), "a", &bearer, 0), Err(VerifyError::Mismatch));
    }
    let (made_at, mac) = token.split_once('.').unwrap();
    let later = made_at.parse::<i64>().unwrap() + 1;
    for forged in [format!("Bearer {later}.{mac}"), format!("Bearer {made_at}."), format!("Bearer {made_at}.00")] {
        assert_eq!(check(&forged, 0), Err(VerifyError::Mismatch), "{forged}");
    }
    for odd in ["Bearer x", "Bearer 1.x", "Bearer", &basic(&format!("sendgrid:{SECRET}"))] {
        assert_eq!(check(odd, 0), Err(VerifyError::Malformed("authorization")), "{odd}");
    }
    assert_eq!(check("", 0), Err(VerifyError::Missing("authorization")));
}

#[test]
fn a_token_is_given_for_a_clients_own_secret_only() {
    let now = source("sendgrid").now;
    let clients = [client("sendgrid", SECRET)];
    let ask = |authorization: Option<String>, body: &str| {
        let headers = authorization.into_iter().map(|value| ("authorization", value)).collect();
        grant("a", &clients, &headers, body.as_bytes(), now).map(drop)
    };
    let right = || Some(basic(&format!("sendgrid:{SECRET}")));
    let encoded = "a+secret%3A+of+a+client%2B%26%3D%2541";
    let form = format!("client_id=sendgrid&grant_type=client_credentials&client_secret={encoded}");
    let asks = "grant_type=client_credentials";
    assert_eq!(ask(right(), asks), Ok(()));
    assert_eq!(ask(Some(basic(&format!("sendgrid:{encoded}"))), &format!("{asks}&scope=x")), Ok(()));
    assert_eq!(ask(None, &form), Ok(()));
    let refused = [
        (None, asks, GrantError::InvalidClient),
        (Some(basic("sendgrid:another secret")), asks, GrantError::InvalidClient),
        (Some("Bearer x".to_owned()), asks, GrantError::InvalidClient),
        (None, &form.replace("=sendgrid", "=another"), GrantError::InvalidClient),
        (right(), &form, GrantError::InvalidRequest),
        (right(), "", GrantError::InvalidRequest),
        (right(), "grant_type=client_credentials&grant_type=client_credentials", GrantError::InvalidRequest),
        (right(), "grant_type=password", GrantError::UnsupportedGrantType),
    ];
    for (authorization, body, error) in refused {
        assert_eq!(ask(authorization, body), Err(error), "{body}");
    }
}

#[test]
fn credentials_are_read_strictly_and_never_told() {
    let (login, client) = (Login::new("sendgrid", PASSWORD).unwrap(), client("sendgrid", SECRET));
    let told = format!("{login:?} {client:?} {:?}", Proof::Basic(vec![login.clone()]));
    assert!(!told.contains("password") && !told.contains("secret: of") && !told.contains("old"), "{told}");
    for (user, secret) in
        [("", PASSWORD), ("a:b", PASSWORD), ("a b", PASSWORD), ("é", PASSWORD), ("a", "fifteen letters")]
    {
        assert!(Login::new(user, secret).is_err() && Client::new(user, secret).is_err(), "{user}");
    }
    let ways = Way::ALL.map(Way::as_str);
    assert_eq!(ways, ["signature", "basic", "oauth"]);
}
