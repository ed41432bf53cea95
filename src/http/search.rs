//! `/v1/events` and `/v1/messages`: which events there are. Both need an API key of scope `read`; errors are as everywhere
//! under `/v1`.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::{Answer, EventView, views};
use super::auth::authorize;
use super::lists::{List, ListQuery, page, read_query};
use super::problem::Problem;
use super::state::Gateway;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::search::{MailId, Search, ids_of_mail};
use crate::domain::subscription::Subscription;
use crate::store::{Page, PageQuery};

/// The query of [`events`], as sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    limit: Option<String>,
    cursor: Option<String>,
    recipient: Option<String>,
    message_id: Option<String>,
    #[serde(rename = "type")]
    types: Option<String>,
    source: Option<String>,
    tag: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// None has one.
    status: Option<String>,
}

impl EventQuery {
    /// Which events, and which part of them.
    ///
    /// # Errors
    /// When a parameter is unknown, there twice or wrong.
    fn read(text: &str) -> Result<(Search, PageQuery), Problem> {
        let query: Self = read_query(text)?;
        if query.status.is_some() {
            return Err(Problem::BadQuery("events have no `status`; ask /v1/deliveries".into()));
        }
        let page = page(query.limit.as_deref(), query.cursor)?;
        let address = |text: &String| Address::parse(text).ok_or(Problem::NotAnAddress);
        let (since, until) = (time("since", query.since.as_deref())?, time("until", query.until.as_deref())?);
        if let Some((since, until)) = since.zip(until).filter(|(since, until)| since >= until) {
            return Err(Problem::BadQuery(format!("`since` ({since}) is not before `until` ({until})")));
        }
        let search = Search {
            recipient: query.recipient.as_ref().map(address).transpose()?,
            mail: query.message_id.as_deref().map(mail_id).transpose()?,
            types: query.types.as_deref().map(types).transpose()?,
            source: query.source,
            tag: query.tag,
            since,
            until,
        };
        Ok((search, page))
    }
}

/// A part of what a search finds.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FoundEvents {
    data: Vec<EventView>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// Down to which time it has looked, where there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned_to: Option<Timestamp>,
}

fn types(words: &str) -> Result<Subscription, Problem> {
    let types = Subscription::new(words.split(',').map(str::to_owned).collect());
    let types = types.map_err(|error| Problem::BadQuery(format!("`type`: {error}")))?;
    if types.has_operational() {
        return Err(Problem::BadQuery("`type`: operational events are not listed; ask /v1/deliveries".into()));
    }
    Ok(types)
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let wrong = |text| {
        format!("`{name}` is `{text}`, which is no RFC 3339 time such as 2026-03-14T09:27:01Z (write a `+` as %2B)")
    };
    text.map(|text| text.parse().map_err(|_| Problem::BadQuery(wrong(text)))).transpose()
}

fn mail_id(text: &str) -> Result<MailId, Problem> {
    let wrong = || "`message_id` is empty; name the id that the provider's send API returned, or a Message-ID";
    MailId::parse(text).ok_or_else(|| Problem::BadQuery(wrong().into()))
}

/// `GET /v1/events?recipient=&message_id=&type=&source=&tag=&since=&until=&limit=&cursor=`: events, latest first; those for
/// which all holds that is asked. `422` where the recipient is no address. By `recipient` and `message_id` (`data.id` or
/// Message-ID, with or without angle brackets) an index finds them; else all of the span are looked at. A part may hold
/// fewer than asked for, or none, and still have more after it: `scanned_to` then tells down to which time it has looked.
/// `since` and `until` (not included) are compared with `received_at`. A cursor of one query, used with another, goes on
/// from the same place.
pub(super) async fn events(request: HttpRequest, gateway: Data<Gateway>) -> Answer<FoundEvents> {
    authorize(&request, &gateway, Scope::Read)?;
    let (search, page) = EventQuery::read(request.query_string())?;
    let found = gateway.store.search(&search, &page).await?;
    let (cursor, scanned_to) = found.next.unzip();
    Ok(Json(FoundEvents { data: views(&gateway, found.items).await?, has_more: cursor.is_some(), cursor, scanned_to }))
}

/// `GET /v1/messages/{message_id}?limit=&cursor=`: the events of one mail, by its `data.id` or Message-ID, with or without
/// angle brackets, in the order they were stored in. `404` where there is none.
pub(super) async fn message(request: HttpRequest, gateway: Data<Gateway>, id: Path<String>) -> Answer<List<EventView>> {
    authorize(&request, &gateway, Scope::Read)?;
    let page = ListQuery::read(request.query_string())?.page_alone()?;
    let id = mail_id(&id)?;
    let first = PageQuery { cursor: None, ..page };
    let found = gateway.store.events_of_mail(std::slice::from_ref(&id), &first).await?;
    if found.items.is_empty() && found.next.is_none() {
        return Err(Problem::NotFound("mail"));
    }
    let ids = ids_of_mail(&id, &found.items);
    let found =
        if ids.len() > 1 || page.cursor.is_some() { gateway.store.events_of_mail(&ids, &page).await? } else { found };
    let Page { items, next } = found;
    Ok(Json(Page { items: views(&gateway, items).await?, next }.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> String {
        match EventQuery::read(query).unwrap_err() {
            Problem::BadQuery(told) => told,
            other => panic!("expected a bad query, got {other}"),
        }
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let query = "recipient=Nora+%3CNORA%40a.example%3E&message_id=%3C1%40b%3E&type=email.sent,email.bounced&source=s\
                     &tag=t&since=2026-03-14T09:27:01Z&until=2026-03-14T10:27:02%2B01:00&limit=7&cursor=c";
        let (search, page) = EventQuery::read(query).unwrap();
        assert_eq!(search.recipient, Address::parse("nora@a.example"));
        assert_eq!(search.mail, MailId::parse("1@b"));
        assert_eq!(search.types.unwrap().words(), ["email.sent", "email.bounced"]);
        assert_eq!((search.source.as_deref(), search.tag.as_deref()), (Some("s"), Some("t")));
        let span = [search.since, search.until].map(|time| time.unwrap().to_string());
        assert_eq!(span, ["2026-03-14T09:27:01Z", "2026-03-14T09:27:02Z"]);
        assert_eq!(page, PageQuery { cursor: Some("c".into()), limit: 7 });
        let (search, page) = EventQuery::read("cursor=").unwrap();
        assert!(search.word().is_none() && search.types.is_none() && page.cursor.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, parts) in [
            ("typ=email.sent", &["`typ`"][..]),
            ("status=failed", &["/v1/deliveries"]),
            ("type=bouncy", &["`type`", "unknown event `bouncy`"]),
            ("type=waypost.*", &["are not listed"]),
            ("since=yesterday", &["`since` is `yesterday`", "2026-03-14T09:27:01Z"]),
            ("until=2026-03-14", &["`until` is `2026-03-14`"]),
            ("since=2026-03-14T09:27:01+01:00", &["`since` is `2026-03-14T09:27:01 01:00`", "%2B"]),
            ("since=2026-03-14T09:27:01Z&until=2026-03-14T09:27:01Z", &["`since` (2026", "`until`"]),
            ("message_id=%3C%3E", &["`message_id` is empty"]),
            ("limit=0", &["`limit`"]),
        ] {
            let told = told(query);
            assert!(parts.iter().all(|part| told.contains(part)), "{query}: {told}");
        }
        for wrong in ["recipient=nora", "recipient=", "recipient=nora+tag@a.example"] {
            assert!(matches!(EventQuery::read(wrong), Err(Problem::NotAnAddress)), "{wrong}");
        }
    }
}
