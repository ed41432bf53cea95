//! The routes of `/v1/webhooks`.

use serde_json::json;

use super::bodies::{ChangedWebhook, NewSecret, NewWebhook};
use super::logs::{self, LogList};
use super::sample::{self, AskedSample, Sample};
use super::secrets::{self, Shown};
use super::stats::{self, WebhookStats};
use super::view::WebhookView;
use crate::domain::access::Scope;
use crate::domain::id::EndpointId;
use crate::http::lists::List;
use crate::http::openapi::{Operation, Parameter, Path, at, delete, get, if_match, page, patch, post, put};
use crate::http::problem::Problem;
use crate::http::stats::hours;

const WEBHOOK: &str = "The webhook.";
const ETAG: &str = "What changes whenever it does; for `If-Match`.";

pub(in crate::http) fn paths() -> Vec<Path> {
    let mut all: Vec<_> = resource().into();
    all.extend(secrets());
    all.extend(switches());
    all.extend(attempts());
    all
}

fn id() -> [Parameter; 1] {
    [Parameter::path::<EndpointId>("id", WEBHOOK)]
}

/// An operation that changes a webhook as it was seen.
pub(in crate::http) fn changes(operation: Operation) -> Operation {
    operation.needs(Scope::Write).heeds([if_match()]).refuses([Problem::HasChanged, Problem::ManagedByFile])
}

/// A change by a body.
pub(in crate::http) fn changes_by_body(operation: Operation) -> Operation {
    changes(operation).refuses([Problem::NoMasterKey])
}

/// An operation that makes one.
pub(in crate::http) fn makes(operation: Operation) -> Operation {
    let operation = operation.needs(Scope::Write).made_once();
    operation.refuses([Problem::NoMasterKey, Problem::TooManyWebhooks(0)])
}

fn resource() -> [Path; 2] {
    let list = get(super::list, "listWebhooks", "List webhooks, latest made first").needs(Scope::Read).asks(page());
    let create = post(super::create, "createWebhook", "Make a webhook");
    let create = makes(create.says("Without a `secret` one is generated, and shown in this answer only."));
    let example =
        json!({ "url": "https://billing.example/hooks/email", "events": ["email.bounced", "email.complained"] });
    let create = create.takes::<NewWebhook>(example).gives::<WebhookView>(201, WEBHOOK);
    let show = get(super::show, "getWebhook", "Show a webhook").needs(Scope::Read).heeds([if_match()]);
    let show = show.gives::<WebhookView>(200, WEBHOOK).with_header("ETag", ETAG).refuses([Problem::HasChanged]);
    let update = |operation: Operation| {
        let operation = operation.says("Changes the fields that are given; `null` is a field's default.");
        let operation = changes_by_body(operation).may_take::<ChangedWebhook>(json!({ "rate_limit": 10 }));
        operation.gives::<WebhookView>(200, WEBHOOK).with_header("ETag", ETAG)
    };
    let remove = delete(super::delete, "deleteWebhook", "Delete a webhook");
    let remove = changes(remove.says("What is pending for it ends as canceled."));
    [
        at(
            "/v1/webhooks",
            [],
            [
                list.gives::<List<WebhookView>>(200, "A part of the list."),
                create.with_header("Location", "Where it is.").with_header("ETag", ETAG),
            ],
        ),
        at(
            "/v1/webhooks/{id}",
            id(),
            [
                show,
                update(put(super::update, "putWebhook", "Change a webhook")),
                update(patch(super::update, "patchWebhook", "Change a webhook")),
                remove.gives_nothing(204, "It is deleted."),
            ],
        ),
    ]
}

fn secrets() -> [Path; 3] {
    let show = get(secrets::show, "getWebhookSecret", "Show the secrets that sign now").needs(Scope::Admin);
    let show = show.heeds([if_match()]).gives::<Shown>(200, "The secrets.");
    let rotate = post(secrets::rotate, "rotateWebhookSecret", "Give a webhook a new secret");
    let rotate = changes_by_body(rotate.says(
        "Without a `secret` one is generated, and shown in this answer only. For `overlap_s` both secrets sign. While an \
         overlap runs there is no other rotation, but one with `overlap_s` of 0, which ends it.",
    ));
    let rotate =
        rotate.made_once().may_take::<NewSecret>(json!({ "overlap_s": 3600 })).gives::<WebhookView>(200, WEBHOOK);
    let revoke = changes(delete(secrets::revoke_old, "revokeOldWebhookSecret", "End an overlap of two secrets now"));
    [
        at(
            "/v1/webhooks/{id}/secret",
            id(),
            [show.refuses([Problem::ManagedByFile, Problem::NoMasterKey, Problem::HasChanged])],
        ),
        at("/v1/webhooks/{id}/secrets/old", id(), [revoke.gives_nothing(204, "The old secret signs no more.")]),
        at(
            "/v1/webhooks/{id}/rotate",
            id(),
            [rotate.with_header("ETag", ETAG).refuses([Problem::OverlapRuns(jiff::Timestamp::UNIX_EPOCH)])],
        ),
    ]
}

fn switches() -> [Path; 3] {
    let enable = post(super::enable, "enableWebhook", "Enable a webhook").says("It gets what comes in from now on.");
    let disable = post(super::disable, "disableWebhook", "Disable a webhook");
    let disable = disable.says("What comes in and what is pending for it is skipped.");
    let sample = post(sample::send, "testWebhook", "Send a webhook a sample");
    let sample = sample
        .says("Signed, tried again and logged like any other. It is in no list and no feed, and suppresses nobody.");
    let sample = sample.needs(Scope::Write).made_once();
    let sample = sample.may_take::<AskedSample>(json!({ "type": "email.bounced" }));
    let switched = |operation| changes(operation).gives::<WebhookView>(200, WEBHOOK).with_header("ETag", ETAG);
    [
        at("/v1/webhooks/{id}/enable", id(), [switched(enable)]),
        at("/v1/webhooks/{id}/disable", id(), [switched(disable)]),
        at(
            "/v1/webhooks/{id}/test",
            id(),
            [sample.gives::<Sample>(202, "It is on its way.").refuses([Problem::NotReplayable(String::new())])],
        ),
    ]
}

fn attempts() -> [Path; 2] {
    let pattern = json!({ "type": "string", "pattern": "^([1-5][0-9][0-9]|[1-5]xx|none)$" });
    let status =
        Parameter::query_like("status", "The status that was answered: one, `5xx` and the like, or `none`.", pattern);
    let list = get(logs::list, "listAttempts", "List the attempts to a webhook, latest first");
    let list = list.says(
        "Why there was no answer, where the time went, what was sent and answered is for scope `admin`. With `status`, a \
         part may hold fewer than asked for and still have more after it. The last part says `truncated` where older \
         attempts are no longer there, for the log is over its limit of bytes.",
    );
    let list = list.needs(Scope::Read).asks(page()).asks([status]);
    let stats = get(stats::show, "getWebhookStats", "Show numbers of a webhook");
    let stats = stats.says(
        "Of the last hours, whole ones, and what is pending now. Why there was no answer is for scope `admin`; to others \
         it is `no_answer`.",
    );
    let stats = stats.needs(Scope::Read).asks([hours()]);
    [
        at("/v1/webhooks/{id}/logs", id(), [list.gives::<LogList>(200, "A part of the list.")]),
        at("/v1/webhooks/{id}/stats", id(), [stats.gives::<WebhookStats>(200, "The numbers.")]),
    ]
}
