//! The body of an answer to a call that was not done.

use schemars::JsonSchema;
use serde::Serialize;

use super::problem::Facts;

/// Why a call was not done (RFC 9457). The `type` is stable: compare that.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Details<'a> {
    /// What kind of problem it is.
    #[serde(rename = "type")]
    kind: String,
    /// The same in words.
    title: &'static str,
    /// The status code.
    status: u16,
    /// What is wrong with this call, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Which field of the body is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl<'a> Details<'a> {
    /// Of a problem, and what there is to be said of this one.
    pub(super) fn new(facts: &Facts, detail: Option<String>, field: Option<&'a str>) -> Self {
        Self { kind: Self::kind(facts.id), title: facts.title, status: facts.status.as_u16(), detail, field }
    }

    /// The `type` with this id.
    pub(super) fn kind(id: &str) -> String {
        format!("urn:waypost:problem:{id}")
    }
}
