//! What the system says of this process.

use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the system says of this process; what it does not say, or not on this system, is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    pub(super) cpu: Duration,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) files_max: Option<u64>,
}

impl Process {
    /// As it is now. Reads a few files of the system's, and the names of as many as are open.
    pub fn read() -> Self {
        Self {
            cpu: Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default(),
            resident_bytes: resident_bytes(),
            // One is that which is being read.
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The second number of `statm` is what is in memory, in pages (proc_pid_statm(5)).
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_a_process() {
        let before = Process::read();
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = Process::read();
        // Other tests may run in this process, and open and close files of their own.
        assert!(after.open_files.unwrap() >= before.open_files.unwrap() + files.len() as u64 / 2);
        assert!(after.resident_bytes.unwrap() >= before.resident_bytes.unwrap() + held.len() as u64 / 2);
        assert!(after.cpu > before.cpu && after.files_max >= after.open_files);
    }
}
