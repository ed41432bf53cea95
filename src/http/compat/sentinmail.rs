//! `/api/emails/webhook-endpoints/` and `/{id}/`, both also without the last slash: the fields of `/v1/webhooks`, and a list
//! that is a plain array. Endpoints that are made here are sent the format `sentinmail`, and name their `events`.
//!
//! `GET` lists all or shows one, `POST` answers `201`, `PUT` and `PATCH` change what is given (`200`), `DELETE` answers
//! `204`. Errors are those of `/v1/webhooks`.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::{check_changed_events, check_events, private, resource, shown};
use crate::domain::access::Scope;
use crate::domain::format::Format;
use crate::http::auth::authorize;
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::http::webhooks::{self, service};

type Answer = Result<HttpResponse, Problem>;

pub(super) fn configure(app: &mut ServiceConfig) {
    for path in ["/api/emails/webhook-endpoints", "/api/emails/webhook-endpoints/"] {
        let all = resource(path, "GET, POST");
        app.service(all.route(web::get().to(list)).route(web::post().to(create)));
    }
    for path in ["/api/emails/webhook-endpoints/{id}", "/api/emails/webhook-endpoints/{id}/"] {
        let one = resource(path, "GET, PUT, PATCH, DELETE").route(web::get().to(webhooks::show));
        let one = one.route(web::put().to(update)).route(web::patch().to(update));
        app.service(one.route(web::delete().to(webhooks::delete)));
    }
}

async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Read)?;
    let all = shown(service::current(&gateway).await?).into_iter();
    let views: Vec<_> = all.map(|endpoint| webhooks::view(&gateway, endpoint, key.may(Scope::Admin))).collect();
    Ok(private(HttpResponse::Ok()).json(views))
}

async fn create(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    check_events(&given)?;
    let (endpoint, secret) = service::create(&gateway, key, &request, given, Some(Format::Sentinmail)).await?;
    let view = webhooks::view(&gateway, endpoint, key.may(Scope::Admin));
    Ok(view.with_secret(secret).answer(StatusCode::CREATED))
}

async fn update(request: HttpRequest, payload: Payload, gateway: Data<Gateway>, id: Path<String>) -> Answer {
    let key = authorize(&gateway.api_keys, request.headers(), Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    check_changed_events(&given)?;
    let endpoint = service::update(&gateway, key, &service::Target::new(&request, &id), given).await?;
    Ok(webhooks::view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}
