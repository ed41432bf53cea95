//! `/api/webhooks/manage`: endpoints with a numeric `id` and `events` as one comma-separated text. Those that are made here
//! are sent the format `platform`.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET` | `200 {"webhooks": […]}`, all of them, by `id` |
//! | `POST` `{url, events, secret}` | `201` and the webhook; without a `secret`, one is generated and shown this once |
//! | `PUT` or `PATCH` `{id, …}` | `200` and the webhook; what is not given stays |
//! | `DELETE` `{id}` | `204` |
//!
//! The fields of `/v1/webhooks` can be given too. Errors are those of `/v1/webhooks`.

use std::borrow::Cow;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use super::{check_changed_events, check_events, private, shown};
use crate::domain::access::Scope;
use crate::domain::endpoint::Endpoint;
use crate::domain::field::FieldError;
use crate::domain::format::Format;
use crate::domain::id::EndpointId;
use crate::http::auth::authorize;
use crate::http::openapi::{Operation, Path, at, delete, events_pattern, get, patch, post, put};
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::http::webhooks::service::{self, Given, Target};
use crate::http::webhooks::{changed, changes, changes_by_body, makes, new, object};

/// The route.
pub(super) fn path() -> Path {
    const WEBHOOK: &str = "The webhook.";
    let all = get(list, "listPlatformWebhooks", "List webhooks, by `id`").needs(Scope::Read);
    let create = makes(post(create, "createPlatformWebhook", "Make a webhook"));
    let create = create
        .says("It is sent the format `platform`. Without a `secret` one is generated, and shown in this answer only.");
    let create =
        create.takes::<New>(json!({ "url": "https://billing.example/hooks/email", "events": "delivered,bounced" }));
    let change = |operation: Operation| {
        let operation = changes_by_body(operation.says("Changes the fields that are given."));
        let operation = operation.takes::<Changed>(json!({ "id": 1, "events": "delivered,bounced" }));
        operation.gives::<View>(200, WEBHOOK).refuses([Problem::NotFound("webhook")])
    };
    let remove =
        changes(delete(remove, "deletePlatformWebhook", "Delete a webhook")).takes::<Named>(json!({ "id": 1 }));
    at(
        "/api/webhooks/manage",
        [],
        [
            all.gives::<All>(200, "All of them."),
            create.gives::<View>(201, WEBHOOK),
            change(put(update, "putPlatformWebhook", "Change a webhook")),
            change(patch(update, "patchPlatformWebhook", "Change a webhook")),
            remove.gives_nothing(204, "It is deleted.").refuses([Problem::NotFound("webhook")]),
        ],
    )
}

/// The largest number that every reader of JSON has exactly (RFC 8259, section 6).
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// All webhooks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlatformWebhooks")]
struct All {
    webhooks: Vec<View>,
}

/// Which webhook.
#[derive(JsonSchema)]
#[schemars(rename = "NamedPlatformWebhook")]
#[expect(dead_code, reason = "it is read with what else there may be")]
struct Named {
    /// Its number.
    #[schemars(range(max = NUMBER_MAX))]
    id: u64,
}

/// The body of a new webhook.
struct New;

impl JsonSchema for New {
    fn schema_name() -> Cow<'static, str> {
        "NewPlatformWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = new(generator);
        fields.insert("events".into(), json!({ "description": "Words for events, separated by commas.", "type": "string", "pattern": events_pattern() }));
        object("A webhook to be made.", fields, &["url", "events"])
    }
}

/// The body of a change.
struct Changed;

impl JsonSchema for Changed {
    fn schema_name() -> Cow<'static, str> {
        "ChangedPlatformWebhook".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = changed(generator);
        fields.insert("events".into(), json!({ "description": "Words for events, separated by commas.", "type": "string", "pattern": events_pattern() }));
        fields.insert(
            "id".into(),
            json!({ "description": "Its number.", "type": "integer", "minimum": 0, "maximum": NUMBER_MAX }),
        );
        fields.insert("webhook_id".into(), json!({ "description": "As it was shown, or not at all." }));
        object("What is to change of a webhook; `null` is a field's default.", fields, &["id"])
    }
}

