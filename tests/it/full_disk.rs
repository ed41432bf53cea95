//! A disk that takes nothing more: refused within a second, nothing lost, and served again when there is room.

use std::time::Duration;

use waypost::clock::{Clock, SystemClock};

use crate::gateway::{Gateway, Poster, receiver, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_answered_503_until_there_is_room() {
    let (target, seen) = receiver();
    let mut gateway = Gateway::new("embedded", target);
    gateway.up_in_little_room();
    gateway.until_alive().await;
    let (poster, url) = (Poster::new(), gateway.url("resend"));
    for round in 0..2 {
        let post = async |number: u32| {
            let (_, signed) = poster.resend_event(round * 100 + number);
            poster.post(&url, signed).await
        };
        for number in 0..10 {
            assert_eq!(post(number).await, Some(200));
        }
        gateway.take_room(true);
        for number in 10..40 {
            let clock = SystemClock::new();
            assert_eq!(post(number).await, Some(503));
            assert!(clock.elapsed() < Duration::from_secs(1), "{:?}", clock.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gateway.take_room(false);
        until("it takes events again", async || post(10).await == Some(200)).await;
        for number in 11..40 {
            assert_eq!(post(number).await, Some(200));
        }
    }
    gateway.until_idle().await;
    assert_eq!(seen.lock().unwrap().len(), 80);
    assert_eq!(gateway.read("/v1/events?limit=100").await["data"].as_array().unwrap().len(), 80);
    // One more line each time it was tried, and not for each call.
    assert!(gateway.logged("the store cannot be opened again").len() < 20);
    assert!(gateway.terminate(Duration::from_secs(10)).await);
}
