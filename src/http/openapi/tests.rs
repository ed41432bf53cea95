//! The document against the routes as they answer. That answers are of the schemas is seen by `tests/it/openapi.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_and_read_body_json, call_service, init_service, read_body};
use actix_web::web::{Data, ThinData};
use serde_json::Value;

use super::document::Told;
use super::operation::Access;
use super::{Operation, Path};
use crate::clock::SystemClock;
use crate::domain::access::{AccessKey, Scope};
use crate::domain::retention::Lifetimes;
use crate::endpoints::EndpointCache;
use crate::http::gather::Gatherer;
use crate::http::routes;
use crate::http::state::{Gateway, Limits};
use crate::store::embedded::Embedded;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A key of each scope.
const KEYS: [(Scope, &str); 3] = [
    (Scope::Read, "read-0123456789abcdef0123456789abcdef"),
    (Scope::Write, "write-0123456789abcdef0123456789abcdef"),
    (Scope::Admin, "admin-0123456789abcdef0123456789abcdef"),
];
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE];

macro_rules! serve {
    ($dir:expr) => {{
        let clock = Arc::new(SystemClock::new());
        let lifetimes = Lifetimes { events: DAY, requests: DAY, tokens: DAY };
        let store = Arc::new(Embedded::open($dir.path(), Arc::clone(&clock) as _, lifetimes).unwrap());
        let body_timeout = Duration::from_secs(10);
        let limits = Limits { requests_in_flight_max: 1, body_budget_bytes: 1 << 20, body_timeout, ..Limits::NONE };
        let keys = KEYS.map(|(scope, key)| AccessKey::new(scope.as_str().into(), key, vec![scope]).unwrap());
        let gateway = Gateway::new(store, clock, Arc::new(EndpointCache::default()), limits).with_api_keys(keys.into());
        let gateway = Data::new(gateway);
        let gatherer = ThinData(Gatherer::start(&gateway));
        init_service(App::new().app_data(gateway).app_data(gatherer).configure(routes::configure)).await
    }};
}

/// A path with something for each of its names.
fn filled(path: &Path) -> String {
    let part = |part: &str| match part {
        "{part}" => "text".to_owned(),
        "{n}" => "0".to_owned(),
        part if part.starts_with('{') => "nora@customer.example".to_owned(),
        part => part.to_owned(),
    };
    path.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[actix_web::test]
async fn each_operation_needs_the_scope_that_it_tells() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    let status = async |method: &Method, uri: &str, key: &str| {
        let call = TestRequest::with_uri(uri).method(method.clone()).insert_header(("x-api-key", key));
        call_service(&app, call.to_request()).await.status().as_u16()
    };
    for path in routes::table() {
        let uri = filled(&path);
        for operation in &path.operations {
            let (method, what) = (&operation.method, format!("{} {}", operation.method, path.path));
            let needed = match operation.access {
                Access::Open => {
                    assert_ne!(status(method, &uri, "").await, 403, "{what}");
                    continue;
                }
                Access::Key(scope) => scope,
                Access::Link => Scope::Read,
            };
            assert_eq!(status(method, &uri, "").await, 401, "{what}");
            for (scope, key) in KEYS {
                let is_good = scope == needed || scope == Scope::Admin;
                let is_forbidden = status(method, &uri, key).await == 403;
                assert_eq!(is_forbidden, !is_good, "{what} with a key of scope {}", scope.as_str());
            }
        }
    }
}

#[actix_web::test]
async fn each_path_has_the_methods_that_it_tells_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    for path in routes::table() {
        let told: Vec<_> = path.operations.iter().map(|operation| operation.method.clone()).collect();
        for method in METHODS {
            let call = TestRequest::with_uri(&filled(&path)).method(method.clone()).to_request();
            let answer = call_service(&app, call).await;
            let what = format!("{method} {}", path.path);
            assert_eq!(answer.status() == 405, !told.contains(&method), "{what}: {}", answer.status());
            let allowed = answer.headers().get("allow").map(|allowed| allowed.to_str().unwrap().to_owned());
            let all = told.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            assert_eq!(allowed, (answer.status() == 405).then_some(all), "{what}");
        }
    }
}

