//! The key of the hashes of addresses.

use std::fs;

use super::*;
use crate::domain::address::Address;
use crate::domain::suppression::{Reason, ToSuppress};

fn nora() -> Address {
    Address::parse("nora@customer.example").unwrap()
}

async fn suppress(store: &Embedded, name: &str) {
    let mut ingest = to(name, "wh_a");
    let addresses = vec![nora()];
    ingest.units[0].suppresses = Some(ToSuppress { reason: Reason::Bounce, at: Timestamp::UNIX_EPOCH, addresses });
    assert_eq!(store.ingest(ingest).await.unwrap(), Ingested::Stored { new: 1, repeated: 0 });
}

#[tokio::test]
async fn it_is_made_once_and_may_be_lost_only_while_nothing_is_kept_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("address.key");
    drop(open(dir.path()).unwrap());
    let first = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let store = open(dir.path()).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), first);
    suppress(&store, "a").await;
    drop(store);
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(open(dir.path()).unwrap().suppressions(&nora()).await.unwrap().len(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), kept);

    fs::remove_file(&path).unwrap();
    let told = open(dir.path()).err().unwrap().to_string();
    assert!(told.contains(&format!("{}: is gone", path.display())) && told.contains("backup"), "{told}");
    assert!(!path.exists());
    fs::write(&path, "hunter2").unwrap();
    let told = open(dir.path()).err().unwrap().to_string();
    assert!(told.contains("holds no key") && !told.contains("hunter2"), "{told}");
    // What the message says can be done: with a new key the list begins anew, and with the old one it is back.
    fs::write(&path, first).unwrap();
    let store = open(dir.path()).unwrap();
    assert!(store.suppressions(&nora()).await.unwrap().is_empty());
    suppress(&store, "b").await;
    assert_eq!(store.suppressions(&nora()).await.unwrap().len(), 1);
    drop(store);
    fs::write(&path, kept).unwrap();
    assert_eq!(open(dir.path()).unwrap().suppressions(&nora()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_file_holds_an_address_but_as_a_part_of_its_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    suppress(&store, "a").await;
    drop(store);
    // The event of this test names nobody.
    for entry in fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"nora"), "{}", entry.display());
    }
}
