use super::*;

fn parse(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap().unwrap()
}

fn hosts(url: &RedisUrl) -> Vec<String> {
    url.hosts.iter().map(Host::to_string).collect()
}

#[test]
fn each_kind_names_its_servers() {
    let url = parse("redis://localhost");
    assert_eq!((&url.topology, url.is_tls, hosts(&url)), (&Topology::One, false, vec!["localhost:6379".into()]));
    assert_eq!((url.login, url.database), (None, 0));
    let url = parse("rediss://[::1]:7/3");
    assert_eq!((url.is_tls, hosts(&url), url.database), (true, vec!["[::1]:7".into()], 3));
    let url = parse("redis+cluster://a:1,b,10.0.0.1:3/");
    assert_eq!((&url.topology, hosts(&url).join(" ")), (&Topology::Cluster, "a:1 b:6379 10.0.0.1:3".into()));
    let url = parse("rediss+sentinel://a,b:2/main");
    assert_eq!((url.is_tls, &url.topology), (true, &Topology::Sentinel("main".into())));
    assert_eq!(hosts(&url), ["a:26379", "b:2"]);
    assert_eq!(parse("rediss+cluster://a").topology, Topology::Cluster);
}

#[test]
fn a_login_is_decoded_and_never_shown() {
    let url = parse("redis+cluster://ops:hunt%40er2@a,b");
    let (user, password) = url.login.clone().unwrap();
    assert_eq!((user.as_deref(), password.expose()), (Some("ops"), "hunt@er2"));
    assert!(!format!("{url:?}").contains("hunt"));
    let (user, password) = parse("redis://:hunter2@a").login.unwrap();
    assert_eq!((user, password.expose()), (None, "hunter2"));
}

#[test]
fn what_is_wrong_is_told_without_the_password() {
    let wrong = [
        ("redis://", "names no host"),
        ("redis://a:b", "names `a:b` as a host"),
        ("redis://a:0", "names `a:0` as a host"),
        ("redis://a b", "names `a b` as a host"),
        ("redis://::1", "names `::1` as a host"),
        ("redis://[::1", "names `[::1` as a host"),
        ("redis://a,b", "names 2 servers"),
        ("redis+cluster://a,,b", "names no host"),
        ("redis://a/x", "names the database `x`"),
        ("redis://a/?protocol=resp3", "has something after `?` or `#`"),
        ("redis+cluster://a/2", "names `/2`"),
        ("redis+sentinel://a", "does not name the primary"),
        ("redis+ring://a", "has the unknown kind `+ring`"),
        ("redis://hunter2@a", "has a user without a password"),
        ("redis://hunter2:@a", "has an empty password"),
        ("redis://u:hunter2/x@a", "has a login that is cut short by `/`, `?` or `#`"),
        ("redis://u:hunter2#x@a", "has a login that is cut short by `/`, `?` or `#`"),
        ("redis://u:hunter2%ff@a", "has a login that is not UTF-8"),
        ("redis://u:hunter2@a:x", "names `a:x` as a host"),
    ];
    for (text, problem) in wrong {
        let told = RedisUrl::parse(text).unwrap().unwrap_err();
        assert_eq!(told.problem, problem, "{text}");
        assert!(!told.remedy.is_empty() && !format!("{told:?}").contains("hunter2"), "{told:?}");
    }
    for text in ["embedded:data", "mysql://a", "redis:a", "redist://a"] {
        assert_eq!(RedisUrl::parse(text), None, "{text}");
    }
}
