//! The client against servers that answer badly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waypost::clock::SystemClock;
use waypost::dispatch::client::{Answer, Client, Egress, Got, KEPT_BYTES_MAX};
use waypost::dispatch::room::Room;
use waypost::domain::delivery::ErrorClass;
use waypost::domain::retry::Outcome;
use waypost::domain::target::Networks;

const DEADLINE: Duration = Duration::from_secs(5);

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// Serves each connection with `serve`.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    Server { address, connections }
}

/// Reads one request with the two-byte body that these tests send; false at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n{}") {
        match stream.read(&mut byte).await {
            Ok(1) => seen.push(byte[0]),
            _ => return false,
        }
    }
    true
}

async fn answering(answer: &'static str) -> Server {
    server(move |mut stream| async move {
        while read_request(&mut stream).await {
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

fn client(networks: &[&str]) -> Client {
    let egress = Egress { networks: Networks::parse(networks).unwrap(), ..Egress::default() };
    Client::new(egress, Arc::new(SystemClock::new())).unwrap()
}

async fn post(client: &Client, url: &str, deadline: Duration) -> Answer {
    let request = http::Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
    client.post(request, deadline).await.answer
}

async fn post_to(server: &Server, deadline: Duration) -> Answer {
    post(&client(&["127.0.0.0/8"]), &format!("http://{}/in", server.address), deadline).await
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let aim = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", aim.address);
    let server = answering(location.leak()).await;
    assert_eq!(post_to(&server, DEADLINE).await, Answer { status: Some(302), ..Answer::default() });
    assert_eq!(aim.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_dripping_body_is_cut_at_the_deadline() {
    let server = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let answer = post_to(&server, Duration::from_millis(300)).await;
    assert_eq!((answer.status, answer.error), (Some(200), Some(ErrorClass::Timeout)));
    assert!(answer.body.unwrap().starts_with('x'));
}

async fn get_into(room: &Room, answer: &'static str, within_ms: u64) -> Got {
    let server = answering(answer).await;
    let request = http::Request::get(format!("http://{}/", server.address)).body(Bytes::from_static(b"{}")).unwrap();
    client(&["127.0.0.0/8"]).get(request, Duration::from_millis(within_ms), 10, room).await
}

#[tokio::test]
async fn a_body_that_is_kept_whole_is_read_when_there_is_room_for_it() {
    const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";
    const SMALL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n01234";
    const UNTOLD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    const LARGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a";
    let room = Room::for_one_of(10);
    let (one, other) = (get_into(&room, SMALL, 5_000).await, get_into(&room, SMALL, 5_000).await);
    assert_eq!((&one.body[..], &other.body[..]), (&b"01234"[..], &b"01234"[..]));
    for more in [SMALL, WHOLE, UNTOLD] {
        let refused = get_into(&room, more, 200).await;
        assert_eq!((refused.posted.answer.error, refused.body.len()), (Some(ErrorClass::Timeout), 0), "{more}");
    }
    drop(one);
    assert_eq!(get_into(&room, UNTOLD, 200).await.posted.answer.error, Some(ErrorClass::Timeout));
    let waits = get_into(&room, WHOLE, 5_000);
    let (whole, ()) = tokio::join!(waits, async { drop(other) });
    assert_eq!(whole.body, "0123456789");
    drop(whole);
    assert_eq!(get_into(&room, UNTOLD, 5_000).await.body, "a");
    assert_eq!(get_into(&room, LARGE, 5_000).await.posted.answer.error, Some(ErrorClass::Protocol));
}

#[tokio::test]
async fn an_endless_body_is_capped() {
    let server = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"4\r\n\xff\xff\xff\xff\r\n").await.is_ok() {}
    })
    .await;
    let answer = post_to(&server, DEADLINE).await;
    assert_eq!((answer.status, answer.error), (Some(200), None));
    let kept = answer.body.unwrap().len();
    assert!((KEPT_BYTES_MAX - 3..=KEPT_BYTES_MAX).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_head_without_end_and_interim_answers_without_end_are_cut() {
    let without_end = async |begin: &'static str, again: &'static str| {
        server(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(begin.as_bytes()).await;
            while stream.write_all(again.as_bytes()).await.is_ok() {}
        })
        .await
    };
    let head = without_end("HTTP/1.1 200 OK\r\n", "x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await;
    assert_eq!(post_to(&head, DEADLINE).await, Answer::failed(ErrorClass::Protocol));
    let interim = without_end("", "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(post_to(&interim, Duration::from_millis(300)).await, Answer::failed(ErrorClass::Timeout));
    let switched = answering("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h9\r\n\r\n").await;
    assert_eq!(post_to(&switched, DEADLINE).await.status, Some(101));
}

#[tokio::test]
async fn what_goes_wrong_is_named() {
    let closing = server(|mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(post_to(&closing, DEADLINE).await, Answer::failed(ErrorClass::Closed));

    let breaking = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    let answer = post_to(&breaking, DEADLINE).await;
    assert_eq!((answer.status, answer.error), (Some(200), Some(ErrorClass::Closed)));

    let babbling = answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    assert_eq!(post_to(&babbling, DEADLINE).await, Answer::failed(ErrorClass::Protocol));

    let silent = server(|stream| async move {
        tokio::time::sleep(DEADLINE).await;
        drop(stream);
    })
    .await;
    assert_eq!(post_to(&silent, Duration::from_millis(200)).await, Answer::failed(ErrorClass::Timeout));
    let url = format!("https://{}/", silent.address);
    let unshaken = post(&client(&["127.0.0.0/8"]), &url, Duration::from_millis(200)).await;
    assert_eq!(unshaken, Answer::failed(ErrorClass::Timeout), "TLS that never comes to be");

    let plain = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let url = format!("https://{}/", plain.address);
    assert_eq!(post(&client(&["127.0.0.0/8"]), &url, DEADLINE).await, Answer::failed(ErrorClass::Tls));
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client(&["127.0.0.0/8"]);
    assert_eq!(post(&client, &format!("http://{free}/"), DEADLINE).await, Answer::failed(ErrorClass::Connect));
    let unknown = post(&client, "https://nowhere.invalid/", DEADLINE).await;
    assert_eq!(unknown, Answer::failed(ErrorClass::Resolve));
}

#[tokio::test]
async fn private_addresses_are_blocked_behind_literals_and_names() {
    let server = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = server.address.port();
    let elsewhere = client(&["10.0.0.0/8"]);
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        format!("http://localhost:{port}/"),
        format!("https://user@localhost:{port}/"),
    ] {
        assert_eq!(post(&elsewhere, &url, DEADLINE).await, Answer::failed(ErrorClass::Blocked), "{url}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    let here = client(&["127.0.0.0/8"]);
    assert_eq!(post(&here, &format!("http://localhost:{port}/"), DEADLINE).await.status, Some(200));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = answering("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy").await;
    let client = client(&["127.0.0.0/8"]);
    let url = format!("http://{}/", server.address);
    for _ in 0..3 {
        let answer = post(&client, &url, DEADLINE).await;
        assert_eq!((answer.status, answer.body.as_deref()), (Some(503), Some("busy")));
        assert_eq!(answer.retry_after.as_deref(), Some("7"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_read_and_not_answered_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    // Each connection answers once, and is closed after it has read another.
    let server = server(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_request(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            counter.fetch_add(usize::from(read_request(&mut stream).await), Ordering::SeqCst);
        }
    })
    .await;
    let client = client(&["127.0.0.0/8"]);
    let url = format!("http://{}/", server.address);
    assert_eq!(post(&client, &url, DEADLINE).await.status, Some(200));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(post(&client, &url, DEADLINE).await, Answer::failed(ErrorClass::Closed));
    assert_eq!((requests.load(Ordering::SeqCst), server.connections.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn at_the_deadline_the_connection_is_closed() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let silent = server(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            let _ = closed.send(stream.read(&mut [0; 16]).await.unwrap_or_default()).await;
        }
    })
    .await;
    let client = client(&["127.0.0.0/8"]);
    let answer = post(&client, &format!("http://{}/", silent.address), Duration::from_millis(100)).await;
    assert_eq!(answer, Answer::failed(ErrorClass::Timeout));
    assert_eq!(tokio::time::timeout(DEADLINE, was_closed.recv()).await.unwrap(), Some(0));
}

#[test]
fn a_date_to_wait_for_is_held_against_the_clock_that_set_it() {
    let answer = |date: Option<&str>| Answer {
        status: Some(503),
        retry_after: Some("Sat, 14 Mar 2026 09:27:53 GMT".into()),
        date: date.map(str::to_owned),
        ..Answer::default()
    };
    let wait = |answer: Answer| match answer.outcome("2026-03-14T09:27:23Z".parse().unwrap()) {
        Outcome::Answered { retry_after, .. } => retry_after.unwrap().as_secs(),
        Outcome::Failed(class) => panic!("{class:?}"),
    };
    assert_eq!(wait(answer(Some("Sat, 14 Mar 2026 09:26:53 GMT"))), 60);
    assert_eq!(wait(answer(None)), 30);
    assert_eq!(wait(answer(Some("soon"))), 30);
}
