//! Wrong keys run out.

use waypost::domain::guesses::TRIES;

use super::{ask, json_of};
use crate::gateway::{API_KEY, Gateway, Poster, until};

const OTHER_KEY: &str = "other-0123456789abcdef0123456789abcdef";

fn other() -> String {
    format!("[[api.keys]]\nname = \"other\"\nkey = \"{OTHER_KEY}\"\nscopes = [\"read\", \"write\"]\n")
}

async fn started(store: &str) -> Gateway {
    let mut gateway = Gateway::serving(store, &other());
    gateway.up(None);
    gateway.until_alive().await;
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_run_out_and_lock_out_nobody_who_was_there() {
    let gateway = started("embedded").await;
    let sources = async |key: &str| ask(gateway.port(), "GET /v1/sources", &[("x-api-key", key)], "").await;
    assert_eq!(sources(API_KEY).await.status, 200);
    let mut refused = sources("guess").await;
    for _ in 0..2 * TRIES {
        assert!(matches!(refused.status, 401 | 429), "{refused:?}");
        assert_eq!(refused.header("retry-after").is_some(), refused.status == 429);
        refused = sources("guess").await;
        if refused.status == 429 {
            break;
        }
    }
    assert_eq!((refused.status, refused.header("content-type")), (429, Some("application/problem+json")));
    assert!(matches!(refused.header("retry-after").unwrap().parse::<u64>().unwrap(), 1..=4), "{refused:?}");
    let told = json_of(&refused);
    assert_eq!(told["type"], "urn:waypost:problem:too_many_wrong_keys");
    // It was here before; the other may be the guess that hits, and is let in when there is a try left.
    assert_eq!(sources(API_KEY).await.status, 200);
    until("there is a try left", async || sources(OTHER_KEY).await.status == 200).await;
    // Providers have no key, and probes neither.
    assert_eq!(Poster::new().resend(&gateway.url("resend"), 1).await.1, Some(200));
    for _ in 0..2 * TRIES {
        assert_eq!(ask(gateway.port(), "GET /v1/sources", &[], "").await.status, 401);
    }
    assert!(!gateway.log().contains("guess"));
}
