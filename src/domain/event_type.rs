//! What a stored event may be: one of the eleven that providers tell of, or one of the five about Waypost itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waypost_providers::Kind;

use super::id::MailKey;

/// The type of a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EventType {
    /// One of the eleven.
    Provider(Kind),
    /// Of Waypost's own state.
    Operational(Operational),
}

/// What Waypost tells of its own state, in one of five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Operational {
    /// So many attempts failed in a row that an endpoint is only probed.
    #[serde(rename = "waypost.endpoint.failing")]
    EndpointFailing,
    /// Waypost disabled an endpoint, for what it answered or did not.
    #[serde(rename = "waypost.endpoint.disabled")]
    EndpointDisabled,
    /// The first success of an endpoint that was failing, or disabled.
    #[serde(rename = "waypost.endpoint.recovered")]
    EndpointRecovered,
    /// A delivery was given up.
    #[serde(rename = "waypost.delivery.exhausted")]
    DeliveryExhausted,
    /// Many requests in a row at a source could not prove who sent them.
    #[serde(rename = "waypost.source.rejecting")]
    SourceRejecting,
}

impl EventType {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider(kind) => kind.as_str(),
            Self::Operational(operational) => operational.as_str(),
        }
    }

    /// The same where it is one of the eleven.
    pub const fn provider(self) -> Option<Kind> {
        match self {
            Self::Provider(kind) => Some(kind),
            Self::Operational(_) => None,
        }
    }

    /// The same where such an event of this mail is in the feed and found by a search: what Waypost made is neither, be
    /// it about its own state or a sample.
    pub fn in_feed(self, mail: MailKey) -> Option<Kind> {
        self.provider().filter(|_| !mail.is_operational())
    }
}

impl From<Kind> for EventType {
    fn from(kind: Kind) -> Self {
        Self::Provider(kind)
    }
}

impl From<Operational> for EventType {
    fn from(operational: Operational) -> Self {
        Self::Operational(operational)
    }
}

impl Operational {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::EndpointFailing,
        Self::EndpointDisabled,
        Self::EndpointRecovered,
        Self::DeliveryExhausted,
        Self::SourceRejecting,
    ];

    /// The name on the wire, in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointFailing => "waypost.endpoint.failing",
            Self::EndpointDisabled => "waypost.endpoint.disabled",
            Self::EndpointRecovered => "waypost.endpoint.recovered",
            Self::DeliveryExhausted => "waypost.delivery.exhausted",
            Self::SourceRejecting => "waypost.source.rejecting",
        }
    }

    /// The one with exactly this name on the wire.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_stored_under_its_name() {
        let all = Kind::ALL.map(EventType::Provider).into_iter();
        for one in all.chain(Operational::ALL.map(EventType::Operational)) {
            let json = serde_json::to_value(one).unwrap();
            assert_eq!(json, one.as_str());
            assert_eq!(serde_json::from_value::<EventType>(json).unwrap(), one);
        }
        assert!(serde_json::from_str::<EventType>(r#""waypost.endpoint.late""#).is_err());
    }
}
