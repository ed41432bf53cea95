//! The cost of an event while the store grows.

use super::{measure, plan};
use crate::Failure;
use crate::args::{Options, StoreKind};
use crate::bed::{Bed, Plan};
use crate::load::Load;
use crate::report::Run;

/// How many events the store holds when the cost is measured.
const STEPS: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// On Redis, whose memory is the limit.
const REDIS_MAX: u64 = 2_000_000;

/// Fills with batches that no endpoint wants, and measures at each step what it was asked for.
pub(super) fn run(options: &Options) -> Result<Vec<Run>, Failure> {
    let mut choosy = options.clone();
    choosy.endpoint_lines.push("sources = [\"resend\"]".into());
    let mut bed = Bed::start(&choosy)?;
    let (mut runs, mut stored) = (Vec::new(), 0);
    let steps = STEPS.map(|step| if options.store == StoreKind::Embedded { step } else { step.min(REDIS_MAX) });
    let steps = if options.whole { &steps[..] } else { &steps[..3] };
    for step in steps {
        if stored < *step {
            let load = Load::SendGrid(1000);
            let requests = Some(load.requests_for(step - stored));
            let fill = Plan { load, requests, connections: 8, seconds: 3600.0, rate: None, ..plan("filling", options) };
            bed.expects(false);
            stored += bed.measure(&fill)?.accepted;
            bed.expects(true);
        }
        let mut run = measure(&mut bed, &plan("flat", options))?;
        run.figures.insert("stored before".into(), stored as f64);
        stored += run.accepted;
        runs.push(run);
    }
    Ok(runs)
}
