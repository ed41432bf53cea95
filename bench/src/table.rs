//! Tables for a terminal.

use std::fmt::Write as _;

use crate::floors::Floor;
use crate::report::{Quantiles, Report, Run};
use crate::targets::{self, Bound};

/// One floor, in a line.
pub(crate) fn floor(floor: &Floor) -> String {
    let wait = floor.wait_p99_ms.map_or(String::new(), |ms| format!(", p99 of a wait for it {ms:.1} ms"));
    format!("{}: {:.0} /s, {:.1} us of CPU each{wait}", floor.name, floor.per_s, floor.cpu_us)
}

/// One run, a figure a line.
pub(crate) fn run(run: &Run) -> String {
    let mut lines = vec![
        (title(run), if run.requests > 0 { loop_of(run) } else { String::new() }),
        (
            "accepted".into(),
            format!("{:.0} events/s ({} in {} requests)", run.accepted_per_s, run.accepted, run.requests),
        ),
        ("delivered".into(), format!("{:.0} /s ({})", run.delivered_per_s, run.delivered)),
        ("answered, p50 p90 p99 max".into(), quantiles(run.answer)),
        ("delivered, p50 p90 p99 max".into(), quantiles(run.end_to_end)),
    ];
    if run.rate.is_some() {
        lines.insert(4, ("  from the first byte".into(), quantiles(run.answer_from_first_byte)));
        lines.push(("  from the first byte".into(), quantiles(run.end_to_end_from_first_byte)));
    }
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
    lines.push(("machine".into(), format!("{:.0} % of it went to others", run.others_percent)));
    let figures = run.figures.iter().map(|(name, value)| (name.clone(), format!("{value:.2}")));
    lines.extend(figures);
    if run.requests == 0 {
        lines.retain(|(name, _)| run.figures.contains_key(name) || *name == title(run) || name.contains("peak"));
    }
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

fn title(run: &Run) -> String {
    let load = if run.load.is_empty() { String::new() } else { format!(", {}", run.load) };
    let store = if run.store.is_empty() { String::new() } else { format!(" on {}", run.store) };
    format!("{}{store}{load}, {} endpoints", run.name, run.endpoints)
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

/// Everything beside what is committed: targets, floors, runs.
pub(crate) fn all(report: &Report, committed: &Report) -> String {
    let mut rows = vec![["target", "bound", "measured", "committed", ""].map(str::to_owned)];
    for target in targets::all(report, committed) {
        let bound = match target.bound {
            Bound::AtMost(most) => format!("<= {most}"),
            Bound::AtLeast(least) => format!(">= {least}"),
        };
        let verdict = target.measured.map_or("", |figure| if target.bound.holds(figure) { "ok" } else { "MISSED" });
        rows.push([target.name.into(), bound, figure(target.measured), figure(target.committed), verdict.into()]);
    }
    let mut text = aligned(&rows);
    let mut rows = vec![["floor", "per second", "CPU us", "committed", "p99 of a wait, ms"].map(str::to_owned)];
    for floor in &report.floors {
        let known = committed.floors.iter().find(|known| known.name == floor.name).map(|known| known.cpu_us);
        let per_s = format!("{:.0}", floor.per_s);
        rows.push([
            floor.name.clone(),
            per_s,
            figure(Some(floor.cpu_us)),
            figure(known),
            floor.wait_p99_ms.map_or(String::new(), |ms| format!("{ms:.1}")),
        ]);
    }
    text += &format!("\n{}", aligned(&rows));
    if let Some(cost) = targets::delivery_cpu_us(report) {
        text += &format!(
            "a delivery: {cost:.1} us of the gateway's CPU (what ten endpoints cost more than none, for each)\n"
        );
    }
    if let Some([accepted, delivered]) = targets::beside_floors(report) {
        let beside =
            |(cost, floors): (f64, f64)| format!("{cost:.1} us beside {floors:.1}, {:.2} times", cost / floors);
        text += &format!(
            "an accepted request beside bare handler and commit: {}\na delivery beside bare client and record: {}\n",
            beside(accepted),
            beside(delivered)
        );
    }
    text + &format!("\n{}\n{}\n", aligned(&runs(report, committed)), report.machine)
}

fn runs(report: &Report, committed: &Report) -> Vec<[String; 12]> {
    let head = [
        "run",
        "accepted/s",
        "committed",
        "delivered/s",
        "committed",
        "p50 ms",
        "p99 ms",
        "answer p99",
        "CPU us",
        "redis us",
        "MiB",
        "others %",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for run in report.runs.iter().filter(|run| run.requests > 0) {
        let same = |known: &&Run| {
            (&known.name, &known.store, &known.load, known.endpoints)
                == (&run.name, &run.store, &run.load, run.endpoints)
        };
        let known = committed.runs.iter().find(same);
        let ms =
            |quantiles: Option<Quantiles>, pick: fn(Quantiles) -> f64| figure(quantiles.map(|all| pick(all) / 1000.0));
        rows.push([
            title(run),
            format!("{:.0}", run.accepted_per_s),
            known.map_or("-".into(), |known| format!("{:.0}", known.accepted_per_s)),
            format!("{:.0}", run.delivered_per_s),
            known.map_or("-".into(), |known| format!("{:.0}", known.delivered_per_s)),
            ms(run.end_to_end, |all| all.p50),
            ms(run.end_to_end, |all| all.p99),
            ms(run.answer, |all| all.p99),
            format!("{:.1}", run.cpu_us_per_event("gateway")),
            format!("{:.1}", run.cpu_us_per_event("redis")),
            format!("{:.0}", run.peak_memory as f64 / 1_048_576.0),
            format!("{:.0}", run.others_percent),
        ]);
    }
    rows
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// Columns under one another: the first to the left, the others to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}
