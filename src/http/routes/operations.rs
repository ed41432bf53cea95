//! The routes of who runs it.

use crate::domain::access::Scope;
use crate::http::audit;
use crate::http::health::{self, Alive, Confirmed, Ready};
use crate::http::keys::{self, KeyView};
use crate::http::lists::List;
use crate::http::metrics;
use crate::http::openapi::{self, Path, at, get, page, post};
use crate::http::problem::Problem;
use crate::store::access::Kept;

pub(super) fn paths() -> Vec<Path> {
    let confirm = post(health::confirm, "confirmLoss", "Go on with what the store holds");
    let confirm = confirm.says(
        "When a store came back without endpoints that the API had made, providers are answered `503` until they are \
         restored, or this is said: to each gateway.",
    );
    let alive = get(health::healthz, "isAlive", "Ask whether the process lives");
    let ready = get(health::readyz, "isReady", "Ask whether it can take work");
    let metrics = get(metrics::metrics, "getMetrics", "Show the metrics of this gateway, for Prometheus");
    let metrics = metrics.says("In its text format, version 0.0.4. Each gateway tells its own since it was started.");
    let document = get(openapi::openapi, "getDocument", "Show this document");
    let audit = get(audit::audit, "listChanges", "List what was changed, latest first").needs(Scope::Admin);
    let audit = audit.says("By whom and when, for 90 days. It names no address, and tells no value.").asks(page());
    let keys = get(keys::keys, "listKeys", "List the API keys, and when each was last used").needs(Scope::Admin);
    vec![
        at("/v1/audit", [], [audit.gives::<List<Kept>>(200, "A part of the list.")]),
        at("/v1/keys", [], [keys.gives::<List<KeyView>>(200, "All of them, as the config has them.")]),
        at("/v1/store/confirm", [], [confirm.needs(Scope::Admin).gives::<Confirmed>(200, "Whether there was a loss.")]),
        at("/healthz", [], [alive.gives::<Alive>(200, "It does.")]),
        at("/readyz", [], [ready.gives::<Ready>(200, "It can.").refuses([Problem::StoreSlow, Problem::ShuttingDown])]),
        at("/metrics", [], [metrics.needs(Scope::Read).gives_text("Families and samples.")]),
        at(
            "/openapi.json",
            [],
            [document
                .gives::<Document>(200, "The document.")
                .with_header("ETag", "What changes whenever it does.")
                .gives_nothing(304, "It is the one that is known.")],
        ),
    ]
}

/// An OpenAPI document.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its shape is used")]
struct Document {
    openapi: String,
}
