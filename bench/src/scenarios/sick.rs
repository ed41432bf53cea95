//! Endpoints that are slow, dead or out of order.

use std::net::TcpListener;

use super::{measure, plan};
use crate::Failure;
use crate::args::Options;
use crate::bed::{Bed, Plan};
use crate::gateway::free_address;
use crate::receiver::Behaviour;
use crate::receiver::sick::{self, Sick};
use crate::report::Run;

/// How slow.
const DELAY_MS: u64 = 200;
/// Requests a second, if none are asked for: what an endpoint loses is to be seen, not what the gateway can take.
const RATE: f64 = 500.0;

/// How many endpoints there are among which some are sick, and how many of each kind.
const CROWD: usize = 1_000;
const SICK: usize = 10;
/// Events a second, each for every one of them.
const CROWD_RATE: f64 = 3.0;

/// Of all places, an endpoint is given one for so many that stay free.
const FREE_PLACES: f64 = 4.0;

/// Every endpoint takes 200 ms. As many attempts may be under way as the rate needs.
pub(super) fn slow(options: &Options) -> Result<Run, Failure> {
    let mut options = at_a_rate(options);
    let in_flight = (options.rate.unwrap_or(RATE) * DELAY_MS as f64 / 1000.0 * 2.0).ceil().max(32.0);
    options.endpoint_lines.push(format!("max_in_flight = {in_flight}"));
    let places = in_flight * (options.endpoints as f64 + FREE_PLACES);
    options.lines.push(format!("delivery.in_flight_max = {places}"));
    let mut bed = Bed::start(&options)?;
    bed.behave(Behaviour { delay_ms: DELAY_MS, ..Behaviour::default() })?;
    measure(&mut bed, &plan("slow: 200 ms", &options))
}

/// Nine of ten, with the tenth hanging, then with the tenth refusing connections.
pub(super) fn dead(options: &Options) -> Result<Vec<Run>, Failure> {
    let options = Options { endpoints: 9, ..at_a_rate(options) };
    // The system takes connections for it, and nobody reads them.
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let hangs = measure(&mut Bed::start_with(&options, &[hanging.local_addr()?])?, &plan("dead: one hangs", &options))?;
    let refusing = free_address()?;
    let refuses = measure(&mut Bed::start_with(&options, &[refusing])?, &plan("dead: one refuses", &options))?;
    Ok(vec![hangs, refuses])
}

/// A thousand endpoints without a sick one, then with thirty: ten are dead, ten take 14 s, ten answer a byte a second.
/// What the sick ones cost the healthy ones is the ratio of the two p99.
pub(super) fn crowd(options: &Options) -> Result<Vec<Run>, Failure> {
    let rate = options.rate.or(Some(CROWD_RATE));
    // More would be idle for so long that the gateway closes them.
    let options = Options { endpoints: CROWD - 3 * SICK, rate, connections: 4, ..options.clone() };
    let healthy = measure(&mut Bed::start(&options)?, &plan("crowd: all healthy", &options))?;
    let kinds: Vec<_> = [Sick::Dead, Sick::Slow, Sick::Drips].into_iter().flat_map(|kind| vec![kind; SICK]).collect();
    let mut bed = Bed::start_with(&options, &sick::start(&kinds)?)?;
    let mut with_sick = measure(&mut bed, &plan("crowd: thirty sick", &options))?;
    let p99 = |run: &Run| run.end_to_end.map_or(f64::NAN, |all| all.p99);
    with_sick.figures.insert("p99 / p99 without the sick".into(), p99(&with_sick) / p99(&healthy));
    Ok(vec![healthy, with_sick])
}

/// One answer of five is a 500, and each is tried again after a second.
pub(super) fn errors(options: &Options) -> Result<Run, Failure> {
    let mut options = at_a_rate(options);
    options.endpoint_lines.push(format!("retry = {:?}", [1; 20]));
    let mut bed = Bed::start(&options)?;
    bed.behave(Behaviour { errors_percent: 20, ..Behaviour::default() })?;
    bed.measure(&Plan { ..plan("errors: one of five", &options) })
}

fn at_a_rate(options: &Options) -> Options {
    Options { rate: options.rate.or(Some(RATE)), ..options.clone() }
}
