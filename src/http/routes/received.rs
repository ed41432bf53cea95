//! The routes of what comes in: callbacks of providers, requests as they were received, sources, suppressions, and persons
//! who are erased.

use schemars::JsonSchema;
use serde_json::json;
use waypost_providers::{Refusal, VerifyError};

use crate::domain::access::Scope;
use crate::domain::erasure::OnList;
use crate::domain::id::RequestId;
use crate::domain::reprocess::{IncompleteRequest, Lack};
use crate::domain::suppression::Reason;
use crate::http::api::RequestView;
use crate::http::inbound;
use crate::http::jobs::JobView;
use crate::http::lists::List;
use crate::http::openapi::{Operation, Parameter, Path, at, delete, get, page, post, source};
use crate::http::problem::Problem;
use crate::http::recipients;
use crate::http::replays::Nothing;
use crate::http::requests::{self, BulkReprocess, Reprocessed};
use crate::http::sources::{self, SourceView};
use crate::http::stats::{self, Stats};
use crate::http::suppressions::{self, Item, Listed, ToSuppress};
use crate::http::token::{self, Asked, Refused, Token};

pub(super) fn paths() -> Vec<Path> {
    [callbacks().into(), requests(), lists(), persons().into()].into_iter().flatten().collect()
}

fn callbacks() -> [Path; 2] {
    let token = post(token::give, "giveToken", "Give a bearer token to a provider");
    let token = token.says(
        "OAuth 2.0 client credentials (RFC 6749, section 4.4), for a source that is proven by it. Id and secret of the \
         client come in the form, or as Basic authentication. What is wrong is told in the words of the RFC.",
    );
    let form = json!({ "grant_type": "client_credentials", "client_id": "sendgrid", "client_secret": "a secret of the config" });
    let token = token.plainly().takes_form::<Asked>(form).gives::<Token>(200, "The token.");
    let token = token.gives::<Refused>(400, "`invalid_request`, `unsupported_grant_type` or `body_broken`.");
    let token =
        token.gives::<Refused>(401, "`invalid_client`.").with_header("WWW-Authenticate", "How to prove who asks.");
    let token = token.refuses([Problem::BodiesOverBudget]);
    let default = post(inbound::receive_default, "receiveDefault", "Take a webhook at the source named `default`");
    [
        at("/in/{source}/token", [Parameter::path::<String>("source", "A source of the config.")], [token]),
        at("/api/webhooks", [], [described(default)]),
    ]
}

fn requests() -> Vec<Path> {
    let id = || Parameter::path::<RequestId>("id", "The request.");
    let status = Parameter::query::<Lack>("status", "What is wrong with them.").needed();
    let list = get(requests::requests, "listRequests", "List requests that were not understood, latest first");
    let list = list.says("Without their content. A part may hold fewer than asked for and still have more after it.");
    let list = list.needs(Scope::Read).asks(page()).asks([status, source()]);
    let show = get(requests::request, "getRequest", "Show a request as it was received").needs(Scope::Read);
    let again = post(requests::reprocess, "reprocessRequest", "Read a request again");
    let again =
        again.says("As the provider that it came from is read now. An event that is stored already is a repeat.");
    let again = again.needs(Scope::Write).may_take::<Nothing>(json!({})).refuses([
        Problem::Erased,
        Problem::SourceGone(String::new()),
        Problem::ProviderUnknown(String::new()),
        Problem::Overloaded,
    ]);
    let all = post(requests::reprocess_all, "reprocessRequests", "Read requests again, all that match");
    let all = all.says(
        "A job reads those with a part of one of these `status` (both), of this `source` (every one), that were received \
         from `since` (all that are kept) until `until` (now, and no later). It counts first, and says so in `total`; \
         with `dry_run` it only counts.",
    );
    let all = all.needs(Scope::Write).made_once();
    let all = all.may_take::<BulkReprocess>(json!({ "status": ["unmapped"], "dry_run": true }));
    let all = all.refuses([Problem::SourceGone(String::new()), Problem::TooManyJobs]);
    let all = all.gives::<JobView>(202, "The job.").with_header("Location", "Where it is.");
    vec![
        at("/v1/requests", [], [list.gives::<List<IncompleteRequest>>(200, "A part of the list.")]),
        // Before the next, whose name stands for any other word.
        at("/v1/requests/reprocess", [], [all]),
        at("/v1/requests/{id}", [id()], [show.gives::<RequestView>(200, "The request.").refuses([Problem::Erased])]),
        at("/v1/requests/{id}/reprocess", [id()], [again.gives::<Reprocessed>(200, "What became of it.")]),
    ]
}

