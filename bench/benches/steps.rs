//! Times of the pure steps: `cargo bench -p bench`. Noisy; `bench counts` says more.

#[path = "../src/load.rs"]
#[expect(dead_code, reason = "the steps need some of it")]
mod load;
#[path = "../src/steps.rs"]
mod steps;

/// What ends it badly.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The time of day, for what the steps do not use.
mod clock {
    pub(crate) fn time_of_day() -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn main() {
    divan::main();
}

#[divan::bench(args = steps::STEPS.map(|(name, _)| name))]
fn step(bencher: divan::Bencher<'_, '_>, name: &str) {
    let found = steps::STEPS.into_iter().find(|(known, _)| *known == name);
    if let Some(mut ready) = found.and_then(|(_, prepare)| prepare().ok()) {
        bencher.bench_local(&mut *ready);
    }
}
