//! The routes of what happened and what became of it: events, deliveries, replays.

use serde_json::json;

use crate::domain::access::Scope;
use crate::domain::delivery::{Delivery, Status};
use crate::domain::id::{DeliveryId, EndpointId, EventId, ReplayId};
use crate::http::api::{self, EventView, RequestView};
use crate::http::content;
use crate::http::jobs::{self, JobView};
use crate::http::lists::List;
use crate::http::openapi::{Parameter, Path, at, delete, get, page, post, source, types};
use crate::http::problem::Problem;
use crate::http::replays::{self, BulkReplay, EventReplay, Nothing, Replayed};
use crate::http::search::{self, FoundEvents};

const A_PART: &str = "A part of the list.";
/// What a list says that leaves out what is not asked for.
const FILTERED: &str = "A part may hold fewer than asked for and still have more after it.";

pub(super) fn paths() -> Vec<Path> {
    searches().into_iter().chain(events()).chain(contents()).chain(deliveries()).chain(jobs()).collect()
}

fn event_id() -> Parameter {
    Parameter::path::<EventId>("id", "The event.")
}

fn delivery_id() -> Parameter {
    Parameter::path::<DeliveryId>("id", "The delivery.")
}

fn replay_id() -> Parameter {
    Parameter::path::<ReplayId>("id", "The job.")
}

fn searches() -> [Path; 2] {
    let text = |name, what| Parameter::query_like(name, what, json!({ "type": "string" }));
    let time = |name, what| Parameter::query_like(name, what, json!({ "type": "string", "format": "date-time" }));
    let recipient = json!({ "type": "string", "format": "email" });
    let recipient =
        Parameter::query_like("recipient", "Only what is about this address; case does not matter.", recipient);
    let mail = text("message_id", "Only what is about this mail: `data.id` or Message-ID, with or without `<>`.");
    let tag = text("tag", "Only what has this tag.");
    let since = time("since", "Only what was received then or later.");
    let until = time("until", "Only what was received before then.");
    let list = get(search::events, "listEvents", "Search for events, latest first");
    let list = list.says(
        "All that is asked for holds. By `recipient` and `message_id` an index finds them; else all events of the span \
         are looked at. A part may hold fewer than asked for, or none, and still have more after it: `scanned_to` then \
         tells down to which time it has looked. A cursor goes on from its place, also in another search.",
    );
    let list = list.needs(Scope::Read).asks(page()).asks([recipient, mail, types(), source(), tag, since, until]);
    let story = get(search::message, "listEventsOfMessage", "Show what became of a mail");
    let story = story.says("Its events in the order they were stored in; `404` where there is none.");
    let story = story.needs(Scope::Read).asks(page()).gives::<List<EventView>>(200, A_PART);
    let id = "`data.id` or Message-ID, percent-encoded, with or without `<>`.";
    let id = Parameter::path_like("message_id", id, json!({ "type": "string" }));
    [
        at("/v1/events", [], [list.gives::<FoundEvents>(200, A_PART).refuses([Problem::NotAnAddress])]),
        at("/v1/messages/{message_id}", [id], [story]),
    ]
}

fn events() -> [Path; 4] {
    let show = get(api::event, "getEvent", "Show an event").needs(Scope::Read);
    let raw = get(api::raw, "getEventRequest", "Show the request that an event was read from");
    let deliveries = get(api::deliveries_of, "listDeliveriesOfEvent", "Show what became of an event at each endpoint");
    let deliveries = deliveries.says("Why an attempt failed, and what was answered, is told to scope `admin` only.");
    let replay = post(replays::replay_event, "replayEvent", "Send an event again");
    let replay = replay.says(
        "A new delivery to each endpoint that the event went to, or to `endpoint_id` alone. Endpoints that are disabled \
         or deleted, or whose delivery was canceled, are left out.",
    );
    let replay = replay.needs(Scope::Write).made_once();
    let replay = replay.may_take::<EventReplay>(json!({ "endpoint_id": "wh_billing" }));
    [
        at("/v1/events/{id}", [event_id()], [show.gives::<EventView>(200, "The event.")]),
        at(
            "/v1/events/{id}/raw",
            [event_id()],
            [raw.needs(Scope::Read).gives::<RequestView>(200, "The request.").refuses([Problem::Erased])],
        ),
        at(
            "/v1/events/{id}/deliveries",
            [event_id()],
            [deliveries.needs(Scope::Read).gives::<List<Delivery>>(200, "All of them.")],
        ),
        at(
            "/v1/events/{id}/replay",
            [event_id()],
            [replay
                .gives::<Replayed>(201, "The new deliveries, and who gets none.")
                .refuses([Problem::NotReplayable(String::new()), Problem::Expired])],
        ),
    ]
}

