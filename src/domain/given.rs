//! What an operator gives of the shape of an endpoint's requests, and what it settles. Whoever makes endpoints calls this:
//! the config file, and an API.

use std::collections::BTreeMap;

use super::endpoint::{EndpointSettings, Scheme};
use super::format::{Format, FormatUnclear};
use super::secret::SigningSecret;
use super::signing::{self, HeaderError, SigningError};
use super::subscription::{Subscription, UnknownWord};

/// What was given; what is none is left to the format.
#[derive(Debug, Default)]
pub struct Given<'a> {
    /// The words of the subscription.
    pub events: Vec<String>,
    /// The format that was named.
    pub format: Option<Format>,
    /// The format of the route that the endpoint is made on, where that is one format's own.
    pub route: Option<Format>,
    /// The schemes asked for.
    pub signatures: Option<Vec<Scheme>>,
    /// The header of `hex` or `sha256`.
    pub signature_header: Option<String>,
    /// Seconds to wait after each failed attempt.
    pub retry: Option<Vec<u64>>,
    /// The endpoint's static headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its live secrets, newest first.
    pub secrets: &'a [SigningSecret],
}

/// What follows: fields of [`EndpointSettings`], and what is to be told of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// What it subscribes to.
    pub events: Subscription,
    /// The body it is sent.
    pub format: Format,
    /// The schemes in force.
    pub signatures: Vec<Scheme>,
    /// The schemes that it would have if its secrets were good for them.
    pub left_out: Vec<Scheme>,
    /// As given.
    pub signature_header: Option<String>,
    /// Seconds to wait after each failed attempt.
    pub retry: Vec<u64>,
    /// As given.
    pub headers: BTreeMap<String, String>,
}

/// What is wrong with it. The text is what is wrong and, after the last `; `, the remedy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// A word of `events`.
    #[error(transparent)]
    Events(#[from] UnknownWord),
    /// No `format`.
    #[error(transparent)]
    Format(#[from] FormatUnclear),
    /// `signatures`.
    #[error(transparent)]
    Signatures(#[from] SigningError),
    /// `signature_header`.
    #[error(transparent)]
    SignatureHeader(#[from] HeaderError),
    /// So many waits in `retry`.
    #[error("{0} waits are too many; keep {max} or fewer", max = EndpointSettings::RETRY_LEN_MAX)]
    Retry(usize),
}

impl GivenError {
    /// The field that it is about.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Events(_) => "events",
            Self::Format(_) => "format",
            Self::Signatures(_) => "signatures",
            Self::SignatureHeader(_) => "signature_header",
            Self::Retry(_) => "retry",
        }
    }
}

impl Given<'_> {
    /// Settles what was left open, and checks the whole.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn settle(self) -> Result<Settled, GivenError> {
        let events = Subscription::new(self.events)?;
        let format = Format::of_new(self.format, self.route, &events)?;
        let signing = signing::settle(self.signatures.as_deref(), format.signatures(), self.secrets)?;
        if let Some(name) = &self.signature_header {
            signing::check_header(name, &signing.schemes, &self.headers)?;
        }
        let retry = self.retry.unwrap_or_else(|| format.retry().to_vec());
        if retry.len() > EndpointSettings::RETRY_LEN_MAX {
            return Err(GivenError::Retry(retry.len()));
        }
        Ok(Settled {
            events,
            format,
            signatures: signing.schemes,
            left_out: signing.left_out,
            signature_header: self.signature_header,
            retry,
            headers: self.headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(given: Given<'_>) -> Result<Settled, &'static str> {
        let secrets = [SigningSecret::parse("your-webhook-secret").unwrap()];
        Given { secrets: &secrets, ..given }.settle().map_err(|error| error.field())
    }

    #[test]
    fn a_route_brings_its_format_and_a_format_the_rest() {
        let route = Some(Format::Platform);
        let settled = settle(Given { route, events: vec!["open".into()], ..Given::default() }).unwrap();
        assert_eq!((settled.format, settled.signatures), (Format::Platform, vec![Scheme::Hex]));
        assert_eq!(settled.retry, EndpointSettings::RETRY_DEFAULT);
        let settled = settle(Given::default()).unwrap();
        assert_eq!((settled.signatures, settled.left_out), (vec![Scheme::Drin], vec![Scheme::Standard]));
    }

    #[test]
    fn each_error_names_its_field() {
        let header = Some("X-Mine".to_owned());
        let wrong = [
            (Given { events: vec!["bouncy".into()], ..Given::default() }, "events"),
            (Given { events: vec!["open".into()], ..Given::default() }, "format"),
            (Given { format: Some(Format::Resend), ..Given::default() }, "signatures"),
            (Given { signature_header: header, ..Given::default() }, "signature_header"),
            (Given { retry: Some(vec![1; 21]), ..Given::default() }, "retry"),
        ];
        for (given, field) in wrong {
            assert_eq!(settle(given), Err(field));
        }
    }
}
