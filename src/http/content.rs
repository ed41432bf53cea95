//! The content of received mail: its text, its HTML, the mail as it was sent, and what was attached.
//!
//! It is not kept twice: it is read out of the request that brought the mail.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, Charset, ContentDisposition, DispositionParam, DispositionType,
    ExtendedValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use waypost_providers::{Content, Part, by_name};

use super::api::find;
use super::auth::authorize;
use super::lists::read_query;
use super::problem::Problem;
use super::routes::Door;
use super::sending::{Held, Sending};
use super::state::{CONTENT_BUDGET_BYTES, Gateway};
use crate::domain::access::Scope;
use crate::domain::content::unkept;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{EventId, RequestId};
use crate::domain::source::FETCH_PREFIX;
use crate::store::StoredRequest;

/// A request is read from what is packed, and what is read from it may be as long.
const READ_TIMES: usize = 3;
/// Subtypes that a browser would run, were it to open them, whatever it is told besides; and whatever ends in `+xml`.
const ACTIVE: [&str; 12] = [
    "html",
    "x-server-parsed-html",
    "xml",
    "xsl",
    "javascript",
    "x-javascript",
    "ecmascript",
    "x-ecmascript",
    "jscript",
    "livescript",
    "vbscript",
    "x-mixed-replace",
];
const BYTES: &str = "application/octet-stream";

/// What makes a link good without a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkQuery {
    expires: Option<i64>,
    signature: Option<String>,
}

/// `GET /v1/events/{id}/content/{part}`: `text`, `html` or `raw` of a received mail, as a link of the event tells; `raw` is
/// the mail as it was sent, where the provider gives it. With the link's `expires` and `signature`, or with an API key of
/// scope `read`. Always as a file to be saved: nothing that a sender wrote is shown as a page of the gateway.
///
/// `403` for a link that is not ours or has expired, `404` where the mail has no such part or is no longer kept, `503` with
/// `Retry-After` while as much content as may be is held for others, or while it is yet to be fetched from the provider. Who
/// reads too slowly is cut off.
pub(super) async fn content(
    request: HttpRequest,
    gateway: Data<Gateway>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let part = match name.as_str() {
        "text" => Part::Text,
        "html" => Part::Html,
        "raw" => Part::Raw,
        _ => return Err(Problem::NotFound("content")),
    };
    answer(&request, gateway, &id, part).await
}

/// `GET /v1/events/{id}/attachments/{n}`: what was attached, counted from 0; as [`content`].
pub(super) async fn attachment(
    request: HttpRequest,
    gateway: Data<Gateway>,
    path: Path<(String, usize)>,
) -> Result<HttpResponse, Problem> {
    let (id, n) = path.into_inner();
    answer(&request, gateway, &id, Part::Attachment(n)).await
}

async fn answer(request: &HttpRequest, gateway: Data<Gateway>, id: &str, part: Part) -> Result<HttpResponse, Problem> {
    check(request, &gateway, &id.into(), &part.url()).await?;
    let event = find(&gateway, id).await?;
    let gone = Problem::NotFound("content");
    let Some(request_id) = event.request_id else { return Err(gone) };
    let (stored, held) = held(&gateway, &request_id).await?.ok_or(gone)?;
    let read = tokio::task::spawn_blocking(move || read(&stored, part)).await;
    match read.map_err(|_| Problem::ShuttingDown)? {
        Some(content) => Ok(file(content, part, held)),
        None => {
            drop(held);
            fetched(&gateway, &event.id, part).await
        }
    }
}

/// A request, and the room that it takes together with what is read out of it: known before it is there.
async fn held(gateway: &Gateway, id: &RequestId) -> Result<Option<(StoredRequest, Held)>, Problem> {
    let Some(len) = gateway.store.request_len(id).await? else { return Ok(None) };
    let held = Held::take(&gateway.content_budget, (len * READ_TIMES).min(CONTENT_BUDGET_BYTES)).await?;
    Ok(gateway.store.request(id).await?.map(|stored| (stored, held)))
}

fn read(stored: &StoredRequest, part: Part) -> Option<Content> {
    by_name(&stored.provider)?.content(&stored.request, part)
}

