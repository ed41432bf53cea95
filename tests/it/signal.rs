//! A process of the test's own: signals to it, and its end.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// Kills it, if it runs.
pub(crate) fn kill(process: &mut Option<Child>) {
    if let Some(mut process) = process.take() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Sends it a signal by name. After `STOP` it stands still when this returns: the kernel tells one thread first, and on
/// a busy machine the others go on for a while.
pub(crate) fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    while name == "STOP" && !stands_still(&id) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stands_still(id: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    // The state follows the name, which is in brackets. A thread that ends meanwhile stands still too.
    let state = |stat: String| stat.rsplit(')').next().unwrap().trim_start().starts_with('T');
    threads.flatten().all(|thread| fs::read_to_string(thread.path().join("stat")).map_or(true, state))
}
