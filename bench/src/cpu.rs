//! What a process has used: CPU, memory.

use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Failure;

/// CPU nanoseconds that a process has used so far, ended threads included.
pub(crate) fn of(pid: u32) -> Result<u64, Failure> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(clock_gettime(clock)?.num_nanoseconds().unsigned_abs())
}

/// What others may use of one CPU in the second before a measurement.
const QUIET_NS: u64 = 100_000_000;

/// Waits until what earlier runs left to be written is on the disk, and until nobody uses the machine, but for that no longer
/// than this.
pub(crate) fn quiet(within_seconds: u64) -> Result<(), Failure> {
    nix::unistd::sync();
    for _ in 0..within_seconds {
        let before = machine()?;
        std::thread::sleep(Duration::from_secs(1));
        if machine()? - before < QUIET_NS {
            break;
        }
    }
    Ok(())
}

/// CPU nanoseconds of this process.
pub(crate) fn own() -> u64 {
    crate::clock::nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// A figure of `/proc/PID/status`, in bytes: `VmHWM` is the peak, `VmRSS` what is held now.
pub(crate) fn memory(pid: u32, field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: u64 = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no such figure")?.parse()?;
    Ok(kib * 1024)
}

/// CPU nanoseconds that all processes have used or that the host has kept for itself, to some 10 ms.
pub(crate) fn machine() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    // user, nice, system; then idle, iowait, irq, softirq; then steal. Interrupts serve everybody.
    let busy = [0, 1, 2, 7].iter().filter_map(|place| ticks.get(*place)).sum::<u64>();
    Ok(busy * 10_000_000)
}
