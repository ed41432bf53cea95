//! Redis Streams as the event bus: `docs/redis-streams.md` is right, and its examples miss nothing when they are killed.

use std::collections::{BTreeSet, HashMap};

use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{Cmd, FromRedisValue, RedisResult};
use serde_json::Value;

use crate::gateway::{Gateway, Poster};
use crate::redis_harness::Server;
use crate::tidy::root;

mod crash;

const PAGE: &str = "docs/redis-streams.md";
const PASSWORD: &str = "test password, not a secret";
/// So many events of one mail.
const OF_A_MAIL: usize = 3;
/// What is in front of an event's JSON.
const STAMP_LEN: usize = 16;

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).unwrap()
}

/// What the first cells of the page's tables name: the streams, or an event's fields.
fn named_in_page(streams: bool) -> BTreeSet<String> {
    let text = page();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let names = cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `").collect::<Vec<_>>());
    let names = names.filter(|name| if streams { name.ends_with(":feed") } else { !name.starts_with("{wp:") });
    names.map(str::to_owned).collect()
}

/// A server, a gateway on it, and a user that may do what the page says.
struct Stage {
    server: Server,
    gateway: Gateway,
    url: String,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::start().await;
        let text = page();
        let line = text.lines().find(|line| line.starts_with("ACL SETUSER crm ")).unwrap();
        let words: Vec<_> = line.split(' ').map(|word| word.replace("PASSWORD", PASSWORD)).collect();
        server.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let url = server.url().replace("//", &format!("//crm:{}@", PASSWORD.replace(' ', "%20")));
        // An erasure waits for bodies that may be under way.
        let limits = "body_timeout_s = 1\nmail_timeout_s = 1";
        let mut gateway = Gateway::serving_with(&server.url(), limits, "");
        gateway.up(None);
        gateway.until_alive().await;
        Self { server, gateway, url }
    }

    /// Sends a command as that user.
    async fn ask<T: FromRedisValue>(&self, line: &str) -> RedisResult<T> {
        let mut connection = redis::Client::open(&*self.url)?.get_multiplexed_async_connection().await?;
        let mut cmd = Cmd::new();
        for word in line.split(' ') {
            cmd.arg(word);
        }
        cmd.query_async(&mut connection).await
    }

    /// Posts events of so many mails, in one request.
    async fn post(&self, first: usize, mails: usize) {
        // What makes a consumer's line long.
        let long = "x".repeat(2_000);
        let element = |number: usize| {
            let (mail, at) = (first + number % mails, 1_773_480_415 + number);
            format!(
                r#"{{"email":"m{mail}-{number}@customer.example","timestamp":{at},"event":"click","url":"https://shop.example/{long}","sg_event_id":"sg-{mail}-{number}","sg_message_id":"m{mail}.recvd-1"}}"#
            )
        };
        let elements: Vec<_> = (0..mails * OF_A_MAIL).map(element).collect();
        let signed = Poster::new().sign("sendgrid", &format!("[{}]\r\n", elements.join(",\r\n")), [0; 16]);
        assert_eq!(Poster::new().post(&self.gateway.url("sendgrid"), signed).await, Some(200));
    }

    /// What the streams hold: where each event is.
    async fn places(&self) -> HashMap<String, Place> {
        let mut places = HashMap::new();
        for partition in 0..4 {
            let range = self.server.command(&["XRANGE", &feed(partition), "-", "+"]).await;
            for entry in redis::from_redis_value::<StreamRangeReply>(range).unwrap().ids {
                places.insert(entry.get("id").unwrap(), (partition, number(&entry.id)));
            }
        }
        places
    }
}

/// A partition, and an entry's id there.
type Place = (usize, (u64, u64));

/// An entry's id.
fn number(id: &str) -> (u64, u64) {
    let (ms, us) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), us.parse().unwrap())
}

fn feed(partition: usize) -> String {
    format!("{{wp:{partition}}}:feed")
}

#[tokio::test]
async fn the_streams_are_as_the_page_says() {
    let stage = Stage::new().await;
    // Before there is a stream.
    for stream in named_in_page(true) {
        stage.ask::<String>(&format!("XGROUP CREATE {stream} crm $ MKSTREAM")).await.unwrap();
    }
    stage.post(0, 20).await;
    let streams: Vec<String> = redis::from_redis_value(stage.server.command(&["KEYS", "{wp:*}:feed"]).await).unwrap();
    assert_eq!(streams.into_iter().collect::<BTreeSet<_>>(), named_in_page(true));

    let (mut fields, mut events, mut mails) = (BTreeSet::new(), 0, HashMap::new());
    for partition in 0..4 {
        let stream = feed(partition);
        let line = format!("XREADGROUP GROUP crm crm-1 COUNT 100 STREAMS {stream} >");
        let read: StreamReadReply = stage.ask(&line).await.unwrap();
        for entry in read.keys.iter().flat_map(|stream| &stream.ids) {
            assert_eq!(entry.map.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&"id".into(), &"type".into()]));
            let [id, kind] = ["id", "type"].map(|field| entry.get::<String>(field).unwrap());
            let [kept]: [String; 1] = stage.ask(&format!("MGET {{wp:{partition}}}:e:{id}")).await.unwrap();
            let (stamp, json) = kept.split_at(STAMP_LEN);
            let (ms, us) = number(&entry.id);
            assert_eq!(stamp.parse::<u64>().unwrap(), ms * 1_000 + us);
            let event: Value = serde_json::from_str(json).unwrap();
            assert_eq!((&event["id"], &event["type"]), (&id.into(), &kind.into()));
            fields.extend(event.as_object().unwrap().keys().cloned());
            // What was posted first of a mail is in front, and in the same stream.
            let (mail, at) = (event["data"]["id"].to_string(), event["created_at"].to_string());
            let (other, before) = mails.insert(mail, (partition, at.clone())).unwrap_or((partition, String::new()));
            assert!(other == partition && before < at, "{event}");
            let acknowledged: usize = stage.ask(&format!("XACK {stream} crm {}", entry.id)).await.unwrap();
            assert_eq!(acknowledged, 1);
            events += 1;
        }
    }
    assert_eq!((mails.len(), mails.values().map(|(partition, _)| partition).collect::<BTreeSet<_>>().len()), (20, 4));
    assert_eq!(events, 20 * OF_A_MAIL);
    let own = ["mail", "endpoints"].map(str::to_owned).into();
    // Of a copy alone.
    let seldom = BTreeSet::from(["possible_duplicate_of".to_owned()]);
    assert_eq!(&fields - &own, &named_in_page(false) - &seldom);
}

#[tokio::test]
async fn its_user_may_do_nothing_else() {
    let stage = Stage::new().await;
    stage.post(0, 1).await;
    for line in [
        "XADD {wp:0}:feed * id evt_1",
        "XTRIM {wp:0}:feed MAXLEN 0",
        "DEL {wp:0}:feed",
        "XGROUP DESTROY {wp:0}:feed crm",
        "XGROUP CREATE {wp:0}:announce crm 0 MKSTREAM",
        "SET {wp:0}:e:evt_1 1",
        "MGET {wp:0}:address_key",
        "CONFIG GET maxmemory",
    ] {
        let error = stage.ask::<redis::Value>(line).await.unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{line}: {error}");
    }
}
