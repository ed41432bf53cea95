//! All routes, in one table: what is served, and what `/openapi.json` tells of it.

use actix_web::web::{self, PathConfig, ServiceConfig};
use actix_web::{Scope, guard};

use super::openapi::{Parameter, Path, at, post};
use super::problem::Problem;
use super::{api, compat, inbound, webhooks};

mod events;
mod operations;
mod received;

/// Adds every route. The app has to hold a [`Gateway`](super::state::Gateway) and, on each worker, a
/// [`Gatherer`](super::gather::Gatherer) as its data.
pub fn configure(app: &mut ServiceConfig) {
    let [source, others] = [sources_of_one_name(), sources_of_one_name()];
    app.app_data(PathConfig::default().error_handler(|_, _| Problem::NotFound("thing of that name").into()))
        .service(source.guard(guard::Post()).default_service(web::to(inbound::receive)))
        .service(others.default_service(web::to(|| async { Problem::MethodNotAllowed("POST".into()).plain() })));
    for path in served() {
        app.service(path.resource());
    }
    app.service(web::scope("/in").default_service(web::to(inbound::nothing))).default_service(web::to(api::nothing));
}

/// `/in/{source}`. For a pattern the router would run a regular expression on each request.
fn sources_of_one_name() -> Scope {
    let is_one_name = |name: &str| !name.is_empty() && !name.contains('/');
    let guard = guard::fn_guard(move |request| request.head().uri.path().strip_prefix("/in/").is_some_and(is_one_name));
    web::scope("/in").guard(guard)
}

/// Every path.
pub(super) fn table() -> Vec<Path> {
    let source = received::described(post(inbound::receive, "receive", "Take a webhook of a provider"));
    let mut all = vec![at("/in/{source}", [Parameter::path::<String>("source", "A source of the config.")], [source])];
    all.extend(served());
    all
}

/// The same without the sources, whose way is shorter.
fn served() -> Vec<Path> {
    [received::paths(), events::paths(), webhooks::paths(), compat::paths(), operations::paths()]
        .into_iter()
        .flatten()
        .collect()
}
