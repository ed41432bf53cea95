//! What `/metrics` tells, of a real gateway, is what happened to it, and no more than may be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;

use actix_web::HttpResponse;
use waypost::metrics::families::{About, Family, Type};
use waypost::metrics::{Metrics, Observed};
use waypost_providers::Signed;

use crate::gateway::{API_KEY, Gateway, Poster, until};
use crate::hooks::{Arrival, Hooks};
use crate::openapi::installed;
use crate::redis_harness::Server;
use crate::tidy::root;
use crate::wire;

async fn started(store: &str, endpoints: &str) -> Gateway {
    let mut gateway = Gateway::serving(store, endpoints);
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

async fn page(gateway: &Gateway) -> String {
    let reply = gateway.get("/metrics").await.unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    reply.body
}

/// What a sample is at; none where there is no such sample.
pub(crate) async fn value(gateway: &Gateway, sample: &str) -> Option<f64> {
    page(gateway).await.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until a sample is at this.
async fn until_at(gateway: &Gateway, sample: &str, at: f64) {
    until(sample, async || value(gateway, sample).await == Some(at)).await;
}

/// Counters that are not zero, and gauges, without their `waypost_`; of histograms the counts. Calls of the store are as
/// many as it takes.
fn counted(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("waypost_")?.rsplit_once(' '));
    let is_part = |name: &str| name.contains("_bucket") || name.contains("_seconds_sum");
    let lines = lines.filter(|(name, _)| !is_part(name) && !name.starts_with("store_call_"));
    lines.map(|(name, value)| (name, value.parse().unwrap())).filter(|(_, value)| *value != 0.0).collect()
}

fn forged(poster: &Poster) -> Signed {
    let (_, signed) = poster.resend_event(7);
    Signed { body: poster.resend_event(8).1.body, ..signed }
}

async fn tells_what_happened(store: &str) {
    let answer = |arrival: &Arrival| match arrival.attempt {
        1 => HttpResponse::ServiceUnavailable().finish(),
        _ => HttpResponse::Ok().finish(),
    };
    let hooks = Hooks::answering(answer);
    let gateway = started(store, &hooks.endpoints(0..1, "retry = [1, 1]\n")).await;
    let before = page(&gateway).await;
    let quiet = [("store_ready", 1.0), (r#"endpoints{state="enabled"}"#, 1.0)];
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    let quiet: BTreeMap<_, _> = quiet.into_iter().chain([(version.as_str(), 1.0)]).collect();
    assert_eq!(counted(&before), quiet);

    let (poster, url) = (Poster::new(), gateway.url("resend"));
    let (_, signed) = poster.resend_event(1);
    let bytes = signed.body.len() as f64;
    for status in [200, 200] {
        assert_eq!(poster.post(&url, signed.clone()).await, Some(status));
    }
    let forged = forged(&poster);
    let forged_bytes = forged.body.len() as f64;
    assert_eq!(poster.post(&url, forged).await, Some(401));
    let surprise = poster.resend_event_of(2, 2, "email.surprise").1;
    let surprise_bytes = surprise.body.len() as f64;
    assert_eq!(poster.post(&url, surprise).await, Some(200));
    assert_eq!(poster.post(&gateway.url("nobody"), signed).await, Some(404));
    until_at(&gateway, r#"waypost_deliveries_ended_total{status="delivered"}"#, 1.0).await;
    until_at(&gateway, "waypost_delivery_attempts_in_flight", 0.0).await;

    let after = page(&gateway).await;
    let told = [
        (r#"inbound_requests_total{source="resend",outcome="stored"}"#, 1.0),
        (r#"inbound_requests_total{source="resend",outcome="repeat"}"#, 1.0),
        (r#"inbound_requests_total{source="resend",outcome="kept"}"#, 1.0),
        (r#"inbound_requests_total{source="resend",outcome="not_proven"}"#, 1.0),
        (r#"inbound_requests_total{source="",outcome="unknown_source"}"#, 1.0),
        (r#"inbound_request_duration_seconds_count{source="resend"}"#, 4.0),
        (r#"inbound_body_bytes_total{source="resend"}"#, 2.0 * bytes + forged_bytes + surprise_bytes),
        (r#"inbound_events_total{source="resend",type="email.delivered",outcome="stored"}"#, 1.0),
        (r#"inbound_events_total{source="resend",type="email.delivered",outcome="repeat"}"#, 1.0),
        (r#"inbound_events_total{source="resend",type="",outcome="unmapped"}"#, 1.0),
        (r#"delivery_attempts_total{outcome="2xx"}"#, 1.0),
        (r#"delivery_attempts_total{outcome="5xx"}"#, 1.0),
        ("delivery_attempt_duration_seconds_count", 2.0),
        (r#"deliveries_ended_total{status="delivered"}"#, 1.0),
        ("delivery_delay_seconds_count", 1.0),
    ];
    assert_eq!(counted(&after), told.into_iter().chain(quiet).collect());
    // It had waited a second for its second attempt.
    let delay = value(&gateway, "waypost_delivery_delay_seconds_sum").await.unwrap();
    assert!((0.9..60.0).contains(&delay), "{delay}");
    for (operation, least) in [("ingest", 3.0), ("heartbeat", 1.0), ("due", 2.0), ("lease", 2.0), ("finish", 2.0)] {
        let calls = format!("waypost_store_call_duration_seconds_count{{operation=\"{operation}\"}}");
        assert!(value(&gateway, &calls).await.unwrap() >= least, "{after}");
    }
    check_process(&gateway).await;
    for private in ["@", "customer.example", "wh_", "evt_", "127.0.0.1", "http:", "nobody", "surprise"] {
        assert!(!after.contains(private), "{private}: {after}");
    }
}

async fn check_process(gateway: &Gateway) {
    let is = async |name: &str| value(gateway, &format!("process_{name}")).await.unwrap();
    let began = is("start_time_seconds").await;
    // Later than this was written.
    assert!(began > 1.7e9, "{began}");
    assert!(is("resident_memory_bytes").await > 1e6 && is("cpu_seconds_total").await > 0.0);
    let (open, most) = (is("open_fds").await, is("max_fds").await);
    assert!((3.0..1_000.0).contains(&open) && open < most, "{open} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_gateway_tells_what_happened() {
    tells_what_happened("embedded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_gateway_tells_what_happened() {
    let server = Server::start().await;
    tells_what_happened(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_is_told() {
    let mut server = Server::start().await;
    let gateway = started(&server.url(), "").await;
    until_at(&gateway, "waypost_store_ready", 1.0).await;
    server.down();
    until_at(&gateway, "waypost_store_ready", 0.0).await;
    assert_eq!(Poster::new().resend(&gateway.url("resend"), 1).await.1, Some(503));
    let refused = r#"waypost_inbound_requests_total{source="resend",outcome="store_unavailable"}"#;
    assert_eq!(value(&gateway, refused).await, Some(1.0));
    until("the dispatcher notices", async || {
        let page = page(&gateway).await;
        counted(&page).keys().any(|name| name.starts_with("store_errors_total{operation=\"heartbeat\""))
    })
    .await;
    server.up().await;
    until_at(&gateway, "waypost_store_ready", 1.0).await;
}

/// Of ten mails at once each fails, so that one endpoint is only probed; another says that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_fail_are_told_until_they_are_switched_off() {
    let answer = |arrival: &Arrival| match arrival.endpoint.as_str() {
        "wh_0" => HttpResponse::InternalServerError().finish(),
        _ => HttpResponse::Gone().finish(),
    };
    let hooks = Hooks::answering(answer);
    let gateway = started("embedded", &hooks.endpoints(0..2, "retry = [60]\nmax_in_flight = 10\n")).await;
    hooks.hold();
    let poster = Poster::new();
    for number in 0..10 {
        poster.until_accepted(&gateway, number).await;
    }
    until_at(&gateway, "waypost_delivery_attempts_in_flight", 20.0).await;
    hooks.release();
    until_at(&gateway, "waypost_delivery_breakers_open", 1.0).await;
    until_at(&gateway, r#"waypost_endpoints{state="gone"}"#, 1.0).await;
    assert_eq!(value(&gateway, r#"waypost_delivery_attempts_total{outcome="5xx"}"#).await, Some(10.0));
    assert_eq!(gateway.call(API_KEY, "POST /v1/webhooks/wh_0/disable", "").await.0, 200);
    until_at(&gateway, "waypost_delivery_breakers_open", 0.0).await;
    until_at(&gateway, r#"waypost_endpoints{state="api"}"#, 1.0).await;
    assert_eq!(value(&gateway, r#"waypost_endpoints{state="enabled"}"#).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_needs_a_key_that_may_read() {
    let write = "write-0123456789abcdef0123456789abcdef";
    let read = "scrape-0123456789abcdef0123456789abcdef";
    let key =
        |name: &str, key: &str| format!("[[api.keys]]\nname = \"{name}\"\nkey = \"{key}\"\nscopes = [\"{name}\"]\n");
    let gateway = started("embedded", &(key("write", write) + &key("read", read))).await;
    let status = async |header: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nhost: waypost\r\n{header}\r\n");
        wire::exchange(gateway.port(), head.as_bytes()).await.unwrap().status
    };
    assert_eq!(status("").await, 401);
    assert_eq!(status("authorization: Bearer none\r\n").await, 401);
    assert_eq!(status(&format!("authorization: Bearer {write}\r\n")).await, 403);
    assert_eq!(status(&format!("authorization: Bearer {read}\r\n")).await, 200);
}

/// By Prometheus's own parser, and the rules that `promtool check metrics` has. Needs Python; see `openapi.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_reads_it_and_each_family_is_as_documented() {
    let Some(folder) = installed("openapi") else { return };
    let gateway = started("embedded", "").await;
    let poster = Poster::new();
    poster.until_accepted(&gateway, 1).await;
    let path = folder.join(format!("{}.metrics", gateway.port()));
    let check = |page: &str| {
        std::fs::write(&path, page).unwrap();
        let mut command = Command::new(folder.join("venv/bin/python"));
        let output = command.arg(root().join("tests/it/metrics/check.py")).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let page = page(&gateway).await;
    let told = check(&page);
    let found: BTreeSet<_> = told.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
    let wanted = Family::ALL.iter().map(|family| family.about()).map(|About { name, kind, labels, .. }| {
        let labels: BTreeSet<_> = labels.iter().copied().collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(",");
        format!("{} {} {labels}", name.trim_end_matches("_total"), kind.as_str())
    });
    assert_eq!(found, wanted.collect(), "{told}");
    // It would be told.
    let broken = page.replacen("# HELP waypost_store_ready ", "# ", 1).replacen(
        "_bucket{operation=\"due\",le=\"+Inf\"} ",
        "_bucket{operation=\"due\",le=\"+Inf\"} 9",
        1,
    );
    assert_eq!(check(&broken).matches("wrong:").count(), 2, "{}", check(&broken));
    std::fs::remove_file(path).unwrap();
}

/// The labels of a family, and all that they can be but for what the config and the version say.
fn labels(about: &About, page: &str) -> String {
    let mut values: Vec<Vec<&str>> = vec![Vec::new(); about.labels.len()];
    for line in page.lines().filter_map(|line| line.strip_prefix(about.name)) {
        for (label, values) in about.labels.iter().zip(&mut values) {
            let value = line.split(&format!("{label}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            values.extend(value.filter(|value| !value.is_empty() && !values.contains(value)));
        }
    }
    let told = |(label, values): (&&str, Vec<&str>)| match *label {
        "source" | "version" => format!("`{label}`"),
        _ => format!("`{label}`: {}", values.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")),
    };
    about.labels.iter().zip(values).map(told).collect::<Vec<_>>().join("; ")
}

/// The document, as the program knows the families.
fn document() -> String {
    let mut text = "# Metrics\n\n\
        What `GET /metrics` tells, with an API key of scope `read`, in the text format of Prometheus. Each gateway counts for itself,\n\
        from 0 at its start; the sum over all is what happened, but for `waypost_store_ready` and `waypost_endpoints`, which each tells\n\
        of the same store. A series is there before there is anything to count, for each source of the config. There are no others,\n\
        and no label tells an endpoint, an address or a URL: how many deliveries to an endpoint are pending, and what became of its\n\
        attempts, is told by `/v1/webhooks/ID/stats`.\n\n\
        `BLESS=1 cargo test --test it metrics` writes this page.\n\n\
        | name | type | unit | labels | what |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    let page = Metrics::default().text(&Observed { sources: vec!["resend"], ..Observed::default() });
    for about in Family::ALL.iter().map(|family| family.about()) {
        let About { name, kind, help, .. } = about;
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.trim_end_matches("_total").ends_with(unit));
        let (unit, labels) = (unit.unwrap_or_default(), labels(&about, &page));
        writeln!(text, "| `{name}` | {} | {unit} | {labels} | {help} |", kind.as_str()).unwrap();
    }
    text
}

#[test]
fn the_document_lists_them_all() {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), document(), "run once with BLESS=1");
}

/// What the README tells to alert on is there.
#[test]
fn no_family_is_named_that_is_none() {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for About { name, kind, .. } in Family::ALL.iter().map(|family| family.about()) {
        let suffixes: &[&str] = if kind == Type::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    let text = crate::readme::readme();
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let named: Vec<_> = text.split(|letter| !is_letter(letter)).filter(|word| word.starts_with("waypost_")).collect();
    assert!(named.len() >= 3, "the README names {named:?}");
    for name in named {
        assert!(names.contains(name), "`{name}`");
    }
}
