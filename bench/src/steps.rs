//! The pure steps of the gateway one by one, each on one realistic request or event.

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::Bytes;
use jiff::Timestamp;
use waypost::domain::endpoint::{Endpoint, EndpointSettings, Origin, Scheme};
use waypost::domain::fan_out;
use waypost::domain::format::Format;
use waypost::domain::plan::{Generation, StoredEvent};
use waypost::domain::secret::SigningSecret;
use waypost::domain::subscription::Subscription;
use waypost::outbound::format::drin;
use waypost::outbound::{request, sign};
use waypost_providers::{Draft, Headers, Keys, Parsed, Provider, Request, Verified, by_name};

use crate::Failure;
use crate::load::{Load, body, keys, secret};

/// A step that is ready to be made again and again.
pub(crate) type Ready = Box<dyn FnMut()>;

/// Prepares a step.
type Prepare = fn() -> Result<Ready, Failure>;

/// Every step, by its name.
pub(crate) const STEPS: [(&str, Prepare); 11] = [
    ("verify resend", || verify(Load::Resend)),
    ("verify sendgrid-50", || verify(Load::SendGrid(50))),
    ("verify mailgun", || verify(Load::Mailgun)),
    ("parse resend", || parse(Load::Resend)),
    ("parse sendgrid-50", || parse(Load::SendGrid(50))),
    ("parse mailgun", || parse(Load::Mailgun)),
    ("plan resend, 1 endpoint", || plan(Load::Resend, 1)),
    ("plan sendgrid-50, 10 endpoints", || plan(Load::SendGrid(50), 10)),
    ("render drin", render),
    ("sign drin and standard", sign_both),
    ("build a delivery", build),
];

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Any time will do, as long as it is always the same.
const SECONDS: i64 = 1_780_000_000;

fn now() -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_second(SECONDS)?)
}

/// A signed request as it was received, and what believes it.
fn received(load: Load) -> Result<(&'static dyn Provider, Keys, Request), Failure> {
    let (source, body) = body(load, 7, now()?)?;
    let provider = by_name(source).ok_or("no such provider")?;
    let draft = Draft { body: body.as_bytes(), secret: &secret(source)?, now: now()?, nonce: [7; 16] };
    let signed = provider.sign(draft)?;
    let usual = [("host", "hooks.example"), ("user-agent", "Provider/1.0"), ("content-type", "application/json")];
    let headers: Headers = usual.into_iter().chain(signed.headers.iter()).collect();
    let keys: BTreeMap<_, _> = keys(source)?;
    let keys = Keys::read(provider, &keys).map_err(|(_, error)| error)?;
    Ok((provider, keys, Request { source: source.into(), received_at: now()?, headers, body: signed.body }))
}

fn verified(load: Load) -> Result<(&'static dyn Provider, Verified), Failure> {
    let (provider, keys, request) = received(load)?;
    Ok((provider, provider.verify(request, &keys, now()?)?))
}

fn verify(load: Load) -> Result<Ready, Failure> {
    let (provider, keys, request) = received(load)?;
    let now = now()?;
    Ok(Box::new(move || drop(black_box(provider.verify(black_box(request.clone()), &keys, now)))))
}

fn parse(load: Load) -> Result<Ready, Failure> {
    let (provider, verified) = verified(load)?;
    Ok(Box::new(move || drop(black_box(provider.parse(black_box(&verified))))))
}

fn plan(load: Load, count: usize) -> Result<Ready, Failure> {
    let (provider, verified) = verified(load)?;
    let (parsed, endpoints) = (provider.parse(&verified), endpoints(count)?);
    let plan = move || fan_out::plan(provider, &verified, black_box(&parsed), Generation(1), &endpoints, &[]);
    Ok(Box::new(move || drop(black_box(plan()))))
}

/// The event of a Resend request, as a sender reads it from the store.
fn stored() -> Result<StoredEvent, Failure> {
    let (provider, verified) = verified(Load::Resend)?;
    let parsed: Vec<Parsed> = provider.parse(&verified);
    let ingest = fan_out::plan(provider, &verified, &parsed, Generation(1), &endpoints(1)?, &[])?;
    let unit = ingest.units.first().ok_or("no event")?;
    Ok(serde_json::from_slice(&unit.json)?)
}

fn render() -> Result<Ready, Failure> {
    let event = stored()?;
    Ok(Box::new(move || drop(black_box(drin::render(black_box(&event))))))
}

fn sign_both() -> Result<Ready, Failure> {
    let (event, secrets, now) = (stored()?, [SigningSecret::parse(SECRET)?], now()?);
    let body: Bytes = drin::render(&event)?;
    let schemes = [Scheme::Drin, Scheme::Standard];
    Ok(Box::new(move || drop(black_box(sign::sign(&schemes, &secrets, event.id.as_str(), now, black_box(&body))))))
}

fn build() -> Result<Ready, Failure> {
    let (event, secrets, now) = (stored()?, [SigningSecret::parse(SECRET)?], now()?);
    let endpoint = endpoints(1)?.remove(0).settings;
    Ok(Box::new(move || drop(black_box(request::build(&endpoint, &secrets, black_box(&event), None, 1, now)))))
}

fn endpoints(count: usize) -> Result<Vec<Endpoint>, Failure> {
    let one = |number: usize| -> Result<Endpoint, Failure> {
        let settings = EndpointSettings {
            url: format!("https://receiver-{number}.example/hooks"),
            format: Format::Drin,
            events: Subscription::new(vec![])?,
            sources: vec![],
            tags: vec![],
            signatures: vec![Scheme::Drin, Scheme::Standard],
            signature_header: None,
            headers: BTreeMap::new(),
            retry: EndpointSettings::RETRY_DEFAULT.to_vec(),
            timeout_s: EndpointSettings::TIMEOUT_S_DEFAULT,
            max_in_flight: EndpointSettings::MAX_IN_FLIGHT_DEFAULT,
            rate_limit: None,
            description: None,
            active: true,
            fetches: false,
        };
        let id = format!("wh_{number}").as_str().into();
        Ok(Endpoint {
            id,
            number: 1,
            settings,
            origin: Origin::File,
            disabled: None,
            enabled_at: None,
            created_at: now()?,
        })
    };
    (0..count).map(one).collect()
}
