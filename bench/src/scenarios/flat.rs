//! The cost of an event while the store grows.

use std::time::Duration;

use super::{measure, plan};
use crate::Failure;
use crate::args::{Options, StoreKind};
use crate::bed::{Bed, Plan};
use crate::load::Load;
use crate::report::Run;

/// How many events the small store holds.
const SMALL: u64 = 10_000;
/// And the other one, when the two are compared.
const STEPS: [u64; 3] = [100_000, 1_000_000, 10_000_000];
/// On Redis, whose memory is the limit.
const REDIS_MAX: u64 = 2_000_000;
/// So often all that is posted to fill a store may be refused, with a pause after each.
const REFUSED_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);
/// How often they are compared at the last step.
const TURNS: usize = 3;

/// A store, how many events it holds, and what an event of the last filling took of the gateway's CPU, in us.
struct Filled {
    bed: Bed,
    stored: u64,
    cost: f64,
}

/// Fills with batches that no endpoint wants, and measures what it was asked for: at each step first in a small store of its
/// own and then in the large one, for the speed of a machine changes by more than the cost of an event while one is filled.
/// What an event costs the gateway and Redis in the one beside the other is the middle one of the turns.
pub(super) fn run(options: &Options) -> Result<Vec<Run>, Failure> {
    let mut choosy = options.clone();
    choosy.endpoint_lines.push("sources = [\"resend\"]".into());
    let steps = STEPS.map(|step| if options.store == StoreKind::Embedded { step } else { step.min(REDIS_MAX) });
    let steps = if options.whole { &steps[..] } else { &steps[..2] };
    let (mut runs, mut large) = (Vec::new(), Filled::start(&choosy)?);
    for (number, step) in steps.iter().enumerate() {
        large.fill(*step)?;
        let mut times = Vec::new();
        for _ in 0..if number + 1 == steps.len() { TURNS } else { 1 } {
            let mut small = Filled::start(&choosy)?;
            small.fill(SMALL)?;
            let turn = [small.measure()?, large.measure()?];
            let cost =
                |run: &Run| ["gateway", "redis"].map(|process| run.cpu_us_per_event(process)).iter().sum::<f64>();
            let [small, large] = turn.each_ref().map(cost);
            times.push(large / small);
            runs.extend(turn);
        }
        times.sort_by(f64::total_cmp);
        if let Some((run, times)) = runs.last_mut().zip(times.get(times.len() / 2)) {
            run.figures.insert("times a small store's".into(), *times);
        }
    }
    Ok(runs)
}

impl Filled {
    fn start(options: &Options) -> Result<Self, Failure> {
        Ok(Self { bed: Bed::start(options)?, stored: 0, cost: 0.0 })
    }

    fn fill(&mut self, step: u64) -> Result<(), Failure> {
        // What is refused is posted again, by and by.
        let (mut refused_at_once, before, mut cpu) = (0, self.stored, 0.0);
        while self.stored < step {
            let load = Load::SendGrid(1000);
            let requests = Some(load.requests_for(step - self.stored));
            let plan = plan("filling", &self.bed.options);
            let fill = Plan { load, requests, connections: 8, seconds: 3600.0, rate: None, ..plan };
            self.bed.expects(false);
            let run = self.bed.measure(&fill)?;
            let accepted = run.accepted;
            // What was refused cost something too. The figure is for each accepted, and for one where none was.
            cpu += run.cpu_us_per_event("gateway") * accepted.max(1) as f64;
            self.bed.expects(true);
            if accepted == 0 {
                refused_at_once += 1;
                if refused_at_once == REFUSED_MAX {
                    return Err("no batch was accepted while the store was filled".into());
                }
                std::thread::sleep(PAUSE);
            }
            self.stored += accepted;
        }
        self.cost = cpu / (self.stored - before).max(1) as f64;
        Ok(())
    }

    fn measure(&mut self) -> Result<Run, Failure> {
        let plan = plan("flat", &self.bed.options);
        let mut run = measure(&mut self.bed, &plan)?;
        run.figures.insert("stored before".into(), self.stored as f64);
        run.figures.insert("CPU us of one filled in".into(), self.cost);
        self.stored += run.accepted;
        Ok(run)
    }
}
