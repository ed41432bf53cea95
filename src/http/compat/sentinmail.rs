//! `/api/emails/webhook-endpoints/` and `/{id}/`, both also without the last slash: the fields of `/v1/webhooks`, and a list
//! that is a plain array. Endpoints that are made here are sent the format `sentinmail`, and name their `events`.
//!
//! `GET` lists all or shows one, `POST` answers `201`, `PUT` and `PATCH` change what is given (`200`), `DELETE` answers
//! `204`. Errors are those of `/v1/webhooks`.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{check_changed_events, check_events, private, shown};
use crate::domain::access::Scope;
use crate::domain::format::Format;
use crate::domain::id::EndpointId;
use crate::http::auth::authorize;
use crate::http::openapi::{AnyEventWord, Operation, Parameter, Path, at, delete, get, if_match, patch, post, put};
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::http::webhooks::{self, WebhookView, changed, changes, changes_by_body, makes, new, object, service};

type Answer = Result<HttpResponse, Problem>;

const WEBHOOK: &str = "The webhook.";
const ETAG: &str = "What changes whenever it does; for `If-Match`.";

/// The routes.
pub(super) fn paths() -> [Path; 4] {
    [
        all("/api/emails/webhook-endpoints/", ["listEmailWebhooks", "createEmailWebhook"]),
        all("/api/emails/webhook-endpoints", ["listEmailWebhooksToo", "createEmailWebhookToo"]),
        one(
            "/api/emails/webhook-endpoints/{id}/",
            ["getEmailWebhook", "putEmailWebhook", "patchEmailWebhook", "deleteEmailWebhook"],
        ),
        one(
            "/api/emails/webhook-endpoints/{id}",
            ["getEmailWebhookToo", "putEmailWebhookToo", "patchEmailWebhookToo", "deleteEmailWebhookToo"],
        ),
    ]
}

fn all(path: &'static str, [list_id, create_id]: [&'static str; 2]) -> Path {
    let all = get(list, list_id, "List webhooks, the first made first").needs(Scope::Read);
    let make = post(create, create_id, "Make a webhook");
    let make = makes(make.says(
        "It is sent the format `sentinmail`. Without a `secret` one is generated, and shown in this answer only.",
    ));
    let make = make.takes::<New>(json!({ "url": "https://billing.example/hooks/email", "events": ["bounced"] }));
    let make = make.gives::<WebhookView>(201, WEBHOOK).with_header("Location", "Where it is.");
    at(path, [], [all.gives::<Vec<WebhookView>>(200, "All of them."), make.with_header("ETag", ETAG)])
}

fn one(path: &'static str, [show_id, put_id, patch_id, delete_id]: [&'static str; 4]) -> Path {
    let show = get(webhooks::show, show_id, "Show a webhook").needs(Scope::Read).heeds([if_match()]);
    let change = |operation: Operation| {
        let operation =
            changes_by_body(operation.says("Changes the fields that are given; `null` is a field's default."));
        let operation = operation.may_take::<Changed>(json!({ "events": ["bounced"] }));
        operation.gives::<WebhookView>(200, WEBHOOK).with_header("ETag", ETAG)
    };
    let remove = changes(delete(webhooks::delete, delete_id, "Delete a webhook"));
    at(
        path,
        [Parameter::path::<EndpointId>("id", WEBHOOK)],
        [
            show.gives::<WebhookView>(200, WEBHOOK).with_header("ETag", ETAG).refuses([Problem::HasChanged]),
            change(put(update, put_id, "Change a webhook")),
            change(patch(update, patch_id, "Change a webhook")),
            remove.gives_nothing(204, "It is deleted."),
        ],
    )
}

/// Events that are named.
fn named(generator: &mut SchemaGenerator) -> Value {
    let word = generator.subschema_for::<AnyEventWord>();
    json!({ "description": "What to tell.", "type": "array", "items": word, "minItems": 1 })
}

/// The body of a new webhook.
struct New;

impl JsonSchema for New {
    fn schema_name() -> Cow<'static, str> {
        "NewEmailWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = new(generator);
        fields.insert("events".into(), named(generator));
        object("A webhook to be made.", fields, &["url", "events"])
    }
}

/// The body of a change.
struct Changed;

impl JsonSchema for Changed {
    fn schema_name() -> Cow<'static, str> {
        "ChangedEmailWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = changed(generator);
        fields.insert("events".into(), named(generator));
        object("What is to change of a webhook; `null` is a field's default.", fields, &[])
    }
}

async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let all = shown(service::current(&gateway).await?).into_iter();
    let views: Vec<_> = all.map(|endpoint| webhooks::view(&gateway, endpoint, key.may(Scope::Admin))).collect();
    Ok(private(HttpResponse::Ok()).json(views))
}

async fn create(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    check_events(&given)?;
    let (endpoint, secret) = service::create(&gateway, key, &request, given, Some(Format::Sentinmail)).await?;
    let view = webhooks::view(&gateway, endpoint, key.may(Scope::Admin));
    Ok(view.with_secret(secret).answer(StatusCode::CREATED))
}

async fn update(request: HttpRequest, payload: Payload, gateway: Data<Gateway>, id: web::Path<String>) -> Answer {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let given = service::object(&request, payload, &gateway).await?;
    check_changed_events(&given)?;
    let endpoint = service::update(&gateway, key, &service::Target::new(&request, &id), given).await?;
    Ok(webhooks::view(&gateway, endpoint, key.may(Scope::Admin)).answer(StatusCode::OK))
}
