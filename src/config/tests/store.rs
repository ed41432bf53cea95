//! The section `store`.

use super::*;
use crate::domain::redis_url::{Durability, Topology};

#[test]
fn a_redis_is_told_with_its_authorities_and_who_is_to_have_a_commit() {
    let key = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.cert.pem()).unwrap();
    let toml = format!(
        "[store]\nurl = 'rediss+sentinel://:hunter2@a/main'\nca_file = '{}'\ndurability = {{ replicas = 2 }}",
        file.path().display()
    );
    let settings = load(&toml, &[("WAYPOST__STORE__DURABILITY__WAIT_AOF", "true")]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let StoreUrl::Redis(redis) = settings.store.url else { panic!("no Redis") };
    assert_eq!(redis.url.topology, Topology::Sentinel("main".into()));
    assert_eq!(redis.authorities.len(), 1);
    assert_eq!(redis.durability, Durability { replicas: 2, wait_aof: true });
}

#[test]
fn what_is_wrong_with_a_store_is_told_without_its_password() {
    let wrong = [
        ("url = 'redis://u:hunter2@a,b'", "store.url: names 2 servers; use `redis+cluster://`"),
        ("url = 'redis://u:hunter2@a:x'", "store.url: names `a:x` as a host; write HOST:PORT"),
        (
            "url = 'redis://a'\nca_file = '/ca.pem'",
            "store.ca_file: `/ca.pem` is of no use, for store.url does not begin",
        ),
        ("ca_file = '/ca.pem'", "store.ca_file: `/ca.pem` is of no use, for store.url names no Redis"),
        ("url = 'rediss://a'\nca_file = '/no/ca.pem'", "store.ca_file: `/no/ca.pem` cannot be read"),
        ("durability = { replicas = 1 }", "store.durability: waits for replicas of a Redis"),
        ("url = 'redis://a'\ndurability = { replicas = 17 }", "store.durability.replicas: 17"),
        ("url = 'redis://a'\ndurability = { copies = 1 }", "store.durability.copies: unknown field"),
    ];
    for (toml, expected) in wrong {
        let told = load(&format!("[store]\n{toml}"), &[]).unwrap_err().to_string();
        assert!(told.starts_with(expected) && !told.contains("hunter2"), "{toml}\n{told}");
    }
}
