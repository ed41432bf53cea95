//! The text exposition format of Prometheus, version 0.0.4: what it says of a family, and its samples.

use std::fmt::{Display, Write};

use super::families::{About, Family};
use super::values::Histogram;

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    page: String,
    family: Option<About>,
}

impl Text {
    /// What follows are samples of this family.
    pub(super) fn begin(&mut self, family: Family) {
        let about @ About { name, kind, help, .. } = family.about();
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        self.family = Some(about);
    }

    /// A sample, with the value of each of its family's labels. They are written as they are: words of closed sets, and
    /// names of sources, which are of letters, digits, `-` and `_`.
    pub(super) fn one(&mut self, labels: &[&str], value: impl Display) {
        self.sample("", labels, "", value);
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let (cumulated, count) = histogram.cumulated();
        for (bound, sum) in cumulated {
            self.sample("_bucket", labels, &format!("le=\"{bound}\""), sum);
        }
        self.sample("_bucket", labels, "le=\"+Inf\"", count);
        self.sample("_sum", labels, "", histogram.sum());
        self.sample("_count", labels, "", count);
    }

    /// The page.
    pub(super) fn done(self) -> String {
        self.page
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], more: &str, value: impl Display) {
        let Some(About { name, labels: names, .. }) = self.family else { return };
        let labels = names.iter().zip(labels).map(|(name, value)| format!("{name}=\"{value}\""));
        let labels: Vec<_> = labels.chain((!more.is_empty()).then(|| more.to_owned())).collect();
        match labels.is_empty() {
            true => self.put(format_args!("{name}{suffix} {value}\n")),
            false => self.put(format_args!("{name}{suffix}{{{}}} {value}\n", labels.join(","))),
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // A String takes whatever there is memory for.
        let _ = self.page.write_fmt(text);
    }
}