fn contents() -> [Path; 2] {
    const SAVED: &str = "The content, as a file to be saved.";
    let link = || [Parameter::query::<i64>("expires", "Until when a link is good, in seconds since 1970.")];
    let parts = json!({ "type": "string", "enum": ["text", "html", "raw"] });
    let content = get(content::content, "getContent", "Fetch the text, the HTML or the whole of a received mail");
    let content = content.says(
        "As a link of the event tells, or with a key. `raw` is the mail as it was sent, where the provider gives it.",
    );
    let attachment = get(content::attachment, "getAttachment", "Fetch what was attached to a received mail");
    let attachment = attachment.says("As a link of the event tells, or with a key.");
    let part = Parameter::path_like("part", "Which part.", parts);
    let n = Parameter::path_like("n", "Its place in the mail.", json!({ "type": "integer", "minimum": 0 }));
    let busy = || [Problem::NotFetched, Problem::Overloaded];
    [
        at(
            "/v1/events/{id}/content/{part}",
            [event_id(), part],
            [content.needs_link().asks(link()).gives_file(SAVED).refuses(busy())],
        ),
        at(
            "/v1/events/{id}/attachments/{n}",
            [event_id(), n],
            [attachment.needs_link().asks(link()).gives_file(SAVED).refuses(busy())],
        ),
    ]
}

fn deliveries() -> [Path; 3] {
    let status = Parameter::query::<Status>("status", "Where they stand; dead letters are `failed`.").needed();
    let list = get(api::deliveries, "listDeliveries", "List deliveries, latest first").says(FILTERED);
    let list = list.needs(Scope::Read).asks(page()).asks([status]);
    let show = get(replays::delivery, "getDelivery", "Show a delivery, attempt by attempt");
    let show = show.says("Why an attempt failed, and what was answered, is told to scope `admin` only.");
    let retry = post(replays::retry, "retryDelivery", "Send a delivery again");
    let retry = retry.says("A new delivery of the same event to the same endpoint.");
    let retry = retry.needs(Scope::Write).made_once().may_take::<Nothing>(json!({}));
    [
        at("/v1/deliveries", [], [list.gives::<List<Delivery>>(200, A_PART)]),
        at("/v1/deliveries/{id}", [delivery_id()], [show.needs(Scope::Read).gives::<Delivery>(200, "The delivery.")]),
        at(
            "/v1/deliveries/{id}/retry",
            [delivery_id()],
            [retry
                .gives::<Delivery>(201, "The new delivery.")
                .refuses([Problem::NotReplayable(String::new()), Problem::Expired])],
        ),
    ]
}

fn jobs() -> [Path; 3] {
    let all = get(jobs::jobs, "listReplays", "List jobs, latest first").needs(Scope::Read).asks(page());
    let show = get(jobs::job, "getReplay", "Show how far a job has got").needs(Scope::Read);
    let cancel = delete(jobs::cancel, "cancelReplay", "Stop a job");
    let cancel = cancel.says(
        "What is pending of it ends as canceled; what was delivered or stored stays so. It is `canceling` until that is done.",
    );
    let cancel = cancel.needs(Scope::Write).gives::<JobView>(202, "The job.").with_header("Location", "Where it is.");
    let replay = post(replays::replay_endpoint, "replayWebhook", "Send a webhook again what it was sent before");
    let replay = replay.says(
        "A job makes a new delivery of everything that was received from `since` until `until` (now, and no later), of \
         these `types` (all), where the delivery that began with the event is in one of these `status` (`delivered`, \
         `failed` and `skipped`). It counts first, and says so in `total`; with `dry_run` it only counts.",
    );
    let replay = replay.needs(Scope::Write).made_once();
    let replay = replay
        .takes::<BulkReplay>(json!({ "since": "2026-03-14T09:00:00Z", "types": ["email.bounced"], "dry_run": true }));
    [
        at("/v1/replays", [], [all.gives::<List<JobView>>(200, A_PART)]),
        at(
            "/v1/replays/{id}",
            [replay_id()],
            [
                show.gives::<JobView>(200, "The job."),
                cancel.refuses([Problem::NotReplayable(String::new()), Problem::Overloaded]),
            ],
        ),
        at(
            "/v1/webhooks/{id}/replay",
            [Parameter::path::<EndpointId>("id", "The webhook.")],
            [replay
                .gives::<JobView>(202, "The job.")
                .with_header("Location", "Where it is.")
                .refuses([Problem::NotReplayable(String::new()), Problem::TooManyJobs])],
        ),
    ]
}
