//! `[sources.NAME]`: what is said of the wrong ones.

use waypost_providers::{PROVIDERS, Way};

use super::are_told;

/// What it cannot be proven by, and a signature is what a source is proven by unless it says otherwise.
#[test]
fn a_source_is_proven_in_a_way_of_its_providers_only() {
    for provider in PROVIDERS {
        let name = provider.name();
        let refused = Way::ALL.into_iter().filter(|way| !provider.ways().contains(way));
        for word in refused.map(Way::as_str) {
            let told = format!("sources.a.verify: {name} is not proven by `{word}`; use `");
            are_told(&[(&format!("[sources.a]\nprovider = '{name}'\nverify = '{word}'"), &told)]);
            if word == "signature" {
                are_told(&[(&format!("[sources.a]\nprovider = '{name}'"), &told)]);
            }
        }
    }
}

#[test]
fn a_source_is_told_what_is_wrong_with_it() {
    are_told(&[
        ("[sources.a]", "sources.a.provider: is missing; use one of `resend`, `sendgrid`, `sendgrid-inbound`"),
        ("[sources.a]\nprovider = 'ses'", "sources.a.provider: there is no provider `ses`; use one of `resend`"),
        ("[sources.a]\nprovider = 'resend'\nverify = 'none'", "sources.a.verify: there is no way \"none\"; use `sign"),
        (
            "[sources.a]\nprovider = 'resend'\nverify = 'basic'",
            "sources.a.verify: resend is not proven by `basic`; use `sig",
        ),
        (
            "[sources.a]\nprovider = 'resend'\nlogins = []",
            "sources.a.logins: unknown key for the provider `resend`; use",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'basic'",
            "sources.a.logins: is missing; write a list, such as `[{ user",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nlogins = []",
            "sources.a.logins: is not for `verify = \"signature\"`; take it out, or set `verify = \"basic\"`",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'oauth'\nclients = []\npublic_keys = []",
            "sources.a.public_keys: is not for `verify = \"oauth\"`; take it out, or set `verify = \"signature\"`",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'oauth'\nkey = 1",
            "sources.a.key: unknown key for the provider `sendgrid`; use `clients`",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'oauth'\nclients = []",
            "sources.a.clients: is empty; write a list",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'oauth'\nclients = [{ id = 'a', secret = 'hunter2' }]",
            "sources.a.clients[0]: not a key of this kind: expected an id of visible ASCII without `:`, and a secret of 16",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'basic'\nlogins = [{ user = 'a', password = { env = 'P' } }]",
            "sources.a.logins[0].password: the environment variable `P` is not set; set it",
        ),
        (
            "[sources.a]\nprovider = 'sendgrid'\nverify = 'basic'\nlogins = ['a:b']",
            "sources.a.logins[0]: invalid type: string, expected a table of",
        ),
        ("[sources.a]\nprovider = 'resend'\nkey = 'x'", "sources.a.key: unknown key for the provider `resend`; use"),
        (
            "[sources.default]",
            "sources.default: generic needs at least one of `signing_secrets`; use `signing_secrets` (",
        ),
        (
            "[sources.a]\nprovider = 'generic'\nsigning_secrets = ['short']",
            "sources.a.signing_secrets: not a key of this kind: expected a text of 16 characters or more",
        ),
        ("[sources.a]\nprovider = 'resend'", "sources.a: resend needs at least one of"),
        ("[sources.'a b']\nprovider = 'resend'", "sources.a b: the name cannot stand in a URL; use"),
    ]);
}

#[test]
fn what_fetches_the_mail_of_a_source_is_told_what_is_wrong_with_it() {
    are_told(&[
        (
            "[sources.a]\nprovider = 'sendgrid'\napi_timeout_s = 9",
            "sources.a.api_timeout_s: unknown key for the provider `sendgrid`, whose mail comes whole; take it out",
        ),
        (
            "[sources.a]\nprovider = 'resend'\napi_timeout_s = 9",
            "sources.a.api_timeout_s: is there without `api_key`; add that, or take it out",
        ),
        (
            "[sources.a]\nprovider = 'resend'\napi_key = 'k'\napi_url = 'https://api.example/?v=1'",
            "sources.a.api_url: `https://api.example/?v=1` has more than an address and a path; write it as \"https://",
        ),
        (
            "[sources.a]\nprovider = 'resend'\napi_key = 'k'\napi_timeout_s = 601",
            "sources.a.api_timeout_s: 601 is out of range; use 1 to 600",
        ),
        (
            "[sources.a]\nprovider = 'resend'\napi_key = 'k'\napi_timeout_s = 'long'",
            "sources.a.api_timeout_s: invalid type: string, expected u64; write a number of seconds",
        ),
    ]);
}
