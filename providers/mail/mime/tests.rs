//! What is found in mails that no program would compose.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::Part;
use crate::event::Mail;

fn mail(raw: &str) -> Mail {
    let message = Message::read(raw.as_bytes());
    let mut mail = message.head.mail();
    message.layout.tell(&mut mail);
    mail
}

#[test]
fn parts_end_where_their_own_boundary_is() {
    let raw = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=ab\n\npreamble\n--ab\n\
               Content-Type: multipart/alternative; boundary=\"a\"\n\n--a\n\nplain --ab\n--abc\n--a \t\n\
               Content-Type: text/html\n\n<p>\n--a--\nepilogue\n--ab\nContent-Disposition: attachment; filename=f\n\n\n--ab--\n";
    for raw in [raw.to_owned(), raw.replace('\n', "\r\n")] {
        let mail = mail(&raw);
        let text = mail.text.map(|text| text.replace("\r\n", "\n"));
        assert_eq!((text.as_deref(), mail.html.as_deref()), (Some("plain --ab\n--abc"), Some("<p>")));
        assert_eq!((mail.attachments.len(), mail.attachments[0].size), (1, Some(0)));
        assert!(mail.truncated.is_empty());
    }
}

#[test]
fn what_is_broken_is_read_as_far_as_it_goes() {
    assert_eq!(mail("").text.as_deref(), Some(""));
    assert_eq!(mail("no header").text.as_deref(), Some("no header"));
    assert_eq!(mail("\r\nno header").text.as_deref(), Some("no header"));
    assert_eq!(mail("Subject: no body").subject.as_deref(), Some("no body"));
    let cut_off =
        mail("Content-Type: multipart/mixed; boundary=a\n\n--a\n\ntext\n--a\nContent-Type: image/png\n\nrest");
    assert_eq!((cut_off.text.as_deref(), cut_off.attachments[0].size), (Some("text"), Some(4)));
    // Without parts it is an attachment, not nothing.
    let bare = mail("Content-Type: multipart/mixed\n\nrest");
    assert_eq!((bare.text, bare.attachments[0].size), (None, Some(4)));
    let second = mail("Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a\n\ntwo\n--a--");
    assert_eq!((second.text.as_deref(), second.attachments[0].size), (Some("one"), Some(3)));
}

#[test]
fn depth_and_parts_are_bounded() {
    let mut deep = String::new();
    for n in 0..=DEPTH_MAX {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{n}.\n\n--b{n}.\n");
    }
    let mail_of_deep = mail(&(deep + "\ntext"));
    assert_eq!(mail_of_deep.text, None);
    assert_eq!(mail_of_deep.attachments[0].content_type.as_deref(), Some("multipart/mixed"));

    let many =
        mail(&format!("Content-Type: multipart/mixed; boundary=a\n\n{}--a--", "--a\n\nx\n".repeat(PARTS_MAX * 3)));
    assert_eq!((many.text.as_deref(), &many.truncated[..]), (Some("x"), &["attachments".to_owned()][..]));
}

proptest! {
    #[test]
    fn any_mail_is_read_and_its_urls_lead_somewhere(
        raw in r#"(Content-Type: multipart/mixed; boundary=a\n|Content-Type: text/html\n|Content-Transfer-Encoding: base64\n|--a\n|--a--|\r?\n|[a=: ;"\\*'?-]|=\?utf-8\?q\?)*"#
    ) {
        let bytes = Bytes::from(raw);
        let message = Message::read(&bytes);
        let mut mail = message.head.mail();
        message.layout.tell(&mut mail);
        prop_assert_eq!(mail.text_url.is_some(), message.layout.content(&bytes, Part::Text).is_some());
        prop_assert_eq!(mail.html_url.is_some(), message.layout.content(&bytes, Part::Html).is_some());
        for attachment in &mail.attachments {
            let content = message.layout.content(&bytes, Part::Attachment(attachment.n)).expect("an attachment");
            prop_assert_eq!(Some(content.bytes.len() as u64), attachment.size);
        }
        prop_assert!(message.layout.content(&bytes, Part::Attachment(mail.attachments.len())).is_none());
    }
}
