//! Mail that is to be fetched and cannot be.

use waypost_providers::{Proof, by_name};

use super::*;
use crate::domain::source::{Fetching, Source};

/// One that has a key to its provider's API.
pub(super) fn sources() -> CurrentSources {
    let fetching = Fetching { key: "re_1".into(), url: "http://127.0.0.1:1".into(), timeout_s: 1 };
    let source = Source {
        provider: by_name("resend").unwrap(),
        proof: Arc::new(Proof::Basic(Vec::new())),
        fetching: Some(Arc::new(fetching)),
    };
    let sources = CurrentSources::default();
    sources.replace([("resend".to_owned(), source)].into());
    sources
}

fn start_fetching(source: &str, stored: Option<Result<Option<StoredRequest>>>) -> Running {
    let mut endpoint = endpoint("http://127.0.0.1:1/");
    endpoint.settings.fetches = true;
    endpoint.settings.sources = vec![source.to_owned()];
    start(vec![endpoint], 1, None, |state| state.requests.stored = stored)
}

#[tokio::test]
async fn a_mail_whose_request_has_gone_is_told_as_failed_and_not_as_fetched() {
    let running = start_fetching("resend", Some(Ok(None)));
    let finished = running.store.finished(1).await;
    assert_eq!(finished[0].then, Then::End(Status::Failed, Some(EndReason::Expired)));
    assert!(finished[0].attempt.is_none());
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_an_attempt_that_failed() {
    for error in [StoreError::Corrupt("a body".into()), StoreError::Refused("no directory".into())] {
        let running = start_fetching("resend", Some(Err(error)));
        let finished = running.store.finished(1).await;
        assert!(matches!(finished[0].then, Then::Retry(after) if after >= Duration::from_secs(5)));
        assert_eq!(finished[0].attempt.as_ref().unwrap().error, Some(ErrorClass::Protocol));
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_no_attempt() {
    let running = start_fetching("resend", None);
    running.store.with(|state| state.requests.stored = Some(Err(down())));
    timeout(async {
        while running.store.with(|state| !state.due.is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(running.store.with(|state| state.finished.is_empty()));
}

#[tokio::test]
async fn mail_that_this_gateway_has_no_key_to_waits_and_is_not_leased() {
    let running = start_fetching("another", None);
    timeout(async {
        while running.store.with(|state| state.wants.is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(running.store.with(|state| state.wants.iter().all(|want| want.limit == 0 && want.rest.is_some())));
    assert!(running.store.with(|state| state.finished.is_empty()));
}
