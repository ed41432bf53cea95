//! A picture of a report: what goes through, and what it costs beside the floors.

use std::fmt::Write as _;
use std::path::Path;

use crate::Failure;
use crate::report::Report;

const WIDTH: f64 = 860.0;
const NAMES: f64 = 330.0;
const ROW: f64 = 22.0;
const BARS: f64 = WIDTH - NAMES - 90.0;

/// One bar.
struct Bar {
    name: String,
    value: f64,
    color: &'static str,
}

/// `bench chart`: reads a report, writes an SVG.
pub(crate) fn main(json: &Path, svg: &Path) -> Result<(), Failure> {
    let report = Report::read(json)?;
    if let Some(parent) = svg.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(svg, draw(&report)?)?)
}

fn draw(report: &Report) -> Result<String, std::fmt::Error> {
    let panels = [
        ("events a second, from end to end", through(report)),
        ("CPU microseconds of the gateway and of the floors", costs(report)),
    ];
    let mut body = String::new();
    let mut top = 0.0;
    for (title, bars) in &panels {
        top += 34.0;
        writeln!(body, r##"<text x="8" y="{top}" font-weight="bold">{title}</text>"##)?;
        let most = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
        for bar in bars {
            top += ROW;
            let (width, base) = ((bar.value / most * BARS).max(1.0), top - 4.0);
            let Bar { name, value, color } = bar;
            let name = name.replace('&', "&amp;").replace('<', "&lt;");
            writeln!(body, r##"<text x="{}" y="{top}" text-anchor="end">{name}</text>"##, NAMES - 8.0)?;
            writeln!(
                body,
                r##"<rect x="{NAMES}" y="{}" width="{width:.1}" height="15" fill="{color}"/>"##,
                base - 9.0
            )?;
            let value = if *value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
            writeln!(body, r##"<text x="{:.1}" y="{top}">{value}</text>"##, NAMES + width + 6.0)?;
        }
    }
    let height = top + 40.0;
    let machine = &report.machine;
    Ok(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height}" fill="white"/>
{body}<text x="8" y="{}" fill="#666">{machine}</text>
</svg>
"##,
        height - 10.0
    ))
}

fn through(report: &Report) -> Vec<Bar> {
    let runs = report.runs.iter().filter(|run| run.requests > 0 && run.rate.is_none() && run.name != "memory");
    let bar = |run: &crate::report::Run| {
        let (value, color) = match run.endpoints {
            0 => (run.accepted_per_s, "#9db8d9"),
            _ => (run.through_per_s(), "#3b6ea8"),
        };
        let what = if run.endpoints == 0 { "accepted only".into() } else { format!("{} endpoints", run.endpoints) };
        Bar { name: format!("{} {}, {what}", run.store, run.load), value, color }
    };
    runs.map(bar).collect()
}

fn costs(report: &Report) -> Vec<Bar> {
    let floors = report.floors.iter().map(|floor| {
        let name = floor.name.split(" (").next().unwrap_or_default().to_owned();
        Bar { name, value: floor.cpu_us, color: "#b9b9b9" }
    });
    let cost =
        crate::targets::delivery_cpu_us(report).map(|value| Bar { name: "a delivery".into(), value, color: "#3b6ea8" });
    let accept = report.runs.iter().find(|run| run.name == "accept" && run.load == "resend" && run.store == "embedded");
    let accept = accept.map(|run| Bar {
        name: "an accepted request".into(),
        value: run.cpu_us_per_event("gateway"),
        color: "#3b6ea8",
    });
    floors.chain(accept).chain(cost).collect()
}
