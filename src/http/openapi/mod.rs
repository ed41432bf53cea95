//! `/openapi.json`: the API in the words of OpenAPI 3.1.
//!
//! It is made of the table of routes, which every route is registered from, and of the types that the handlers read and
//! write. So there is no route that it does not tell of, and no field that it has by another name.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use super::routes;
use crate::domain::id::hash128;

mod as_written;
mod document;
mod operation;
mod parameter;
mod words;

#[cfg(test)]
mod tests;

use self::document::Told;
pub(super) use operation::{Operation, Path, at, delete, get, patch, post, put};
pub(super) use parameter::{Parameter, if_match, page, source, types, types_of};
pub(super) use words::{AnyEventWord, EventWord, events_pattern};

/// Made when it is first asked for; it changes with the version only.
static DOCUMENT: LazyLock<(Bytes, EntityTag)> = LazyLock::new(|| {
    let text = Told::of(&routes::table()).document().to_string();
    let tag = EntityTag::new_strong(hex::encode(hash128(&[text.as_bytes()])));
    (text.into(), tag)
});

/// `GET /openapi.json`: the document; `304` to who has it. Without a key: it tells what the source code tells.
pub(super) async fn openapi(request: HttpRequest) -> HttpResponse {
    let (text, tag) = &*DOCUMENT;
    let is_known = match IfNoneMatch::parse(&request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|one| one.weak_eq(tag)),
        Err(_) => false,
    };
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header(ETag(tag.clone())).insert_header((CACHE_CONTROL, "public, max-age=300"));
    if is_known { answer.finish() } else { answer.content_type("application/json").body(text.clone()) }
}