#[actix_web::test]
async fn a_query_that_is_not_told_of_is_refused_and_one_that_is_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    let (mut seen, key) = (0, KEYS[2].1);
    for path in routes::table() {
        for operation in path.operations.iter().filter(|one| one.parameters.iter().any(|one| one.place == "query")) {
            let query = operation.parameters.iter().filter(|one| one.place == "query").map(|one| one.name);
            for name in query.chain(["surprise"]) {
                let uri = format!("{}?{name}=%20", filled(&path));
                let call = TestRequest::with_uri(&uri).method(operation.method.clone());
                let call = call.insert_header(("x-api-key", key)).to_request();
                let answer: Value = call_and_read_body_json(&app, call).await;
                let detail = answer["detail"].as_str().unwrap_or_default();
                assert_eq!(detail.contains("unknown field"), name == "surprise", "{uri}: {answer}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} parameters were tried");
}

#[actix_web::test]
async fn a_body_that_is_no_object_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    let mut seen = 0;
    for path in routes::table() {
        let takes_json = |one: &&Operation| one.body.as_ref().is_some_and(|body| body.media_type == "application/json");
        for operation in path.operations.iter().filter(takes_json) {
            // Fields by their place are none.
            for body in ["[]", "[\"\"]", "1", "null", "{"] {
                let call = TestRequest::with_uri(&filled(&path)).method(operation.method.clone());
                let call = call.insert_header(("x-api-key", KEYS[2].1)).set_payload(body).to_request();
                let answer = call_service(&app, call).await;
                assert_eq!(answer.status(), 422, "{} {} {body}", operation.method, path.path);
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "only {seen} bodies were tried");
}

#[actix_web::test]
async fn a_name_that_nothing_can_have_is_a_problem_too() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    for (path, problem) in [
        ("/v1/events/%ff", "not_found"),
        ("/v1/events/evt_1/attachments/first", "not_found"),
        ("/v1/suppressions/%ff%fe", "not_an_address"),
    ] {
        let call = TestRequest::get().uri(path).insert_header(("x-api-key", KEYS[0].1)).to_request();
        let answer: Value = call_and_read_body_json(&app, call).await;
        assert_eq!(answer["type"], format!("urn:waypost:problem:{problem}"), "{path}: {answer}");
    }
}

#[actix_web::test]
async fn the_document_is_served_to_anybody_and_not_again_to_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let app = serve!(dir);
    let get = || TestRequest::get().uri("/openapi.json");
    let answer = call_service(&app, get().to_request()).await;
    assert_eq!(answer.status(), 200);
    let tag = answer.headers().get("etag").unwrap().clone();
    let again = call_service(&app, get().insert_header(("if-none-match", tag)).to_request()).await;
    assert_eq!((again.status().as_u16(), read_body(again).await.len()), (304, 0));
    let other = call_service(&app, get().insert_header(("if-none-match", "\"other\"")).to_request()).await;
    assert_eq!(other.status(), 200);
    let told: Value = call_and_read_body_json(&app, get().to_request()).await;
    assert_eq!(told, Told::of(&routes::table()).document());
}

#[test]
fn names_are_of_one_thing_each() {
    let told = Told::of(&routes::table()).document();
    let mut ids = BTreeSet::new();
    for (path, item) in told["paths"].as_object().unwrap() {
        let named: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = item["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(parameters.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), named, "{path}");
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "two operations are `{id}`");
            assert_ne!(operation["tags"][0], "other", "{method} {path} belongs nowhere: see `TAGS`");
        }
    }
    assert!(ids.len() > 50, "{} operations", ids.len());
    // A type whose name is taken is numbered by the generator.
    let schemas = told["components"]["schemas"].as_object().unwrap();
    let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(char::is_numeric)).collect();
    assert!(numbered.is_empty(), "two types have one name; `schemars(rename)` one of each: {numbered:?}");
}

#[test]
fn what_is_sent_and_answered_under_one_name_is_one() {
    let Told { sent, answered, .. } = Told::of(&routes::table());
    for (name, schema) in &sent {
        assert!(answered.get(name).is_none_or(|other| other == schema), "`{name}` is read and written in two ways");
    }
}
