//! Who is let in, and where.

use super::*;

fn told(toml: &str) -> String {
    load(toml, &[]).unwrap_err().to_string()
}

#[test]
fn the_api_may_be_at_another_address() {
    let at = |listen: &str, admin: &str| load(&format!("[server]\nlisten = '{listen}'\nadmin_listen = '{admin}'"), &[]);
    assert_eq!(load("", &[]).unwrap().server.admin_listen, None);
    for (listen, admin) in [
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("127.0.0.1:8080", "10.0.0.1:8080"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8080", "127.0.0.1:8080"),
    ] {
        assert_eq!(at(listen, admin).unwrap().server.admin_listen, Some(admin.parse().unwrap()), "{listen} {admin}");
    }
    for (listen, admin) in [("127.0.0.1:8080", "127.0.0.1:8080"), ("0.0.0.0:8080", "10.0.0.1:8080")] {
        let told = at(listen, admin).unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("server.admin_listen: {admin} is taken by server.listen, {listen};")),
            "{told}"
        );
    }
}

#[test]
fn a_proxy_that_is_no_network_is_named() {
    let settings = load("[server]\ntrusted_proxies = ['10.0.0.0/8', '192.0.2.7']", &[]).unwrap();
    assert!(settings.trusted_proxies.contain("192.0.2.7".parse().unwrap()));
    let told = told("[server]\ntrusted_proxies = ['10.0.0.0/8', '10.0.0.1/8']");
    assert!(told.starts_with("server.trusted_proxies[1]: `10.0.0.1/8` is no network; write ADDRESS/PREFIX"), "{told}");
}

#[test]
fn no_key_is_called_what_the_audit_log_calls_the_gateways_own() {
    for name in ["config", "gateway"] {
        let key = format!("[[api.keys]]\nname = '{name}'\nkey = '{}'\nscopes = ['read']", "k".repeat(32));
        let told = told(&key);
        assert!(told.starts_with(&format!("api.keys[0].name: `{name}` is what the audit log calls")), "{told}");
    }
}
