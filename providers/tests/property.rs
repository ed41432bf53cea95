//! What holds for whatever anybody sends, with any provider's name on it.

use waypost_providers::{Draft, Headers, Request, Verified, VerifyError};

use crate::cases::Source;

/// What an adapter says of a request is no longer than so many times the request, and a little.
const GROWTH_MAX: usize = 256;

/// The lines of a head, an empty line, a body. A request line, and whatever is no header, is passed over.
fn request(input: &[u8], source: &Source) -> Request {
    let end = input.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = end.map_or((&[][..], input), |end| (&input[..end], &input[end + 4..]));
    let head = String::from_utf8_lossy(head);
    let headers: Headers = head.lines().filter_map(|line| line.split_once(": ")).collect();
    Request { source: "fuzz".into(), received_at: source.now, headers, body: body.to_vec().into() }
}

/// It is refused with a reason, or read as something. The same body is proven when the provider signs it.
pub(crate) fn verify(sources: &[Source], input: &[u8]) {
    for source in sources {
        let received = request(input, source);
        let body = received.body.clone();
        match source.proof.verify(source.provider, received, source.now) {
            Ok(verified) => read(source, &verified),
            Err(error) => {
                source.provider.refusal(&error);
                assert!(!error.to_string().is_empty());
            }
        }
        let Some(secret) = source.secret.as_deref() else { continue };
        // A body that cannot carry a signature is refused.
        let draft = Draft { body: &body, secret, now: source.now, nonce: [7; 16] };
        let Ok(signed) = source.proof.sign(source.provider, "fuzz", draft) else { continue };
        let sent =
            Request { source: "fuzz".into(), received_at: source.now, headers: signed.headers, body: signed.body };
        let proven = source.proof.verify(source.provider, sent, source.now);
        // Of a generic event its own time decides, which is signed as it is.
        let is_old = source.provider.name() == "generic" && matches!(proven, Err(VerifyError::Stale { .. }));
        if !is_old {
            read(source, &proven.expect("the provider signed it"));
        }
    }
}

/// What was proven once is read as something.
pub(crate) fn parse(sources: &[Source], input: &[u8]) {
    for source in sources {
        read(source, &Verified::restored(request(input, source)));
    }
}

fn read(source: &Source, verified: &Verified) {
    let parsed = source.provider.parse(verified);
    assert!(!parsed.is_empty(), "{} reads it as nothing", source.provider.name());
    let told = serde_json::to_vec(&parsed).expect("what is read can be written").len();
    let sent = verified.request().body.len();
    assert!(told <= 4_096 + sent * GROWTH_MAX, "{} says {told} bytes of {sent}", source.provider.name());
}
