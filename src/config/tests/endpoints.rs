//! `[[endpoints]]`, right and wrong.

use super::*;
use crate::domain::format::Format;

#[test]
fn an_endpoint_signs_in_every_way_that_its_secret_is_good_for() {
    let signatures = |secrets: &str| {
        let settings = load(&format!("{ENDPOINT}secrets = {secrets}"), &[]).unwrap();
        let entry = &settings.endpoints[&EndpointId::from("wh_a")];
        (entry.settings.signatures.clone(), entry.left_out.clone())
    };
    let both = (vec![Scheme::Drin, Scheme::Standard], vec![]);
    assert_eq!(signatures(&format!("['{WHSEC}']")), both);
    assert_eq!(signatures("['whsec_your_secret_key_here']"), (vec![Scheme::Drin], vec![Scheme::Standard]));
    let rotating = format!("['{WHSEC}', 'an older secret in text']");
    assert_eq!(signatures(&rotating), (vec![Scheme::Drin], vec![Scheme::Standard]));
}

#[test]
fn a_format_brings_its_own_signatures_and_waits() {
    let settings = |more: &str| endpoint(more).unwrap().endpoints[&EndpointId::from("wh_a")].settings.clone();
    let selfhosted = settings("events = ['Delivered', 'bounced']");
    assert_eq!((selfhosted.format, selfhosted.signatures), (Format::Selfhosted, vec![Scheme::Sha256]));
    assert_eq!(selfhosted.retry, [60, 300, 1_800]);
    assert_eq!(selfhosted.events.words(), ["Delivered", "bounced"]);
    let resend = settings("format = 'resend'\nevents = ['deferred']\nretry = [7]");
    assert_eq!((resend.format, resend.signatures, resend.retry), (Format::Resend, vec![Scheme::Svix], vec![7]));
    assert_eq!(settings("events = ['email.*']").format, Format::Drin);
}

#[test]
fn header_names_are_kept_in_lower_case_and_case_of_names_is_kept_elsewhere() {
    let settings = endpoint("tags = ['Invoices']\nheaders = { X-Team = 'Billing' }").unwrap();
    let settings = &settings.endpoints[&EndpointId::from("wh_a")].settings;
    assert_eq!(settings.headers["x-team"], "Billing");
    assert_eq!(settings.tags, ["Invoices"]);
}

#[test]
fn what_is_wrong_with_an_endpoint_is_named_with_its_remedy() {
    let long_retry = format!("retry = {:?}", [1; 21]);
    let cases = [
        (long_retry.as_str(), "endpoints[0].retry: 21 waits are too many; keep 20 or fewer"),
        ("timeout_s = 61", "endpoints[0].timeout_s: 61 is out of range; use 1 to 60"),
        ("rate_limit = 0", "endpoints[0].rate_limit: 0 is out of range; use 1 to 10000"),
        ("max_in_flight = 0", "endpoints[0].max_in_flight: 0 is out of range; use 1 to 10000"),
        ("events = ['email.bouncy']", "endpoints[0].events: unknown event `email.bouncy`; use"),
        ("events = ['bounced', 'email.sent']", "endpoints[0].format: is missing, and `bounced`, `email.sent` does not"),
        ("format = 'sendgrid'", "endpoints[0].format: unknown variant, expected one of `drin`, `platform`"),
        ("sources = ['resend']", "endpoints[0].sources: there is no source `resend`; configure it"),
        ("secrets = ['x']", "endpoints[0].secrets: is there beside `secret`; keep one"),
        ("headers = { Host = 'b' }", "endpoints[0].headers.Host: is set by Waypost or by HTTP itself; use another"),
        ("headers = { Webhook-Id = 'b' }", "endpoints[0].headers.Webhook-Id: is set by Waypost"),
        ("headers = { 'a b' = 'b' }", "endpoints[0].headers.a b: is no header name"),
        ("headers = { a = \"b\\nc\" }", "endpoints[0].headers.a: holds a character that no header may hold"),
        ("[[endpoints]]\nid='wh_a'\nurl='https://b'\nsecret='0123456789abcdef'", "endpoints[1].id: `wh_a` is there tw"),
        ("[[endpoints]]\nid='a/b'\nurl='https://b'", "endpoints[1].id: \"a/b\" is no id; use 1 to 64 letters"),
        ("[[endpoints]]\nid='b'\nurl='https://b'\nsecret='short'", "endpoints[1].secret: is too short; use 16"),
        ("[[endpoints]]\nid='b'\nurl='https://b'\nsecret='whsec_c2hvcnQ='", "its base64 decodes to 5 bytes; use whs"),
    ];
    for (toml, expected) in cases {
        let told = endpoint(toml).unwrap_err().to_string();
        assert!(told.contains(expected), "{toml}\nis told as {told}\nexpected {expected}");
    }
}

