//! What holds for whatever anybody sends, with any provider's name on it.

use waypost_providers::event::Mail;
use waypost_providers::{Draft, Headers, Parsed, Part, Request, Verified, VerifyError};

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
    let mails = parsed.iter().filter_map(|parsed| match parsed {
        Parsed::Event(found) => found.event.data.mail.as_ref(),
        _ => None,
    });
    let mails: Vec<_> = mails.collect();
    let none = Mail::default();
    // Of what is not read as a mail there is no content, whatever is asked for.
    contents(source, verified.request(), mails.first().copied().unwrap_or(&none), mails.is_empty());
}

/// Each URL of an event leads to what the event says, and nothing else is served.
fn contents(source: &Source, request: &Request, mail: &Mail, is_none: bool) {
    let content = |part: Part| source.provider.content(request, part);
    // What is fetched from Resend and Mailgun has a URL too.
    let is_fetched = matches!(source.provider.name(), "resend" | "mailgun-inbound");
    let bodies = [(Part::Text, &mail.text, &mail.text_url), (Part::Html, &mail.html, &mail.html_url)];
    for (part, told, url) in bodies.into_iter().chain([(Part::Raw, &None, &mail.raw_url)]) {
        let served = content(part);
        assert!(is_none || served.is_some() == url.is_some() || is_fetched && served.is_none(), "{part:?}");
        if let Some((told, served)) = told.as_ref().zip(served) {
            assert_eq!(told.as_bytes(), served.bytes, "{part:?}");
        }
    }
    for attachment in &mail.attachments {
        match content(Part::Attachment(attachment.n)) {
            Some(served) => {
                assert_eq!(attachment.size, Some(served.bytes.len() as u64));
                assert_eq!(attachment.filename, served.filename);
                assert!(served.content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
            }
            None => assert!(is_fetched || attachment.url.is_none()),
        }
    }
    assert!(is_none || content(Part::Attachment(mail.attachments.len())).is_none());
}
