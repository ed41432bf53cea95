//! Configs that are right and wrong, and what is said of the wrong ones.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::de::value::Error as Refused;
use serde::{Deserializer, forward_to_deserialize_any};

use super::*;

mod access;

mod endpoints;

mod master_keys;

mod sources;

mod store;

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
const ENDPOINT: &str = "[[endpoints]]\nid = 'wh_a'\nurl = 'https://a.example/'\n";

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("waypost.toml");
    std::fs::write(&path, toml).unwrap();
    Settings::load(Some(&path), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn endpoint(more: &str) -> Result<Settings, ConfigError> {
    load(&format!("{ENDPOINT}secret = '{WHSEC}'\n{more}"), &[])
}

#[test]
fn the_defaults_alone_are_a_working_config() {
    let settings = Settings::load(None, std::iter::empty()).unwrap();
    assert_eq!(settings.server.body_bytes_max, 4 << 20);
    assert_eq!(settings.server.drain(), Duration::from_secs(20));
    assert_eq!(settings.store.url, StoreUrl::Embedded("data".into()));
    assert_eq!(settings.lifetimes.tokens, Duration::from_secs(48 * 3_600));
    assert!(settings.sources.is_empty() && settings.endpoints.is_empty() && settings.api_keys.is_empty());
}

#[test]
fn the_environment_is_over_the_file_and_the_file_over_the_defaults() {
    let file = "[server]\nlisten = '0.0.0.0:1'\ndrain_s = 3";
    let env = [
        ("WAYPOST__SERVER__LISTEN", "0.0.0.0:2"),
        ("WAYPOST__STORE__ACCEPT_RISK", r#"["no_aof"]"#),
        ("WAYPOST__RETENTION__EVENTS_DAYS", "60"),
        ("WAYPOST_API_KEY", "no key of the config"),
    ];
    let settings = load(file, &env).unwrap();
    assert_eq!(settings.server.listen.port(), 2);
    assert_eq!(settings.server.drain_s, 3);
    assert_eq!(settings.server.body_timeout_s, 10);
    assert_eq!(settings.store.accept_risk, [Risk::NoAof]);
    assert_eq!(settings.lifetimes.events, Duration::from_secs(60 * 86_400));
}

#[test]
fn the_classes_of_bounces_that_suppress_are_checked() {
    use BounceClass::{Blocked, Hard, Soft, Undetermined};
    let on = |list: &str| load(&format!("[suppression]\non = {list}"), &[]).map(|settings| settings.suppress_on);
    assert_eq!(load("", &[]).unwrap().suppress_on, [Hard, Soft, Undetermined]);
    assert_eq!(on("['blocked', 'hard']"), Ok(vec![Blocked, Hard]));
    assert_eq!(on("[]"), Ok(vec![]));
    let told = on("['hard', 'Soft']").unwrap_err().to_string();
    let remedy = "use `hard`, `soft`, `undetermined`, `blocked` or `suppressed`";
    assert_eq!(told, format!("suppression.on[1]: `Soft` is no class of bounces; {remedy}"));
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error_only_if_it_is_ours() {
    let odd = || OsString::from_vec(b"hunter2\xff".to_vec());
    let read = |name: OsString, value| layers::environment([(name, value), ("A".into(), "b".into())].into_iter());
    for foreign in [OsString::from("LS_COLORS"), odd()] {
        assert_eq!(read(foreign, odd()), Ok(BTreeMap::from([("A".into(), "b".into())])));
    }
    let told = read("WAYPOST__STORE__URL".into(), odd()).unwrap_err().to_string();
    assert_eq!(told, "WAYPOST__STORE__URL: is not UTF-8; set it to a text, or leave it out");
}

#[test]
fn a_secret_is_text_or_a_variable_or_a_file_without_its_last_newline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "sixteen or more \n\n").unwrap();
    let given = [format!("'{WHSEC}'"), "{ env = 'S' }".into(), format!("{{ file = '{}' }}", path.display())];
    let read = given.map(|secret| {
        let settings = load(&format!("{ENDPOINT}secret = {secret}"), &[("S", "a text of this length")]).unwrap();
        settings.endpoints.values().next().unwrap().secrets[0].text().to_owned()
    });
    assert_eq!(read, [WHSEC, "a text of this length", "sixteen or more \n"]);
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let cases = [
        ("[server]\nlisen = 1", "server.lisen: unknown field `lisen`, expected one of `listen`"),
        ("[server]\nlisten = 'here'", "server.listen: invalid socket address syntax"),
        ("[server]\nbody_timeout_s = 'ten'", "server.body_timeout_s: invalid type: string, expected u64"),
        ("[server]\nbody_bytes_max = 0", "server.body_bytes_max: 0 is out of range; use 1 to 67108864"),
        ("[server\n", "waypost.toml: TOML parse error at line 1"),
        (
            "[server]\nbody_budget_bytes = 4194303",
            "server.body_budget_bytes: 4194303 is less than server.body_bytes_max (4194304), so a body of the largest \
             size would never be taken; use 4194304 or more, or lower server.body_bytes_max",
        ),
        (
            "[server]\nbody_budget_bytes = 41943039",
            "server.body_budget_bytes: 41943039 is less than server.mail_bytes_max (41943040)",
        ),
        ("[store]\nurl = 'mysql://x'", "store.url: names no store; write `embedded:DIRECTORY` or `redis://"),
        ("[store]\nblobs = ''", "store.blobs: names no directory; write its path, or leave it out"),
        ("[store]\naccept_risk = ['all']", "store.accept_risk[0]: unknown variant, expected one of `eviction`"),
        ("[retention]\nrequests_days = 31", "retention.events_days: 30 is less than retention.requests_days"),
        ("[retention]\nattempt_log_bytes = 65535", "retention.attempt_log_bytes: 65535 is out of range; use 65536 to"),
        ("[retention]\ntokens_hours = 24", "retention.tokens_hours: 24 is out of range; use 25 to"),
        ("[delivery]\nallow_networks = ['::1/129']", "delivery.allow_networks[0]: `::1/129` is no network; write"),
        (
            "[delivery]\nallow_networks = ['fd00::/8', '10.0.0.1/8']",
            "delivery.allow_networks[1]: `10.0.0.1/8` is no net",
        ),
        ("[delivery]\nca_file = 'Cargo.toml'", "delivery.ca_file: `Cargo.toml` holds no certificate; name a file of"),
        ("[delivery]\nproxy = 'https://me:x@proxy'", "delivery.proxy: must begin with `http://`: the tunnel through"),
        ("[delivery]\nproxy = { env = 'K' }", "delivery.proxy: the environment variable `K` is not set; set it"),
        ("[api]\nkeys = [{name='a', key='short', scopes=['read']}]", "api.keys[0].key: is too short; use 32 or more"),
        ("[api]\nkeys = [{name='a', key={env='K'}, scopes=['read']}]", "`K` is not set; set it"),
        ("[api]\nkeys = [{name='a', key=12, scopes=['read']}]", "api.keys[0].key: a number, expected text, { env"),
        ("[api]\nkeys = [{name='a', key={file='/no/such'}, scopes=['read']}]", "`/no/such` cannot be read"),
        (
            "[api]\nkeys = [{name='a', key='x', scopes=['all']}]",
            "api.keys[0].scopes[0]: unknown variant, expected one of `read`",
        ),
        ("[[endpoints]]\nid = 'a'\nurl = 'https://a'", "endpoints[0].secret: is missing; give `secret`, or"),
        ("[[endpoints]]\nid = 'a'", "endpoints[0]: missing field `url`"),
    ];
    are_told(&cases);
}

fn are_told(cases: &[(&str, &str)]) {
    for (toml, expected) in cases {
        let told = load(toml, &[]).unwrap_err().to_string();
        assert!(told.contains(expected), "{toml}\nis told as {told}\nexpected {expected}");
    }
}

#[test]
fn a_variable_that_names_no_key_is_an_error_too() {
    let told = load("", &[("WAYPOST__SERVER__PORT", "80")]).unwrap_err().to_string();
    assert!(told.starts_with("server.port: unknown field `port`"), "{told}");
}

#[test]
fn no_message_and_no_printed_settings_repeat_a_secret() {
    let broken = load("[api]\nkeys = [{ key = 'hunter2-hunter2-hunter2-hunter2-hunter2', ", &[]).unwrap_err();
    assert!(!broken.to_string().contains("hunter2"), "{broken}");
    let unquoted = load("[api]\nkeys = [{ name = 'a', key = hunter2 }]", &[]).unwrap_err();
    assert!(!unquoted.to_string().contains("hunter2"), "{unquoted}");
    let settings = endpoint("[store]\nurl = 'redis://:hunter2@localhost'").unwrap();
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hunter2") && !printed.contains(WHSEC), "{printed}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    const SECRET: &str = "whsec_hunter2, expected \"`hunter2`";
    let source = |provider: &str, key: &str| format!("[sources.a]\nprovider = '{provider}'\n{key}");
    let text = format!("'{SECRET}'");
    let shapes = [
        (
            source("resend", &format!("signing_secrets = {text}")),
            "sources.a.signing_secrets: invalid type: string, exp",
        ),
        (
            source("sendgrid", &format!("public_keys = {{ env = {text}, file = 'x' }}")),
            "sources.a.public_keys: invalid",
        ),
        (source("mailgun", &format!("signing_keys = [[{text}]]")), "sources.a.signing_keys[0]: invalid type: sequence"),
        (
            source("mailgun", "signing_keys = 12345678901"),
            "sources.a.signing_keys: invalid type: integer, expected a seq",
        ),
        (source("mailgun", "signing_keys = [1.5]"), "sources.a.signing_keys[0]: a number, expected text, { env"),
        (
            format!("[store]\nmaster_keys = [{text}]"),
            "store.master_keys[0]: invalid type: string, expected a table of `id` and `key`",
        ),
        (format!("[api]\nkeys = [{text}]"), "api.keys[0]: invalid type: string, expected a table of `name`, `key`"),
        (format!("[api]\nkeys = {text}"), "api.keys: invalid type: string, expected a sequence; config/default.toml"),
        (
            format!("[api]\nkeys = [{{name='a', key='x', scopes={text}}}]"),
            "api.keys[0].scopes: invalid type: string, exp",
        ),
        (
            format!("[api]\nkeys = [{{name='a', key='x', scopes=[{text}]}}]"),
            "api.keys[0].scopes[0]: unknown variant, exp",
        ),
        (
            format!("[api]\nkeys = [{{name='a', key={{env={text}, file=''}}, scopes=[]}}]"),
            "api.keys[0].key: there are both",
        ),
        (format!("{ENDPOINT}secrets = {text}"), "endpoints[0].secrets: invalid type: string, expected a sequence"),
        (format!("{ENDPOINT}secret = [{text}]"), "endpoints[0].secret: invalid type: sequence, expected text, { env"),
        (format!("{ENDPOINT}headers = {text}"), "endpoints[0].headers: invalid type: string, expected a map"),
        (format!("{ENDPOINT}signatures = [{text}]"), "endpoints[0].signatures[0]: unknown variant, expected one of"),
        (format!("endpoints = [{text}]"), "endpoints[0]: invalid type: string, expected struct Endpoint"),
    ];
    for (toml, expected) in shapes {
        let told = load(&toml, &[]).unwrap_err().to_string();
        let told_nothing = !["hunter2", "12345678901", "1.5"].iter().any(|secret| told.contains(secret));
        assert!(told_nothing && told.contains(expected), "{toml}\nis told as {told}\nexpected {expected}");
    }
    // A list without its last bracket is a text.
    let list = format!("[{{name = 'a', key = {text}, scopes = ['read']}}");
    let told = load("", &[("WAYPOST__API__KEYS", &list)]).unwrap_err().to_string();
    assert!(
        told.contains("api.keys: invalid type: string, expected a sequence") && !told.contains("hunter2"),
        "{told}"
    );
}

#[test]
fn the_example_is_a_working_config() {
    let directory = tempfile::tempdir().unwrap();
    let mailgun = directory.path().join("mailgun");
    std::fs::write(&mailgun, "key-0123456789abcdef0123456789abcdef\n").unwrap();
    let toml = include_str!("../../config/example.toml").replace("/run/secrets/mailgun", mailgun.to_str().unwrap());
    let sendgrid = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/94pQu+kqrSPyd4ePGZ9svQ9WNbn3zZbrh5u1ax/EosRCkx2ckJdBf\
                    32uNUAzClpWb0LJDz1l6TFu2xmCt6YiQ==";
    let env = [
        ("WAYPOST_API_KEY", "0123456789abcdef0123456789abcdef"),
        ("RESEND_WEBHOOK_SECRET", WHSEC),
        ("SENDGRID_VERIFICATION_KEY", sendgrid),
        ("BILLING_WEBHOOK_SECRET", WHSEC),
        ("AUDIT_WEBHOOK_SECRET", WHSEC),
    ];
    let settings = load(&toml, &env).unwrap();
    assert_eq!(settings.sources.len(), 3);
    assert_eq!(settings.endpoints.len(), 2);
}

#[test]
fn every_key_is_in_the_default_file_with_a_comment() {
    let top = fields::<file::File>().iter().map(|name| match *name {
        "endpoints" => ".endpoints".to_owned(),
        section => format!("[{section}]"),
    });
    let mut known: Vec<_> = top.collect();
    let mut keys = |section: &str, fields: &[&str]| known.extend(fields.iter().map(|name| format!("{section}.{name}")));
    keys("[server]", fields::<Server>());
    keys("[api]", fields::<file::Api>());
    keys("[[api.keys]]", fields::<file::ApiKey>());
    keys("[store]", fields::<file::Store>());
    keys("[[store.master_keys]]", fields::<file::MasterKey>());
    keys("[retention]", fields::<file::Retention>());
    keys("[sources.NAME]", &["provider", "verify", "logins", "clients"]);
    for provider in waypost_providers::PROVIDERS {
        let names: Vec<_> = provider.key_fields().iter().map(|field| field.name).collect();
        keys("[sources.NAME]", &names);
    }
    keys("[[endpoints]]", fields::<file::Endpoint>());
    keys("[delivery]", fields::<file::Delivery>());
    let mut section = String::new();
    let mut found = Vec::new();
    for line in layers::DEFAULTS.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            section = line.to_owned();
            found.push(section.clone());
        } else if let Some((key, rest)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            assert!(rest.contains("  # "), "`{section}.{key}` has no comment");
            found.push(format!("{section}.{key}"));
        }
    }
    let missing: Vec<_> = known.iter().filter(|key| !found.contains(key)).collect();
    assert!(missing.is_empty(), "not in config/default.toml: {missing:?}");
}

/// The names of a struct's fields, as serde knows them.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Fields<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = Refused;

        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
            Err(serde::de::Error::custom("only structs have fields"))
        }

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Refused> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    drop(T::deserialize(Fields(&mut names)));
    names
}

#[test]
fn a_config_file_that_is_not_there_is_named() {
    let told = Settings::load(Some(Path::new("/no/such.toml")), std::iter::empty()).unwrap_err().to_string();
    assert!(told.starts_with("/no/such.toml: cannot be read: No such file"), "{told}");
}