#[test]
fn what_is_wrong_with_its_secrets_and_signatures_is_named_too() {
    let cases = [
        ("signatures = []", "endpoints[0].signatures: is empty; name `drin`"),
        ("signatures = ['sha1']", "endpoints[0].signatures[0]: unknown variant, expected one of `drin`, `standard`"),
        (
            "signatures = ['hex', 'sha256']",
            "endpoints[0].signatures: `hex` and `sha256` share one header of one value; k",
        ),
        ("signatures = ['ed25519']", "endpoints[0].signatures: `ed25519` needs a secret that is whsk_ + base64; give"),
        (
            "signature_header = 'X-Mine'",
            "endpoints[0].signature_header: is the header of `hex` and `sha256`, and neither",
        ),
        (
            "signatures = ['hex']\nsignature_header = 'Webhook-Id'",
            "endpoints[0].signature_header: is set by Waypost or by HTTP itself; use",
        ),
        (
            "[[endpoints]]\nid='b'\nurl='https://b'\nsecret='whpk_AAAA'",
            "endpoints[1].secret: is a public key; give the",
        ),
        (
            "[[endpoints]]\nid='b'\nurl='https://b'\nsecret='whsk_AAAA'",
            "endpoints[1].secret: begins with whsk_ and is no",
        ),
        (
            "[[endpoints]]\nid='b'\nurl='https://b'\nsecrets=['0123456789abcdef','0123456789abcdef','0123456789abcdef']",
            "endpoints[1].secrets: holds more than two of a kind; keep [new, old]",
        ),
        (
            "[[endpoints]]\nid='b'\nurl='https://b'\nsecret='0123456789abcdef'\nsignatures=['standard']",
            "endpoints[1].signatures: `standard` needs a secret that is whsec_ + base64",
        ),
    ];
    for (toml, expected) in cases {
        let told = endpoint(toml).unwrap_err().to_string();
        assert!(told.contains(expected), "{toml}\nis told as {told}\nexpected {expected}");
    }
}

#[test]
fn what_may_be_called_is_checked_with_the_networks_that_are_allowed() {
    let allowed = "[delivery]\nallow_networks = ['127.0.0.1', '10.0.0.0/8']";
    let url = |url: &str| load(&format!("{allowed}\n[[endpoints]]\nid = 'a'\nurl = '{url}'\nsecret = '{WHSEC}'"), &[]);
    assert!(url("https://10.1.2.3/").is_ok() && url("http://127.0.0.1:9000/").is_ok());
    assert!(url("https://127.0.0.2/").is_err() && url("http://1.1.1.1/").is_err());
}

#[test]
fn a_url_that_may_not_be_called_is_refused_with_its_reason() {
    let cases = [
        ("http://b", "must be `https`; plain `http` is for `delivery.allow_networks` only; use https, or"),
        ("https://u:p@b", "must not hold a user name or password; take it out"),
        (
            "https://127.0.0.1/",
            "leads to a loopback address; `delivery.allow_networks` can open exceptions; use a public",
        ),
        ("https://169.254.169.254/", "leads to a link-local address"),
        ("https://127.1/", "is no absolute `https` URL; write one such as"),
        ("b/in", "is no absolute `https` URL; write one such as"),
    ];
    for (url, expected) in cases {
        let told = endpoint(&format!("[[endpoints]]\nid = 'b'\nurl = '{url}'")).unwrap_err().to_string();
        assert!(told.starts_with(&format!("endpoints[1].url: {expected}")), "{url} is told as {told}");
    }
}

/// What the default file says of `[[endpoints]]` in comments is what the code does.
#[test]
fn the_shown_defaults_of_an_endpoint_are_its_defaults() {
    let (_, shown) = layers::DEFAULTS.split_once("# [[endpoints]]").unwrap();
    let lines = shown.lines().filter_map(|line| line.strip_prefix("# "));
    // Those have no default that could be written down.
    let open = ["secrets ", "signature_header ", "rate_limit "];
    let lines: Vec<_> = lines.filter(|line| !open.iter().any(|key| line.starts_with(key))).collect();
    let env = [("BILLING_WEBHOOK_SECRET", WHSEC)];
    let shown = load(&format!("[[endpoints]]\n{}", lines.join("\n")), &env).unwrap();
    let bare = load(&format!("[[endpoints]]\n{}\n{}\n{}", lines[0], lines[1], lines[5]), &env).unwrap();
    let id = EndpointId::from("wh_billing");
    let described = EndpointSettings { description: Some(String::new()), ..bare.endpoints[&id].settings.clone() };
    assert_eq!(shown.endpoints[&id].settings, described);
}
