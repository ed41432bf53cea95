//! Nothing that a provider or a forger sends is answered 500: all that is recorded, what fuzzing found, and what changes
//! make of it, at each source of a running gateway, as it is and proven.

#[path = "../../providers/tests/cases.rs"]
#[expect(dead_code, reason = "the tests of the providers use all of it")]
mod cases;
#[path = "../../providers/tests/change.rs"]
mod change;

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use waypost::clock::{Clock, SystemClock};
use waypost_providers::{PROVIDERS, Signed};

use self::cases::Source;
use self::change::{CHANGES, changed, places};
use crate::gateway::Gateway;
use crate::tidy::root;
use crate::wire;

/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Every answer to what came in whole. `503` is one too, where it says that a request is not proven.
const ANSWERS: [u16; 4] = [200, 400, 401, 406];

fn sources() -> Vec<Source> {
    PROVIDERS.iter().map(|provider| cases::source(provider.name())).collect()
}

/// Each source as the config file has it.
fn config() -> String {
    let source = |name: &str| {
        let text = std::fs::read_to_string(root().join("fixtures").join(name).join("source.toml")).unwrap();
        let is_config = |line: &&str| !line.starts_with("now = ") && !line.starts_with("secret = ");
        let lines = text.split("[test]").next().unwrap().lines().filter(is_config);
        format!("[sources.every-{name}]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
    };
    PROVIDERS.iter().map(|provider| source(provider.name())).collect()
}

/// Heads without what every request has, and bodies.
fn inputs() -> Vec<Signed> {
    let found = std::fs::read_dir(root().join("providers/fuzz/corpus/found")).unwrap();
    let found = found.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let recorded =
        cases::sources().into_iter().flat_map(|source| source.cases).map(|case| std::fs::read(case.path).unwrap());
    let request = |input: Vec<u8>| {
        let end = input.windows(4).position(|end| end == b"\r\n\r\n");
        let (head, body) = end.map_or((&[][..], &input[..]), |end| (&input[..end], &input[end + 4..]));
        let head = String::from_utf8_lossy(head);
        let is_own = |name: &str| ["host", "content-length", "transfer-encoding", "connection"].contains(&name);
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let headers = fields.filter(|(name, _)| !is_own(&name.to_ascii_lowercase())).collect();
        Signed { headers, body: body.to_vec().into() }
    };
    found.chain(recorded).map(request).collect()
}

/// Recorded bodies of a source, each with every change, somewhere.
fn mutated(source: &Source) -> Vec<Vec<u8>> {
    let mut mutated = Vec::new();
    for (n, case) in source.cases.iter().enumerate() {
        let Ok(body) = serde_json::from_slice::<Value>(&case.body) else { continue };
        let places = places(&body);
        if places.is_empty() {
            continue;
        }
        for (m, change) in CHANGES.into_iter().enumerate() {
            mutated.push(changed(&body, &places[(n * 7 + m * 5) % places.len()], change).into_bytes());
        }
    }
    mutated
}

/// How often each was answered; the requests go to these sources.
async fn answers(gateway: &Gateway, requests: Vec<(String, Signed)>) -> BTreeMap<(u16, String), usize> {
    let port = gateway.port();
    let answer = async |(source, signed): (String, Signed)| {
        let reply = wire::exchange(port, &wire::post(&format!("/in/every-{source}"), &signed)).await;
        let reply = reply.unwrap_or_else(|error| panic!("{source}: {error}: {signed:?}"));
        let is_known = ANSWERS.contains(&reply.status) || (reply.status == 503 && reply.body.contains("not_proven"));
        assert!(is_known, "{source}: {reply:?}: {signed:?}");
        (reply.status, source)
    };
    let mut answers = BTreeMap::new();
    let mut all = stream::iter(requests).map(answer).buffer_unordered(AT_ONCE);
    while let Some(answer) = all.next().await {
        *answers.entry(answer).or_default() += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_sent_is_answered_500() {
    let mut gateway = Gateway::serving("embedded", &config());
    gateway.up(None);
    gateway.until_alive().await;
    let (sources, inputs, now) = (sources(), inputs(), SystemClock::new().now());
    assert!(inputs.len() > 300, "only {} inputs", inputs.len());

    let named = |source: &Source| source.provider.name().to_owned();
    let unproven = sources.iter().flat_map(|source| inputs.iter().map(move |input| (named(source), input.clone())));
    let unproven = answers(&gateway, unproven.collect()).await;
    for source in &sources {
        let refused = unproven.iter().filter(|((status, name), _)| *status > 400 && *name == named(source));
        assert!(refused.map(|(_, count)| count).sum::<usize>() > 200, "{unproven:?}");
    }

    let mut proven = Vec::new();
    for source in &sources {
        let bodies = inputs.iter().map(|input| input.body.to_vec()).chain(mutated(source));
        // A body that cannot carry a signature is left out.
        // Sources of one key share what is known of its tokens.
        let name = |n: usize| format!("{n} {}", source.provider.name());
        let signed = bodies.enumerate().filter_map(|(n, body)| source.try_sign(&name(n), &body, now).ok());
        proven.extend(signed.map(|signed| (named(source), signed)));
    }
    assert!(proven.len() > 300 * sources.len(), "only {} proven requests", proven.len());
    let proven = answers(&gateway, proven).await;
    // Of a generic event its own time decides, too.
    assert!(
        proven.keys().all(|(status, source)| *status == 200 || (*status == 401 && source == "generic")),
        "{proven:?}"
    );

    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(gateway.get("/readyz").await.is_some_and(|reply| reply.status == 200));
}