/// A webhook as this API shows it, and the name that `/v1/webhooks` has for it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlatformWebhook")]
struct View {
    /// Its number.
    id: u64,
    /// Where to post.
    url: String,
    /// What to tell, separated by commas.
    events: String,
    /// Whether it gets anything.
    active: bool,
    /// When it was made.
    created_at: Timestamp,
    /// Its id at `/v1/webhooks`.
    webhook_id: EndpointId,
    /// What requests are signed with, where it was generated: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl View {
    fn new(endpoint: Endpoint, secret: Option<String>) -> Self {
        Self {
            id: endpoint.number,
            url: endpoint.settings.url,
            events: joined(endpoint.settings.events.words()),
            active: endpoint.disabled.is_none(),
            created_at: endpoint.created_at,
            webhook_id: endpoint.id,
            secret,
        }
    }
}

/// The words as one text; the empty list of the other APIs is all events.
fn joined(words: &[String]) -> String {
    if words.is_empty() { "*".into() } else { words.join(",") }
}

async fn list(request: HttpRequest, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    authorize(&request, &gateway, Scope::Read)?;
    let all = shown(service::current(&gateway).await?);
    let webhooks: Vec<_> = all.into_iter().map(|endpoint| View::new(endpoint, None)).collect();
    Ok(HttpResponse::Ok().json(All { webhooks }))
}

async fn create(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let given = split(service::object(&request, payload, &gateway).await?)?;
    check_events(&given)?;
    let (endpoint, secret) = service::create(&gateway, key, &request, given, Some(Format::Platform)).await?;
    Ok(private(HttpResponse::Created()).json(View::new(endpoint, secret)))
}

async fn update(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let mut given = split(service::object(&request, payload, &gateway).await?)?;
    let id = named(&gateway, &mut given).await?;
    check_changed_events(&given)?;
    let endpoint = service::update(&gateway, key, &Target::new(&request, id.as_str()), given).await?;
    Ok(HttpResponse::Ok().json(View::new(endpoint, None)))
}

async fn remove(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> Result<HttpResponse, Problem> {
    let key = authorize(&request, &gateway, Scope::Write)?;
    let mut given = service::object(&request, payload, &gateway).await?;
    let id = named(&gateway, &mut given).await?;
    service::delete(&gateway, key, &Target::new(&request, id.as_str())).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Takes `id` out of a body: the endpoint that has this number.
async fn named(gateway: &Gateway, given: &mut Given) -> Result<EndpointId, Problem> {
    let wrong = || FieldError::new("id", "is no webhook's number", "send the `id` that GET /api/webhooks/manage shows");
    let number = given.remove("id").as_ref().and_then(Value::as_u64).ok_or_else(wrong)?;
    // It is shown beside it, and may come back as it was.
    given.remove("webhook_id");
    let all = shown(service::current(gateway).await?);
    let found = all.into_iter().find(|endpoint| endpoint.number == number);
    Ok(found.ok_or(Problem::NotFound("webhook"))?.id)
}

/// `events` as the list that it stands for.
fn split(mut given: Given) -> Result<Given, FieldError> {
    match given.get_mut("events") {
        None | Some(Value::Null) => {}
        Some(events) => {
            let text = events.as_str().ok_or_else(|| {
                FieldError::new("events", "is no text", "separate the names by commas, such as `open,click`")
            })?;
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            *events = words.collect();
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Given {
        let Value::Object(given) = value else { panic!("no object") };
        given
    }

    #[test]
    fn events_are_separated_by_commas_with_or_without_blanks() {
        for text in ["open,click", " open , click,", "open,,click"] {
            assert_eq!(split(given(json!({ "events": text }))).unwrap()["events"], json!(["open", "click"]), "{text}");
        }
        assert_eq!(joined(&["open".into(), "click".into()]), "open,click");
        assert_eq!(joined(&[]), "*");
    }

    #[test]
    fn events_that_are_none_are_named_with_a_remedy() {
        let told = |events: Value| {
            let given = split(given(json!({ "events": events })));
            given.and_then(|given| check_events(&given)).unwrap_err().to_string()
        };
        assert!(told(json!(["open"])).starts_with("events: is no text; separate the names by commas"));
        assert!(told(json!(" , ")).starts_with("events: names no event; name one at least"));
        assert!(told(Value::Null).starts_with("events: is missing; name one"));
    }
}
