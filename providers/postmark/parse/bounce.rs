//! What Postmark calls bounces (postmarkapp.com, "Bounce API", "Bounce types"; `ActiveCampaign/postmark.js`, "Bounce.ts").
//! Names, not codes: its examples give `SpamComplaint` as 512, and the table as 100001.

use serde_json::Value;

use crate::event::{Bounce, BounceClass, Kind};
use crate::fields::{smtp, text};

/// What one of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Bounced(BounceClass),
    Complained,
    /// Postmark did not take the mail, or could not make it.
    Failed,
    Unsubscribed,
}

impl Meaning {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Bounced(_) => Kind::Bounced,
            Self::Complained => Kind::Complained,
            Self::Failed => Kind::Failed,
            Self::Unsubscribed => Kind::Unsubscribed,
        }
    }
}

/// Of a type; none where no mail of ours has failed, or nobody knows.
pub(super) fn meaning(kind: &str) -> Option<Meaning> {
    use BounceClass::{Blocked, Hard, Soft, Suppressed, Undetermined};
    match kind {
        "HardBounce" | "BadEmailAddress" => Some(Meaning::Bounced(Hard)),
        // All final: Postmark has "ceased attempting to send" (its support, "How to fix soft bounces").
        "SoftBounce" | "Transient" | "DnsError" => Some(Meaning::Bounced(Soft)),
        // For content, reputation or policy. `SpamNotification` is a server's verdict, not a person's complaint.
        "SpamNotification" | "VirusNotification" | "Blocked" | "DMARCPolicy" => Some(Meaning::Bounced(Blocked)),
        // Switched off by hand, or never confirmed: no server was asked.
        "ManuallyDeactivated" | "Unconfirmed" => Some(Meaning::Bounced(Suppressed)),
        "Unknown" => Some(Meaning::Bounced(Undetermined)),
        "SpamComplaint" => Some(Meaning::Complained),
        "SMTPApiError" | "TemplateRenderingFailed" => Some(Meaning::Failed),
        "Unsubscribe" => Some(Meaning::Unsubscribed),
        // `Subscribe`, `AutoResponder`, `AddressChange` and `ChallengeVerification` are answers to mail that came in,
        // `OpenRelayTest` is no answer, and `InboundError` is of mail that others sent.
        _ => None,
    }
}

pub(super) fn detail(given: &Value) -> Option<Bounce> {
    let reason = text(&given["Type"])?;
    let Meaning::Bounced(class) = meaning(&reason)? else { return None };
    let message = text(&given["Details"]).or_else(|| text(&given["Description"]));
    let smtp = smtp(message.as_deref());
    Some(Bounce {
        class,
        code: smtp.code,
        status: smtp.status,
        reason: Some(reason),
        message,
        mx_host: None,
        retries_exhausted: class == BounceClass::Soft,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Postmark's own table, in its order.
    #[test]
    fn every_type_is_decided() {
        use BounceClass::{Blocked, Hard, Soft, Suppressed, Undetermined};
        let table = [
            ("HardBounce", Some(Meaning::Bounced(Hard))),
            ("Transient", Some(Meaning::Bounced(Soft))),
            ("Unsubscribe", Some(Meaning::Unsubscribed)),
            ("Subscribe", None),
            ("AutoResponder", None),
            ("AddressChange", None),
            ("DnsError", Some(Meaning::Bounced(Soft))),
            ("SpamNotification", Some(Meaning::Bounced(Blocked))),
            ("OpenRelayTest", None),
            ("Unknown", Some(Meaning::Bounced(Undetermined))),
            ("SoftBounce", Some(Meaning::Bounced(Soft))),
            ("VirusNotification", Some(Meaning::Bounced(Blocked))),
            ("ChallengeVerification", None),
            ("BadEmailAddress", Some(Meaning::Bounced(Hard))),
            ("SpamComplaint", Some(Meaning::Complained)),
            ("ManuallyDeactivated", Some(Meaning::Bounced(Suppressed))),
            ("Unconfirmed", Some(Meaning::Bounced(Suppressed))),
            ("Blocked", Some(Meaning::Bounced(Blocked))),
            ("SMTPApiError", Some(Meaning::Failed)),
            ("InboundError", None),
            ("DMARCPolicy", Some(Meaning::Bounced(Blocked))),
            ("TemplateRenderingFailed", Some(Meaning::Failed)),
            ("Unheard", None),
            ("hardbounce", None),
        ];
        for (kind, decided) in table {
            assert_eq!(meaning(kind), decided, "{kind}");
        }
    }
}
