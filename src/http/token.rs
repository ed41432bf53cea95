//! Bearer tokens for the sources that prove themselves by them.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, http::StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use waypost_providers::{GrantError, Proof, TOKEN_TTL, grant};

use super::problem::Problem;
use super::state::Gateway;
use super::{body, inbound};

/// A bearer token.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: i64,
}

/// Why there is none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenRefused")]
pub(super) struct Refused {
    error: String,
}

/// The form that a client sends, but for what it may say as Basic authentication.
#[derive(JsonSchema)]
#[schemars(rename = "AskedToken")]
#[expect(dead_code, reason = "the providers crate reads it")]
pub(super) struct Asked {
    /// `client_credentials`.
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// `POST /in/{source}/token` (RFC 6749, section 4.4): a form with `grant_type=client_credentials`, and id and secret of a
/// client, in it or as Basic authentication.
///
/// | status | when |
/// | --- | --- |
/// | `200` | `access_token`, good for `expires_in` seconds |
/// | `400` `401` | `error` says what is wrong, in the words of the RFC |
/// | `404` | there is no such source, or it is proven in another way |
/// | `408` `413` `503` | as on the callback URL |
pub(super) async fn give(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    name: Path<String>,
) -> HttpResponse {
    let Some(source) = gateway.source(&name) else { return Problem::UnknownSource.plain() };
    let Proof::Oauth(clients) = &*source.proof else { return Problem::UnknownSource.plain() };
    let body = match body::of_api(&request, payload, &gateway).await {
        Ok(body) => body,
        Err(problem) => return problem.plain(),
    };
    let headers = inbound::headers(request.headers());
    match grant(&name, clients, &headers, &body, gateway.clock.now()) {
        Ok(token) => {
            let answer = Token { access_token: token, token_type: "Bearer", expires_in: TOKEN_TTL.as_secs() };
            HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer)
        }
        Err(error) => {
            tracing::warn!(source.name = name.as_str(), %error, "no token is given");
            refused(error)
        }
    }
}

fn refused(error: GrantError) -> HttpResponse {
    let (status, challenge) = match error {
        GrantError::InvalidClient => (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, "Basic"))),
        GrantError::InvalidRequest | GrantError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, None),
    };
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CACHE_CONTROL, "no-store"));
    challenge.map(|challenge| answer.insert_header(challenge));
    answer.json(Refused { error: error.to_string() })
}