fn lists() -> Vec<Path> {
    let all = get(sources::sources, "listSources", "Show what came in at each source").needs(Scope::Read);
    let numbers = get(stats::stats, "getStats", "Show numbers of all sources and webhooks");
    let numbers = numbers.says("What came in ever since, and what became of deliveries in the last hours, whole ones.");
    let numbers = numbers.needs(Scope::Read).asks([stats::hours()]);
    let reason = Parameter::query::<Reason>("reason", "Only what is there for this reason.");
    let list = get(suppressions::suppressions, "listSuppressions", "List what is on the suppression list");
    let list = list.says(
        "In no order that means anything. Addresses are kept as hashes, so an item has its `address` only while an event \
         that gave a reason is kept. With `reason`, a part may hold fewer than asked for and still have more after it.",
    );
    let list = list.needs(Scope::Read).asks(page()).asks([reason]);
    let put = post(suppressions::suppress, "suppress", "Put an address on the suppression list");
    let put = put.says("For the reason `manual`, unless told.").needs(Scope::Write).made_once();
    let put = put.takes::<ToSuppress>(json!({ "address": "gone@customer.example", "reason": "bounce" }));
    let put = put.gives::<Listed>(201, "All that it is on the list for.");
    let put =
        put.gives::<Listed>(200, "The same, where it was there for this reason.").refuses([Problem::NotAnAddress]);
    let show = get(suppressions::suppression, "getSuppression", "Ask whether one may write to an address");
    let show = show.says("`404` where it is not on the suppression list.").needs(Scope::Read);
    let remove = delete(suppressions::unsuppress, "unsuppress", "Take an address off the suppression list");
    let remove = remove.says("Whatever it was there for. The next event that suppresses it puts it there again.");
    vec![
        at("/v1/sources", [], [all.gives::<List<SourceView>>(200, "The sources of the config, by name.")]),
        at("/v1/stats", [], [numbers.gives::<Stats>(200, "The numbers.")]),
        at("/v1/suppressions", [], [list.gives::<List<Item>>(200, "A part of the list."), put]),
        at(
            "/v1/suppressions/{address}",
            [address()],
            [
                show.gives::<Listed>(200, "Why it is on the list.").refuses([Problem::NotAnAddress]),
                remove.needs(Scope::Write).gives_nothing(204, "It is off the list.").refuses([Problem::NotAnAddress]),
            ],
        ),
    ]
}

/// What the document tells of a callback.
pub(super) fn described(operation: Operation) -> Operation {
    operation
        .plainly()
        .says(
            "Proven as the source's provider proves itself. What is unknown or unreadable is kept raw, and answered `200`. A \
             source of inbound mail answers `503` in the place of all others but `200` and `406`, for a mail is dropped for \
             good on any `4xx`.",
        )
        .takes_anything()
        .gives::<Received>(200, "Stored, or stored before.")
        .refuses([
            Problem::UnknownSource,
            Problem::NotProven { error: VerifyError::Mismatch, refusal: Refusal::Retryable },
            Problem::Forged,
            Problem::ReadFailed,
            Problem::StoreSlow,
            Problem::Overloaded,
            Problem::ShuttingDown,
        ])
}

/// The answer to a webhook.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written by hand, for its spelling is literal to some")]
struct Received {
    /// `true`.
    received: bool,
}

fn address() -> Parameter {
    Parameter::path_like(
        "address",
        "An address, percent-encoded; a name before it is passed over.",
        json!({ "type": "string", "format": "email" }),
    )
}

fn persons() -> [Path; 1] {
    let erase = delete(recipients::erase, "erasePerson", "Erase a person");
    let erase = erase.says(
        "A job erases all that was received until now and names the address, in any way of writing it: events and requests \
         are given to nobody any more, what is pending of them is canceled, and what endpoints answered is blanked. A \
         provider's resend of them is a repeat. The job never tells the address; when it is `done`, the bytes have left the \
         disk, and `gone_by` says by when that is at the latest.",
    );
    let list = Parameter::query::<OnList>(
        "suppression",
        "What becomes of the address on the suppression list: `keep` by default.",
    );
    let erase = erase.needs(Scope::Admin).asks([list]).made_once();
    let erase = erase.refuses([Problem::NotAnAddress, Problem::TooManyJobs]);
    let erase = erase.gives::<JobView>(202, "The job.").with_header("Location", "Where it is.");
    [at("/v1/recipients/{address}", [address()], [erase])]
}
