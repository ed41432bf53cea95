//! The directory of an embedded store has one process.

use super::{SOON, next_comes};
use crate::gateway::{Gateway, receiver};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_the_directory_of_the_first() {
    let (target, seen) = receiver();
    let mut first = Gateway::new("embedded", target);
    first.up(None);
    first.until_alive().await;
    let dir = first.data();
    let mut second = Gateway::new(&format!("embedded:{}", dir.display()), target);
    second.up(None);
    let (status, _) = second.ended(SOON).await.expect("it ends by itself");
    assert!(!status.success() && second.log().contains("in use by another process"), "{}", second.log());
    assert!(second.log().contains(&*dir.to_string_lossy()), "{}", second.log());
    next_comes(&first, &seen).await;
    // What the first leaves behind when it is killed keeps nobody out.
    first.down();
    second.up(None);
    second.until_alive().await;
    next_comes(&second, &seen).await;
}
