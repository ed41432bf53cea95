//! Tables for a terminal.

use std::fmt::Write as _;

use crate::report::{Quantiles, Run};

/// One run, a figure a line.
pub(crate) fn run(run: &Run) -> String {
    let mut lines = vec![
        (format!("{} on {}, {}, {} endpoints", run.name, run.store, run.load, run.endpoints), loop_of(run)),
        (
            "accepted".into(),
            format!("{:.0} events/s ({} in {} requests)", run.accepted_per_s, run.accepted, run.requests),
        ),
        ("delivered".into(), format!("{:.0} /s ({})", run.delivered_per_s, run.delivered)),
        ("answered, p50 p90 p99 max".into(), quantiles(run.answer)),
        ("delivered, p50 p90 p99 max".into(), quantiles(run.end_to_end)),
    ];
    for process in run.cpu_ns.keys() {
        lines.push((format!("CPU of {process}"), format!("{:.1} us an event", run.cpu_us_per_event(process))));
    }
    let statuses = run.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
    lines.extend([
        ("gateway's peak memory".into(), format!("{:.1} MiB", run.peak_memory as f64 / 1_048_576.0)),
        ("store".into(), format!("{:.0} bytes an event", run.store_bytes as f64 / run.accepted.max(1) as f64)),
        ("answers".into(), statuses.collect::<Vec<_>>().join(", ")),
        ("lost, twice, refused".into(), format!("{}, {}, {}", run.losses, run.duplicates, run.refused)),
        ("signatures checked, wrong".into(), format!("{}, {}", run.verified, run.wrong)),
    ]);
    if run.ran_out {
        lines.push(("note".into(), "the generator ran out of requests before the time was over".into()));
    }
    let width = lines.iter().skip(1).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

fn loop_of(run: &Run) -> String {
    match run.rate {
        Some(rate) => format!("(open loop, {rate:.0} requests/s, {} connections)", run.connections),
        None => format!("(closed loop, {} connections)", run.connections),
    }
}

/// Milliseconds.
fn quantiles(quantiles: Option<Quantiles>) -> String {
    let Some(Quantiles { p50, p90, p99, max }) = quantiles else { return "-".into() };
    let ms = [p50, p90, p99, max].map(|micros| format!("{:.2}", micros / 1000.0));
    format!("{} ms", ms.join(" "))
}
