//! All routes.

use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Scope, guard};

use super::problem::Problem;
use super::{api, compat, content, health, inbound, jobs, replays, requests, sources, suppressions, token, webhooks};

/// Adds every route. The app has to hold a [`Gateway`](super::state::Gateway) and, on each worker, a
/// [`Gatherer`](super::gather::Gatherer) as its data.
pub fn configure(app: &mut ServiceConfig) {
    app.service(sources().guard(guard::Post()).default_service(web::to(inbound::receive)))
        .service(sources().default_service(web::to(|| async { Problem::MethodNotAllowed("POST").plain() })))
        .service(post("/in/{source}/token", token::give))
        .service(web::scope("/in").default_service(web::to(inbound::nothing)))
        .service(post("/api/webhooks", inbound::receive_default))
        .service(get("/v1/events", api::events))
        .service(get("/v1/events/{id}", api::event))
        .service(get("/v1/events/{id}/raw", api::raw))
        .service(get("/v1/events/{id}/content/{part}", content::content))
        .service(get("/v1/events/{id}/attachments/{n}", content::attachment))
        .service(get("/v1/events/{id}/deliveries", api::deliveries_of))
        .service(get("/v1/deliveries", api::deliveries))
        .service(get("/v1/deliveries/{id}", replays::delivery))
        .service(make("/v1/deliveries/{id}/retry", replays::retry))
        .service(make("/v1/events/{id}/replay", replays::replay_event))
        .service(make("/v1/webhooks/{id}/replay", replays::replay_endpoint))
        .service(get("/v1/requests", requests::requests))
        .service(make("/v1/requests/reprocess", requests::reprocess_all))
        .service(get("/v1/requests/{id}", requests::request))
        .service(make("/v1/requests/{id}/reprocess", requests::reprocess))
        .service(get("/v1/replays", jobs::jobs))
        .service(
            web::resource("/v1/replays/{id}")
                .route(web::get().to(jobs::job))
                .route(web::delete().to(jobs::cancel))
                .default_service(web::to(|| async {
                    Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET, DELETE"))
                })),
        )
        .service(get("/v1/sources", sources::sources))
        .service(
            web::resource("/v1/suppressions")
                .route(web::get().to(suppressions::suppressions))
                .route(web::post().to(suppressions::suppress))
                .default_service(web::to(|| async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET, POST")) })),
        )
        .service(
            web::resource("/v1/suppressions/{address}")
                .route(web::get().to(suppressions::suppression))
                .route(web::delete().to(suppressions::unsuppress))
                .default_service(web::to(|| async {
                    Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET, DELETE"))
                })),
        )
        .configure(webhooks::configure)
        .configure(compat::configure)
        .service(make("/v1/store/confirm", health::confirm))
        .service(get("/healthz", health::healthz))
        .service(get("/readyz", health::readyz))
        .default_service(web::to(api::nothing));
}

/// `/in/{source}`. For a pattern the router would run a regular expression on each request.
fn sources() -> Scope {
    let is_one_name = |name: &str| !name.is_empty() && !name.contains('/');
    let guard = guard::fn_guard(move |request| request.head().uri.path().strip_prefix("/in/").is_some_and(is_one_name));
    web::scope("/in").guard(guard)
}

fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let other = || async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET")) };
    web::resource(path).route(web::get().to(handler)).default_service(web::to(other))
}

fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let other = || async { Problem::MethodNotAllowed("POST").plain() };
    web::resource(path).route(web::post().to(handler)).default_service(web::to(other))
}

/// A POST of the API, whose errors are problem details.
fn make<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let other = || async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("POST")) };
    web::resource(path).route(web::post().to(handler)).default_service(web::to(other))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::web::Data;
    use actix_web::{App, http::Method};
    use waypost_providers::{Proof, by_name};

    use super::super::state::{Gateway, Limits};
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::retention::Lifetimes;
    use crate::domain::source::Source;
    use crate::sources::CurrentSources;
    use crate::store::embedded::Embedded;

    /// A gateway with a source of mail.
    fn gateway(dir: &Path) -> Gateway {
        let clock = Arc::new(SystemClock::new());
        let life = Duration::from_secs(60);
        let lifetimes = Lifetimes { events: life, requests: life, tokens: life };
        let store = Arc::new(Embedded::open(dir, Arc::clone(&clock) as _, lifetimes).unwrap());
        let provider = by_name("sendgrid-inbound").unwrap();
        let source = Source { provider, proof: Arc::new(Proof::Basic(Vec::new())), fetching: None };
        let sources = CurrentSources::default();
        sources.replace([("mail".to_owned(), source)].into());
        Gateway::new(store, clock, Arc::default(), Limits::NONE).with_sources(sources)
    }

    #[actix_web::test]
    async fn what_is_not_there_is_404_and_a_wrong_method_405_with_the_right_one() {
        let dir = tempfile::tempdir().unwrap();
        let app = init_service(App::new().app_data(Data::new(gateway(dir.path()))).configure(configure)).await;
        let cases = [
            (Method::GET, "/v1/nothing", 404, None),
            (Method::GET, "/healthz", 200, None),
            (Method::GET, "/in/resend", 405, Some("POST")),
            (Method::POST, "/in", 404, None),
            (Method::POST, "/in/", 404, None),
            (Method::POST, "/in/resend/", 404, None),
            // A mail is dropped for good on any 4xx.
            (Method::POST, "/in/mail/", 503, None),
            (Method::POST, "/in/mail/more/", 503, None),
            (Method::POST, "/in/another-inbound/", 503, None),
            (Method::POST, "/inn/resend", 404, None),
            (Method::DELETE, "/v1/events/evt_1", 405, Some("GET")),
        ];
        for (method, path, status, allowed) in cases {
            let answer = call_service(&app, TestRequest::default().method(method).uri(path).to_request()).await;
            let told = answer.headers().get("allow").map(|value| value.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), told), (status, allowed), "{path}");
        }
    }
}
