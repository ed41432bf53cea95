//! Ports for servers that are killed and started again.

use std::fs::{File, create_dir_all};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;

/// Below what the kernel gives to outgoing connections: one of those would take the port of a server that is down.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// Ports of this process; each stays its own until the process ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of the loopback that is free and that no other test takes.
pub(crate) fn free() -> u16 {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    create_dir_all(&folder).unwrap();
    let mut taken = TAKEN.lock().unwrap();
    let start = std::process::id().wrapping_mul(7_919).wrapping_add(u32::try_from(taken.len()).unwrap());
    for step in 0..u32::from(COUNT) {
        let port = FIRST + u16::try_from(start.wrapping_add(step) % u32::from(COUNT)).unwrap();
        let file = File::create(folder.join(port.to_string())).unwrap();
        if file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.push(file);
            return port;
        }
    }
    panic!("no port is free");
}
