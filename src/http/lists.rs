//! Lists: what a caller may ask of one, and how it is answered.

use actix_web::error::QueryPayloadError;
use actix_web::web::Query;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::domain::delivery::Status;
use crate::domain::reprocess::Lack;
use crate::store::{Page, PageQuery};

pub(super) const LIMIT_DEFAULT: usize = 20;
pub(super) const LIMIT_MAX: usize = 100;

/// Reads the query string of a list that takes parameters of its own.
///
/// # Errors
/// When a parameter is unknown or there twice.
pub(super) fn read_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    Query::<T>::from_query(text).map(Query::into_inner).map_err(|error| match error {
        QueryPayloadError::Deserialize(error) => Problem::BadQuery(error.to_string()),
        error => Problem::BadQuery(error.to_string()),
    })
}

/// Which part of a list `limit` and `cursor` ask for.
///
/// # Errors
/// When `limit` is out of its bounds.
pub(super) fn page(limit: Option<&str>, cursor: Option<String>) -> Result<PageQuery, Problem> {
    let limit = match limit {
        None => LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Problem::BadQuery(format!("`limit` is a number from 1 to {LIMIT_MAX}")))?,
    };
    Ok(PageQuery { cursor: cursor.filter(|cursor| !cursor.is_empty()), limit })
}

/// The query of a list, as sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    #[serde(rename = "type")]
    types: Option<String>,
    source: Option<String>,
    status: Option<String>,
}

impl ListQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// When a parameter is unknown or there twice.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        read_query(text)
    }

    /// Which part of the list.
    pub(super) fn page(&self) -> Result<PageQuery, Problem> {
        page(self.limit.as_deref(), self.cursor.clone())
    }

    /// Which part of a list that is not filtered.
    pub(super) fn page_alone(&self) -> Result<PageQuery, Problem> {
        if self.types.is_some() || self.source.is_some() || self.status.is_some() {
            return Err(Problem::BadQuery("this list takes `limit` and `cursor` only".into()));
        }
        self.page()
    }

    /// Which requests.
    pub(super) fn requests(self) -> Result<RequestFilter, Problem> {
        if self.types.is_some() {
            return Err(Problem::BadQuery("requests are listed by `status` and `source` only".into()));
        }
        let lack = self.status.as_deref().and_then(Lack::by_name).ok_or_else(|| {
            let words = Lack::ALL.map(|lack| format!("`{}`", lack.as_str())).join(" or ");
            Problem::BadQuery(format!("`status` is {words}"))
        })?;
        Ok(RequestFilter { lack, source: self.source })
    }

    /// Which deliveries.
    pub(super) fn status(&self) -> Result<Status, Problem> {
        if self.types.is_some() || self.source.is_some() {
            return Err(Problem::BadQuery("deliveries are listed by `status` only".into()));
        }
        self.status.as_deref().and_then(Status::by_name).ok_or_else(|| {
            let words = Status::ALL.map(|status| format!("`{}`", status.as_str())).join(", ");
            Problem::BadQuery(format!("`status` is one of {words}"))
        })
    }
}

/// Which requests are asked for.
#[derive(Debug)]
pub(super) struct RequestFilter {
    pub(super) lack: Lack,
    pub(super) source: Option<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub(super) struct List<T> {
    /// What is in it.
    data: Vec<T>,
    /// Whether there is more after it.
    has_more: bool,
    /// Where that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl<T> From<Page<T>> for List<T> {
    fn from(page: Page<T>) -> Self {
        Self { data: page.items, has_more: page.next.is_some(), cursor: page.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        match result.unwrap_err() {
            Problem::BadQuery(told) => told,
            other => panic!("expected a bad query, got {other}"),
        }
    }

    #[test]
    fn a_limit_is_1_to_100_and_20_when_not_told() {
        let limit = |query| ListQuery::read(query)?.page().map(|page| page.limit);
        assert_eq!(limit("").unwrap(), 20);
        assert_eq!(limit("limit=100").unwrap(), 100);
        for wrong in ["limit=0", "limit=101", "limit=-1", "limit=many", "limit="] {
            assert_eq!(told(limit(wrong)), "`limit` is a number from 1 to 100", "{wrong}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_an_error_and_not_ignored() {
        assert!(told(ListQuery::read("typ=email.sent")).contains("`typ`"));
        assert!(told(ListQuery::read("source=a").unwrap().status()).contains("`status` only"));
        assert!(told(ListQuery::read("status=failed").unwrap().page_alone()).contains("`cursor` only"));
    }

    #[test]
    fn requests_are_listed_by_what_they_lack() {
        let asked = |query| ListQuery::read(query)?.requests();
        let found = asked("status=unreadable&source=resend").unwrap();
        assert_eq!((found.lack, found.source.as_deref()), (Lack::Unreadable, Some("resend")));
        for wrong in ["", "status=stored", "source=resend"] {
            assert_eq!(told(asked(wrong)), "`status` is `unmapped` or `unreadable`", "{wrong}");
        }
        assert!(told(asked("status=unmapped&type=email.sent")).contains("`source` only"));
    }

    #[test]
    fn a_status_is_one_of_five_words() {
        let status = |query| ListQuery::read(query)?.status();
        assert_eq!(status("status=failed").unwrap(), Status::Failed);
        assert!(told(status("status=dead")).contains("`failed`"));
        assert!(told(status("")).contains("`pending`"));
    }
}
