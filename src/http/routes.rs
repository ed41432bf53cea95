//! All routes, in one table: what is served, and what `/openapi.json` tells of it.

use actix_web::web::{self, PathConfig, ServiceConfig};
use actix_web::{HttpRequest, Scope, guard};

use super::openapi::{Parameter, Path, at, post};
use super::problem::Problem;
use super::{api, compat, inbound, webhooks};

mod events;
mod feed;
mod operations;
mod received;

/// What an address serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// Everything.
    #[default]
    Whole,
    /// What others call who have no API key: providers, and whoever has a link to received mail.
    Public,
    /// All the rest.
    Admin,
}

impl Door {
    /// The one that a request came in by.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.app_data().copied().unwrap_or_default()
    }

    /// Adds its routes. The app has to hold a [`Gateway`](super::state::Gateway) and, on each worker of one that providers
    /// call, a [`Gatherer`](super::gather::Gatherer) as its data.
    pub fn configure(self, app: &mut ServiceConfig) {
        app.app_data(self);
        app.app_data(PathConfig::default().error_handler(|_, _| Problem::NotFound("thing of that name").into()));
        if self != Self::Admin {
            let [source, others] = [sources_of_one_name(), sources_of_one_name()];
            app.service(source.guard(guard::Post()).default_service(web::to(inbound::receive))).service(
                others.default_service(web::to(|| async { Problem::MethodNotAllowed("POST".into()).plain() })),
            );
        }
        for path in served().into_iter().filter(|path| self.has(path)) {
            app.service(path.resource());
        }
        if self != Self::Admin {
            app.service(web::scope("/in").default_service(web::to(inbound::nothing)));
        }
        app.default_service(web::to(api::nothing));
    }

    fn has(self, path: &Path) -> bool {
        let is_callback = path.path.starts_with("/in/") || path.path == "/api/webhooks";
        let is_probe = matches!(path.path, "/healthz" | "/readyz");
        match self {
            Self::Whole => true,
            Self::Public => is_callback || is_probe || path.is_link(),
            Self::Admin => !is_callback,
        }
    }
}

/// Adds every route.
pub fn configure(app: &mut ServiceConfig) {
    Door::Whole.configure(app);
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
    [received::paths(), events::paths(), feed::paths(), webhooks::paths(), compat::paths(), operations::paths()]
        .into_iter()
        .flatten()
        .collect()
}
