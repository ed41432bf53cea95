//! What happens when the clock runs on meanwhile.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Seventy seconds pass between any two looks at it.
#[derive(Default)]
struct Leaping(AtomicU64);

impl Clock for Leaping {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(70, Ordering::SeqCst))
    }
}

#[tokio::test]
async fn what_is_left_of_the_hold_must_suffice_or_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&format!("http://{}/", listener.local_addr().unwrap()));
    let running = start_by(Arc::new(Leaping::default()), vec![endpoint], 1, SECRET, |_| {});
    timeout(async {
        while running.store.with(|state| !state.due.is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let called = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(called.is_err());
    assert!(running.store.with(|state| state.finished.is_empty()));
}

/// Minutes that pass when an endpoint says so.
#[derive(Default)]
struct Moved(AtomicU64);

impl Clock for Moved {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(60 * self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn an_answer_that_is_read_after_the_hold_says_nothing_about_the_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&format!("http://{}/", listener.local_addr().unwrap()));
    let clock = Arc::new(Moved::default());
    let running = start_by(Arc::clone(&clock) as _, vec![endpoint], 1, SECRET, |_| {});
    let (mut stream, _) = timeout(listener.accept()).await.unwrap();
    assert!(stream.read(&mut [0; 8192]).await.unwrap() > 0);
    clock.0.store(2, Ordering::SeqCst);
    stream.write_all(b"HTTP/1.1 500 Wrong\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let finished = running.store.finished(1).await;
    assert_eq!(finished[0].attempt.as_ref().unwrap().status, Some(500));
    assert_eq!(finished[0].lane, None);
}
