//! The keys that seal.

use super::*;

#[test]
fn the_first_master_key_seals() {
    let key = |id: &str| format!("{{ id = '{id}', key = '{}=' }}", "A".repeat(43));
    let load = |ids: [&str; 2]| load(&format!("[store]\nmaster_keys = [{}]", ids.map(key).join(", ")), &[]);
    let keys = load(["2026-11", "2025-02"]).unwrap().store.master_keys;
    assert_eq!(keys.first().unwrap().id(), "2026-11");
    assert_eq!(keys.ids().collect::<Vec<_>>(), ["2026-11", "2025-02"]);
    let told = load(["a", "a"]).unwrap_err().to_string();
    assert_eq!(told, "store.master_keys[1].id: `a` is there twice; give each its own id");
    assert!(endpoint("").unwrap().store.master_keys.first().is_none());
}

#[test]
fn what_is_no_master_key_is_named_and_not_repeated() {
    let cases = [
        ("{id='a', key='c2hvcnQ='}", "store.master_keys[0].key: holds 5 bytes, not 32; use the base64 of 32"),
        ("{id='a', key='hunter2!'}", "store.master_keys[0].key: is no base64; use the base64 of 32"),
        ("{id='a', key={env='K'}}", "store.master_keys[0].key: the environment variable `K` is not set"),
        ("{id='a', key='x', hunter=2}", "store.master_keys[0].hunter: unknown field `hunter`"),
        ("{id='a b', key='x'}", "store.master_keys[0].id: \"a b\" is no id; use 1 to 64"),
        ("{key='x'}", "store.master_keys[0]: missing field `id`"),
    ];
    for (key, expected) in cases {
        let told = load(&format!("[store]\nmaster_keys = [{key}]"), &[]).unwrap_err().to_string();
        assert!(told.starts_with(expected) && !told.contains("hunter2"), "{told}\nexpected {expected}");
    }
}
