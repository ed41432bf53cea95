//! What goes wrong between a command and a gateway is told with what to do about it.

use std::process::Command;

use super::{command, file, ran, waypost};
use crate::gateway::{API_KEY, Gateway};
use crate::port;
use crate::webhooks::Inbox;

const READER: &str = "reader-0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_wrong_missing_or_too_weak_is_told_so() {
    let reader = format!("[[api.keys]]\nname = \"reader\"\nkey = \"{READER}\"\nscopes = [\"read\"]\n");
    let mut gateway = Gateway::serving("embedded", &reader);
    gateway.up(None);
    gateway.until_alive().await;
    let folder = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str], key: Option<&str>| {
        let mut command = command(&gateway, arguments);
        match key {
            Some(key) => command.env("WAYPOST_API_KEY", key),
            None => command.env_remove("WAYPOST_API_KEY"),
        };
        ran(&mut command, "")
    };
    let wrong = with(&["events", "list"], Some("hunter2-hunter2"));
    assert!(wrong.failure().contains("WAYPOST_API_KEY") && !wrong.err.contains("hunter2"), "{wrong:?}");
    let odd = with(&["events", "list"], Some("hunter2\nhunter2"));
    assert!(odd.failure().contains("waypost key new") && !odd.err.contains("hunter2"), "{odd:?}");
    for key in [None, Some("")] {
        assert!(with(&["events", "list"], key).failure().contains("--key-file"), "{key:?}");
    }
    let weak = with(&["endpoints", "disable", "wh_a"], Some(READER));
    assert!(weak.failure().contains("the key lacks the scope `write`"), "{weak:?}");
    // A file comes before the variable.
    let path = file(&folder, "key", &format!("{API_KEY}\n"));
    let listed = with(&["events", "list", "--key-file", path.to_str().unwrap()], Some("hunter2-hunter2"));
    assert!(listed.lines().is_empty());
    let none = with(&["events", "list", "--key-file", "/nowhere/key"], None);
    assert!(none.failure().contains("/nowhere/key"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_not_there_or_is_none_is_told_with_its_url() {
    let url = format!("http://127.0.0.1:{}", port::free());
    let at = |url: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        ran(command.args(arguments).args(["--url", url]).env("WAYPOST_API_KEY", API_KEY), "")
    };
    let down = at(&url, &["events", "list"]);
    assert!(down.failure().starts_with(&url) && down.err.contains("nobody accepts the connection"), "{down:?}");
    // Also one that begins to work.
    let down = at(&url, &["replay", "endpoint", "wh_a", "--since", "1h"]);
    assert!(down.failure().contains("nobody accepts"), "{down:?}");
    let unknown = at("http://no-such-host.invalid", &["sources"]);
    assert!(unknown.failure().contains("the name has no address"), "{unknown:?}");
    let plain = at(&url.replace("http", "ftp"), &["sources"]);
    assert!(!plain.is_done && plain.err.contains("http://127.0.0.1:8080"), "{plain:?}");
    for (status, expected) in [(200, "the answer is not a gateway's"), (404, "the answer is 404, and not a gateway's")]
    {
        let told = at(&Inbox::answering(status).url(""), &["sources"]);
        assert!(told.failure().contains(expected), "{told:?}");
    }
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let tls = at(&format!("https://{}", gateway.address()), &["sources"]);
    assert!(tls.failure().contains("TLS"), "{tls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_not_right_is_told_in_the_gateways_words() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    for (arguments, expected) in [
        (&["events", "show", "evt_none"][..], "There is no such thing: no such event (404)"),
        (&["events", "show", "../deliveries"], "no such event (404)"),
        (&["events", "raw", "evt_none"], "no such event (404)"),
        (&["deliveries", "show", "dlv_none"], "no such delivery (404)"),
        (&["deliveries", "retry", "dlv_none"], "(404)"),
        (&["endpoints", "test", "wh_none"], "no such webhook (404)"),
        (&["endpoints", "create", "--to", "http://10.0.0.1/"], "url: leads to a private address"),
        (&["events", "list", "--type", "email.bouncy"], "unknown event `email.bouncy`"),
        (&["replay", "watch", "rpl_none"], "no such replay (404)"),
        (&["replay", "endpoint", "wh_none", "--since", "1h"], "(404)"),
    ] {
        let told = waypost(&gateway, arguments);
        assert!(told.failure().contains(expected), "{arguments:?}: {told:?}");
    }
    for wrong in [&["deliveries", "list", "--status", "dead"][..], &["replay", "endpoint", "wh_a", "--since", "1w"]] {
        assert!(!waypost(&gateway, wrong).is_done, "{wrong:?}");
    }
}

#[test]
fn no_argument_takes_the_key() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    assert!(!ran(command.args(["events", "list", "--key", API_KEY]), "").is_done);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ran(Command::new(env!("CARGO_BIN_EXE_waypost")).args(["completions", shell]), "");
        assert!(script.is_done && script.out.contains("suppressions") && script.out.contains("key-file"), "{shell}");
    }
}
