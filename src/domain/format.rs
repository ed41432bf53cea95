//! The bodies that an endpoint can be sent, and what follows from the choice of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{EndpointSettings, Scheme};
use super::subscription::{Dialect, Subscription};

/// A body, with the names and defaults that its consumers know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The eleven events whole; the only one with tags, metadata and the content of mail.
    #[default]
    Drin,
    /// The seed document 001.
    Platform,
    /// The seed document 002.
    Selfhosted,
    /// The seed document 003.
    Sentinmail,
    /// The seed document 004.
    Relaypost,
    /// Resend's own webhooks.
    Resend,
    /// CloudEvents 1.0, JSON, structured mode, around the `data` of `drin`.
    Cloudevents,
}

/// Waits of the seed documents 002 and 004: "three attempts" after the first.
const THREE_RETRIES: [u64; 3] = [60, 300, 1_800];

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Drin,
        Self::Platform,
        Self::Selfhosted,
        Self::Sentinmail,
        Self::Relaypost,
        Self::Resend,
        Self::Cloudevents,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drin => "drin",
            Self::Platform => "platform",
            Self::Selfhosted => "selfhosted",
            Self::Sentinmail => "sentinmail",
            Self::Relaypost => "relaypost",
            Self::Resend => "resend",
            Self::Cloudevents => "cloudevents",
        }
    }

    /// How its requests are signed unless the endpoint says otherwise.
    pub const fn signatures(self) -> &'static [Scheme] {
        match self {
            Self::Drin => &[Scheme::Drin, Scheme::Standard],
            Self::Platform | Self::Relaypost => &[Scheme::Hex],
            Self::Selfhosted | Self::Sentinmail => &[Scheme::Sha256],
            Self::Resend => &[Scheme::Svix],
            Self::Cloudevents => &[Scheme::Standard],
        }
    }

    /// Seconds to wait after each failed attempt unless the endpoint says otherwise.
    pub const fn retry(self) -> &'static [u64] {
        match self {
            Self::Selfhosted | Self::Relaypost => &THREE_RETRIES,
            Self::Drin | Self::Platform | Self::Sentinmail | Self::Resend | Self::Cloudevents => {
                &EndpointSettings::RETRY_DEFAULT
            }
        }
    }

    /// The format of a new endpoint: the one it names; else the one of the route it is made on, if that is one format's
    /// own; else the one whose names its subscription is written in.
    ///
    /// # Errors
    /// When the names are not those of one of `drin` and `selfhosted`.
    pub fn of_new(named: Option<Self>, route: Option<Self>, events: &Subscription) -> Result<Self, FormatUnclear> {
        if let Some(format) = named.or(route) {
            return Ok(format);
        }
        let all = |dialect| events.words().iter().all(|word| Dialect::of(word) == dialect);
        if all(Dialect::Dotted) {
            Ok(Self::Drin)
        } else if all(Dialect::Selfhosted) {
            Ok(Self::Selfhosted)
        } else {
            Err(FormatUnclear { words: events.words().to_vec() })
        }
    }
}

/// The names that a subscription uses do not tell one format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is missing, and `{}` does not tell it; use one of {}", words.join("`, `"), names())]
pub struct FormatUnclear {
    words: Vec<String>,
}

fn names() -> String {
    Format::ALL.map(|format| format!("`{}`", format.as_str())).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(named: Option<Format>, route: Option<Format>, words: &[&str]) -> Option<Format> {
        let events = Subscription::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap();
        Format::of_new(named, route, &events).ok()
    }

    #[test]
    fn names_tell_a_format_only_where_they_are_all_of_one() {
        let dotted = [
            &[][..],
            &["*", "waypost.*"],
            &["email.*", "domain.verified"],
            &["Email.Bounced", "contact.unsubscribed"],
            &["waypost.endpoint.failing"],
        ];
        for words in dotted {
            assert_eq!(told(None, None, words), Some(Format::Drin), "{words:?}");
        }
        for words in [&["delivered"][..], &["queued", "sending", "Bounced", "complained", "opened", "clicked"]] {
            assert_eq!(told(None, None, words), Some(Format::Selfhosted), "{words:?}");
        }
        let unclear =
            [&["delivered", "email.opened"][..], &["*", "bounced"], &["open"], &["email.open"], &["deferred"]];
        for words in unclear {
            assert_eq!(told(None, None, words), None, "{words:?}");
        }
    }

    #[test]
    fn a_named_format_comes_before_the_routes_and_both_before_the_names() {
        let (resend, platform) = (Some(Format::Resend), Some(Format::Platform));
        assert_eq!(told(resend, platform, &["delivered"]), resend);
        assert_eq!(told(None, platform, &["delivered", "email.opened"]), platform);
    }

    #[test]
    fn an_unclear_format_is_asked_for() {
        let events = Subscription::new(vec!["open".into(), "email.sent".into()]).unwrap();
        let told = Format::of_new(None, None, &events).unwrap_err().to_string();
        assert!(told.starts_with("is missing, and `open`, `email.sent` does not tell it; use one of `drin`"), "{told}");
    }

    #[test]
    fn a_format_is_stored_under_its_name() {
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
        }
    }
}
