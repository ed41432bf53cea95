//! What readers cost.

use super::sse::Stream;
use crate::gateway::{Gateway, Poster};
use crate::redis_harness::Server;

/// The memory of the gateway's process, in bytes.
fn memory(gateway: &Gateway) -> usize {
    let id = gateway.process.as_ref().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

async fn open(gateway: &Gateway, count: usize, query: &str) -> Vec<Stream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(Stream::open(gateway.port(), query, None).await.unwrap_or_else(|status| panic!("{status}")));
    }
    streams
}

#[tokio::test]
async fn two_thousand_idle_readers_fit_in_120_mib() {
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    for number in 0..50 {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    let before = memory(&gateway);
    let mut streams = open(&gateway, 2_000, "?after=end").await;
    let idle = memory(&gateway);
    eprintln!("{} KiB without readers, {} KiB with 2,000", before >> 10, idle >> 10);
    assert!(idle < 120 << 20, "{} KiB", idle >> 10);
    // Each hears of what comes.
    assert_eq!(poster.resend(&gateway.url("resend"), 1).await.1, Some(200));
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().event, "email.delivered");
    }
}

#[tokio::test]
async fn one_that_does_not_read_costs_nothing_and_misses_nothing() {
    const BATCHES: u32 = 400;
    let mut gateway = Gateway::serving("embedded", "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let mut slow = open(&gateway, 20, "").await;
    let mut quick = open(&gateway, 1, "").await;
    let before = memory(&gateway);
    for number in 0..BATCHES {
        assert_eq!(poster.sendgrid(&gateway.url("sendgrid"), number).await.1, Some(200));
    }
    let all = BATCHES * 20;
    for _ in 0..all {
        quick[0].next().await.unwrap();
    }
    let grown = memory(&gateway).saturating_sub(before);
    eprintln!("{} KiB more after {all} events that 20 readers did not read", grown >> 10);
    assert!(grown < 48 << 20, "{} KiB", grown >> 10);
    for _ in 0..all {
        slow[7].next().await.unwrap();
    }
}

/// How often Redis was asked for events.
async fn asked(server: &Server) -> u64 {
    let info: String = redis::from_redis_value(server.command(&["INFO", "commandstats"]).await).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_mget:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_readers_ask_the_store_as_often_as_one() {
    const EVENTS: u32 = 20;
    let server = Server::start().await;
    let mut gateway = Gateway::serving(&server.url(), "");
    gateway.up(None);
    gateway.until_alive().await;
    let poster = Poster::new();
    let mut streams = open(&gateway, 100, "?after=end").await;
    assert_eq!(poster.resend(&gateway.url("resend"), 1_000).await.1, Some(200));
    for stream in &mut streams {
        stream.next().await.unwrap();
    }
    let before = asked(&server).await;
    for number in 0..EVENTS {
        assert_eq!(poster.resend(&gateway.url("resend"), number).await.1, Some(200));
        for stream in &mut streams {
            stream.next().await.unwrap();
        }
    }
    let asked = asked(&server).await - before;
    assert!(asked <= u64::from(EVENTS) * 2, "{asked} times for {EVENTS} events");
}
