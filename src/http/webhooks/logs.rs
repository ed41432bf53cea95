//! `GET /v1/webhooks/{id}/logs`: the attempts to an endpoint, as seed 002 lists recent deliveries.

use std::cell::Cell;

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{Target, current, find};
use crate::domain::access::Scope;
use crate::domain::attempt_log::Logged;
use crate::domain::delivery::{Attempt, ErrorClass, Split};
use crate::domain::event_type::EventType;
use crate::domain::id::{AttemptId, DeliveryId, EndpointId, EventId, ReplayId};
use crate::http::api::filtered;
use crate::http::auth::authorize;
use crate::http::lists::{List, page, read_query};
use crate::http::problem::Problem;
use crate::http::state::Gateway;
use crate::store::Page;

/// What is asked of the log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<String>,
}

/// Which attempts: by the status that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// This one.
    Is(u16),
    /// One of these hundred.
    Hundred(u16),
    /// None came.
    Nothing,
}

impl Answered {
    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::Nothing);
        }
        let number = |digits: &str| {
            let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok())
        };
        let found = match text.strip_suffix("xx") {
            Some(hundred) => number(hundred).map(Self::Hundred),
            None => number(text).map(Self::Is),
        };
        found.filter(|found| matches!(found, Self::Is(100..=599) | Self::Hundred(1..=5)))
    }

    fn is_of(self, attempt: &Attempt) -> bool {
        match self {
            Self::Is(status) => attempt.status == Some(status),
            Self::Hundred(hundred) => attempt.status.is_some_and(|status| status / 100 == hundred),
            Self::Nothing => attempt.status.is_none(),
        }
    }
}

/// An attempt as the API shows it. Why there was no answer, where the time went, what was sent and answered tell of the
/// network behind an endpoint: they are for scope `admin`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LoggedAttempt")]
pub(super) struct LogView {
    id: AttemptId,
    event_id: EventId,
    /// Absent when the event is no longer kept.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<EventType>,
    /// The HTTP status of the answer; absent where none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    attempt: u32,
    duration_ms: u32,
    created_at: Timestamp,
    delivery_id: DeliveryId,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_id: Option<ReplayId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorClass>,
    #[serde(skip_serializing_if = "Split::is_empty")]
    split: Split,
    #[serde(skip_serializing_if = "String::is_empty")]
    sent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

impl LogView {
    fn new(logged: Logged, endpoint: &EndpointId, is_admin: bool) -> Self {
        let Logged { event_id, kind, replay_id, attempt } = logged;
        let Attempt { number, started_at, duration_ms, split, sent, status, error, answer, .. } = attempt;
        let delivery_id = DeliveryId::of(&event_id, endpoint, replay_id.as_ref());
        Self {
            id: AttemptId::of(&delivery_id, number),
            event_id,
            kind,
            status,
            attempt: number,
            duration_ms,
            created_at: started_at,
            delivery_id,
            replay_id,
            error: error.filter(|_| is_admin),
            split: if is_admin { split } else { Split::default() },
            sent: if is_admin { sent } else { String::new() },
            answer: answer.filter(|_| is_admin),
        }
    }
}

/// The list, and whether the limit of bytes took something from its end.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LoggedAttempts")]
pub(super) struct LogList {
    #[serde(flatten)]
    list: List<LogView>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// `GET /v1/webhooks/{id}/logs?status=&limit=&cursor=`: the latest recorded first. `status` is a number, `2xx` and the
/// like, or `none`; with it, a part may hold fewer than asked for and still have more after it. The last part says
/// `truncated` where older ones were taken out since there were too many.
pub(super) async fn list(
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<LogList>, Problem> {
    let key = authorize(&request, &gateway, Scope::Read)?;
    let Query { limit, cursor, status } = read_query(request.query_string())?;
    let page = page(limit.as_deref(), cursor)?;
    let wrong = || Problem::BadQuery("`status` is a number from 100 to 599, `1xx` to `5xx`, or `none`".into());
    let wanted = status.map(|text| Answered::parse(&text).ok_or_else(wrong)).transpose()?;
    let endpoint = find(&current(&gateway).await?, &Target::new(&request, &id))?.id.clone();
    let is_cut = Cell::new(false);
    let read = async |page: &_| {
        let found = gateway.store.attempts(&endpoint, page).await?;
        is_cut.set(found.is_cut);
        Ok(found.page)
    };
    let wants = |logged: &Logged| wanted.is_none_or(|wanted| wanted.is_of(&logged.attempt));
    let found = filtered(page, read, wants).await?;
    let truncated = found.next.is_none() && is_cut.get();
    let view = |logged| LogView::new(logged, &endpoint, key.may(Scope::Admin));
    let items = found.items.into_iter().map(view).collect();
    Ok(Json(LogList { list: Page { items, next: found.next }.into(), truncated }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_filtered_by_the_status_that_was_answered() {
        assert_eq!(Answered::parse("200"), Some(Answered::Is(200)));
        assert_eq!(Answered::parse("5xx"), Some(Answered::Hundred(5)));
        assert_eq!(Answered::parse("none"), Some(Answered::Nothing));
        for wrong in ["", "6xx", "xx", "0xx", "99", "600", "+200", "ok", "2XX"] {
            assert_eq!(Answered::parse(wrong), None, "{wrong}");
        }
    }
}