/// What was fetched, as the request that told of the mail does not have it.
async fn fetched(gateway: &Gateway, event: &EventId, part: Part) -> Result<HttpResponse, Problem> {
    if let Some((kept, held)) = held(gateway, &RequestId::of_part(event, &part.url())).await? {
        return Ok(file(unkept(kept.request), part, held));
    }
    let deliveries = gateway.store.deliveries_of(event).await?;
    let is_coming = |delivery: &Delivery| {
        delivery.status == Status::Pending && delivery.endpoint_id.as_str().starts_with(FETCH_PREFIX)
    };
    Err(if deliveries.iter().any(is_coming) { Problem::NotFetched } else { Problem::NotFound("content") })
}

/// By the link's signature where there is one, else by API key. Where the API is at another address than links are, each is
/// good at its own.
async fn check(request: &HttpRequest, gateway: &Gateway, event: &EventId, part: &str) -> Result<(), Problem> {
    let LinkQuery { expires, signature } = read_query(request.query_string())?;
    let signature = match (signature, Door::of(request)) {
        (None, Door::Whole | Door::Admin) => return authorize(request, gateway, Scope::Read).map(drop),
        (Some(signature), Door::Whole | Door::Public) => signature,
        (None, Door::Public) | (Some(_), Door::Admin) => return Err(Problem::NotFound("route")),
    };
    let (key, now) = (gateway.store.link_key().await?, gateway.clock.now());
    let is_good = expires.is_some_and(|expires| key.is_good(event, part, expires, &signature, now));
    if is_good { Ok(()) } else { Err(Problem::BadLink) }
}

fn file(content: Content, part: Part, mut held: Held) -> HttpResponse {
    let Content { bytes, content_type, filename } = content;
    held.keep(bytes.len());
    let mut parameters = Vec::new();
    if let Some(name) = filename {
        // For whoever knows the other not, as `curl -OJ`.
        parameters.push(DispositionParam::Filename(in_ascii(&name)));
        let value = ExtendedValue { charset: Charset::Ext("UTF-8".into()), language_tag: None, value: name.into() };
        parameters.push(DispositionParam::FilenameExt(value));
    }
    HttpResponse::Ok()
        .content_type(match part {
            Part::Text | Part::Html => content_type,
            Part::Raw | Part::Attachment(_) => harmless(&content_type),
        })
        .insert_header(ContentDisposition { disposition: DispositionType::Attachment, parameters })
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        // The link is in the address, and the content is a person's.
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .body(Sending::new(bytes, held))
}

/// A file name that needs no encoding, and names no folder.
fn in_ascii(name: &str) -> String {
    let is_plain = |letter: char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\' | '/' | '%');
    name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
}

/// The type that a sender gave, unless a browser might run it, or it is none.
fn harmless(content_type: &str) -> String {
    let is_type = |text: &str| {
        let is_token = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        text.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest))
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = media_type.split_once('/').unwrap_or_default().1;
    let is_active = ACTIVE.contains(&subtype) || subtype.ends_with("+xml") || subtype.starts_with("javascript1.");
    if is_type(&media_type) && !is_active { media_type } else { BYTES.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_kept_unless_a_browser_might_run_it() {
        for (given, told) in [
            ("application/pdf", "application/pdf"),
            ("Image/PNG; name=\"a\"", "image/png"),
            ("text/html", BYTES),
            ("application/xhtml+xml", BYTES),
            ("image/svg+xml", BYTES),
            ("text/javascript", BYTES),
            ("text/JavaScript1.5", BYTES),
            ("application/ecmascript", BYTES),
            ("text/xml; charset=utf-8", BYTES),
            ("multipart/x-mixed-replace", BYTES),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
            ("application/postscript", "application/postscript"),
            ("", BYTES),
            ("text", BYTES),
            ("a/b\r\nset-cookie: c", BYTES),
        ] {
            assert_eq!(harmless(given), told, "{given}");
        }
    }

    #[test]
    fn a_file_name_is_told_to_those_who_read_ascii_alone() {
        assert_eq!(in_ascii("r\u{e9}\"ceipt\" 1%.pdf"), "r__ceipt_ 1_.pdf");
        assert_eq!(in_ascii("../a\\b\r\n"), ".._a_b__");
    }
}
