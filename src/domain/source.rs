//! Sources: who may call in, how they prove it, and where the content of their mail is to be had if it does not come
//! along.

use std::fmt;
use std::sync::Arc;

use waypost_providers::{Proof, Provider};

use super::endpoint::EndpointSettings;
use super::format::Format;
use super::id::EndpointId;
use super::secret::Secret;
use super::subscription::Subscription;

/// The name of the source behind `POST /api/webhooks`.
pub const DEFAULT_SOURCE: &str = "default";

/// The longest name of a source, and the longest id of an endpoint.
pub const NAME_LEN_MAX: usize = 64;

/// Whether a source can be called so: it stands in a URL.
pub fn is_name(text: &str) -> bool {
    let in_url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(in_url)
}

/// What leads the id of the endpoint that stands for the fetching of a source's mail.
pub const FETCH_PREFIX: &str = "fetch_";

/// Mails a second that are fetched at one source: two or three calls each, and Resend takes two calls a second of an
/// account unless it is asked for more (resend.com, "Usage Limits").
const MAILS_A_SECOND: u32 = 1;

/// One source of the config file.
#[derive(Clone)]
pub struct Source {
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// What its requests are proven with.
    pub proof: Arc<Proof>,
    /// How the content of its mail is fetched, where the webhook only names it, and it is.
    pub fetching: Option<Arc<Fetching>>,
}

/// The provider's API, and the key to it.
#[derive(Clone, Debug)]
pub struct Fetching {
    /// The key.
    pub key: Secret,
    /// Where the API is, without a slash at its end.
    pub url: String,
    /// Seconds that fetching one mail may take at a time; the parts that were fetched by then are not fetched again.
    pub timeout_s: u64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("provider", &self.provider.name()).field("proof", &self.proof).finish()
    }
}

impl Fetching {
    /// [`Self::timeout_s`], unless it is told.
    pub const TIMEOUT_S_DEFAULT: u64 = 60;

    /// The endpoint that stands for it: so that what is to be fetched is kept, tried again, limited, shown and told of as
    /// deliveries are.
    pub fn endpoint(&self, source: &str) -> Option<(EndpointId, EndpointSettings)> {
        let settings = EndpointSettings {
            url: self.url.clone(),
            format: Format::default(),
            events: Subscription::new(vec!["email.received".into()]).ok()?,
            sources: vec![source.to_owned()],
            tags: Vec::new(),
            signatures: Vec::new(),
            signature_header: None,
            headers: Default::default(),
            retry: EndpointSettings::RETRY_DEFAULT.to_vec(),
            timeout_s: self.timeout_s,
            max_in_flight: 1,
            rate_limit: Some(MAILS_A_SECOND),
            description: Some(format!("Fetches the content of the mail of the source {source}")),
            active: true,
            fetches: true,
        };
        Some((format!("{FETCH_PREFIX}{source}").as_str().into(), settings))
    }
}
