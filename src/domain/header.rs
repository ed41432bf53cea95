//! Names that an endpoint's static headers cannot have.

/// The header of a signature of the body alone (`hex`, `sha256`), unless the endpoint names another.
pub const BODY_SIGNATURE: &str = "x-webhook-signature";

/// The connection's own (RFC 9110, 7.6.1), what frames the body, and what this gateway sets or signs with.
const RESERVED: [&str; 16] = [
    "connection",
    "content-length",
    "content-type",
    "drin-signature",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    BODY_SIGNATURE,
];
/// Beginnings of such names.
const RESERVED_PREFIXES: [&str; 3] = ["svix-", "waypost-", "webhook-"];

/// Whether an endpoint's static headers cannot have this name; its case does not matter.
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_or_a_signature_needs_is_reserved_in_any_case() {
        for name in ["Host", "TE", "Expect", "Webhook-Id", "svix-timestamp", "Waypost-Replay", "X-Webhook-Signature"] {
            assert!(is_reserved(name), "{name}");
        }
    }

    #[test]
    fn the_rest_is_the_operators_own() {
        for name in ["authorization", "x-team", "webhook", "x-webhook-signature-2", "te2"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
