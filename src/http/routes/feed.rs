//! The routes of the feed.

use serde_json::json;

use crate::domain::access::Scope;
use crate::http::feed::consumers::{self, ConsumerSettings, ConsumerView};
use crate::http::feed::filter::{LIMIT_DEFAULT, LIMIT_MAX, WAIT_S_MAX};
use crate::http::feed::receive::{self, Ack, Receive, Received};
use crate::http::feed::{self, FeedView, stream};
use crate::http::lists::List;
use crate::http::openapi::{Parameter, Path, at, delete, get, post, put, types_of};
use crate::http::problem::Problem;

pub(super) fn paths() -> Vec<Path> {
    reads().into_iter().chain(kept()).chain(turns()).collect()
}

fn reads() -> [Path; 2] {
    let part = get(feed::feed, "readFeed", "Read the events in the order they were stored in");
    let part = part.says(
        "All of them, and those of one mail in their order. Go on with `cursor` of the answer as `after`, and keep it with what \
         you made of the events: nothing is skipped, and after a failure nothing comes twice but what you did not keep. Events \
         about Waypost itself are not in the feed.",
    );
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT });
    let limit = Parameter::query_like("limit", "How many events at most.", limit);
    let wait = json!({ "type": "integer", "minimum": 0, "maximum": WAIT_S_MAX, "default": 0 });
    let wait = Parameter::query_like("wait", "How many seconds to wait for an event where there is none.", wait);
    let part = part.needs(Scope::Read).asks(which()).asks([limit, wait]);
    let live = get(stream::stream, "streamFeed", "Read the events as a stream");
    let live = live.says(
        "Server-sent events: `id` is the cursor after the event, `event` its type, `data` the event. One named `missed` tells how \
         many are no longer kept. What comes in is sent at once. Who connects again with `Last-Event-ID` goes on there.",
    );
    let last = Parameter::header("Last-Event-ID", "The last `id` that was received; goes before `after`.");
    let live = live.needs(Scope::Read).asks(which()).heeds([last]).gives_stream("text/event-stream", "The stream.");
    [
        at("/v1/feed", [], [part.gives::<FeedView>(200, "A part of the feed.").refuses([Problem::Overloaded])]),
        at("/v1/feed/stream", [], [live.refuses([Problem::Overloaded])]),
    ]
}

fn which() -> [Parameter; 3] {
    let after = "Where to go on: a `cursor`, as it is; the `beginning` of what is kept, if left out; or the `end`, for what comes later.";
    let sources = "Only what came in by these sources of the config, separated by commas.";
    [
        Parameter::query_like("after", after, json!({ "type": "string", "format": "cursor" })),
        types_of("types"),
        Parameter::query_like(
            "sources",
            sources,
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}(,[A-Za-z0-9_-]{1,64})*$" }),
        ),
    ]
}

fn name() -> Parameter {
    let schema = json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" });
    Parameter::path_like("name", "The consumer.", schema)
}

fn kept() -> [Path; 2] {
    let list = get(consumers::list, "listConsumers", "List the consumers of the feed").needs(Scope::Read);
    let show = get(consumers::show, "getConsumer", "Show a consumer, and how far it is behind").needs(Scope::Read);
    let make = put(consumers::put, "putConsumer", "Make a consumer, change what it is for, or move it");
    let make = make.says(
        "A place in the feed that the gateway keeps. With `after` it is moved: whoever reads it has to receive again.",
    );
    let make =
        make.needs(Scope::Write).may_take::<ConsumerSettings>(json!({ "types": ["email.bounced"], "after": "end" }));
    let make = make.gives::<ConsumerView>(200, "It was there.").gives::<ConsumerView>(201, "It is new.");
    let forget = delete(consumers::delete, "deleteConsumer", "Forget a consumer, and its place").needs(Scope::Write);
    [
        at("/v1/feed/consumers", [], [list.gives::<List<ConsumerView>>(200, "All of them, by name.")]),
        at(
            "/v1/feed/consumers/{name}",
            [name()],
            [
                show.gives::<ConsumerView>(200, "The consumer."),
                make.refuses([Problem::BadQuery(String::new()), Problem::TooManyConsumers]),
                forget.gives_nothing(204, "It is forgotten."),
            ],
        ),
    ]
}

fn turns() -> [Path; 2] {
    let receive = post(receive::receive, "receiveEvents", "Take what comes next for a consumer");
    let receive = receive.says(
        "For one worker at a time: another gets nothing, and takes over when `lease_s` have passed without a call of the \
         first. The same comes again until it is acknowledged.",
    );
    let receive = receive.needs(Scope::Write).takes::<Receive>(json!({ "worker": "crm-1", "limit": 50, "wait_s": 30 }));
    let ack = post(receive::ack, "acknowledge", "Acknowledge what was dealt with");
    let ack = ack.says("All until `cursor`. `409` when another worker has taken over, who gets the same.");
    let ack = ack.needs(Scope::Write).takes::<Ack>(json!({ "token": "4f1d…", "cursor": "AgED…" }));
    [
        at(
            "/v1/feed/consumers/{name}/receive",
            [name()],
            [receive.gives::<Received>(200, "What comes next.").refuses([Problem::Overloaded])],
        ),
        at(
            "/v1/feed/consumers/{name}/ack",
            [name()],
            [ack.gives_nothing(204, "It is kept.").refuses([Problem::LeaseLost])],
        ),
    ]
}
