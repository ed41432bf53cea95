//! Mails as they were sent, made to cost much.

use std::fmt::Write;

use super::{Make, between, repeated};

/// A whole mail, so many bytes long.
pub(super) const MAILS: [(&str, Make); 16] = [
    ("many header fields", |len| between(b"", b"a:\n", b"\n", len)),
    ("a folded field", |len| between(b"To: a\n", b" b@c.example,\n", b"\n", len)),
    ("encoded words", |len| between(b"Subject: ", b"=?utf-8?q?=C3=A9?= ", b"\n\n", len)),
    ("beginnings of encoded words", |len| between(b"Subject: ", b"=?u?q=?", b"\n\n", len)),
    ("encoded words in addresses", |len| between(b"From: ", b"=?utf-8?b?w6k=?= <a@b>,", b"\n\n", len)),
    ("brackets and quotes in addresses", |len| between(b"Cc: ", b"<(\"a\\,", b"\n\n", len)),
    ("many message ids", |len| between(b"References: ", b"<a> ", b"\n\n", len)),
    ("pieces of a file name", pieces),
    ("parameters", |len| between(b"Content-Type: a/b", b";a*1*=%41", b"\n\n", len)),
    ("deep parts", deep),
    ("many parts", |len| parts(b"\n--b\nContent-Type: a/b; name=c\n\nx", len)),
    ("parts that are nearly ended", |len| parts(b"\n--bb\n--b \tb", len)),
    ("blanks behind a boundary", |len| parts(b"\n--b  \t  x", len)),
    ("quoted-printable", |len| leaf(b"quoted-printable", b"= \t=3D=\n=x", len)),
    ("base64", |len| leaf(b"base64", b"a=!GVs\n", len)),
    ("no empty line", |len| repeated(b"a: b\n c", len)),
];

fn parts(text: &[u8], len: usize) -> Vec<u8> {
    between(b"Content-Type: multipart/mixed; boundary=b\n", text, b"\n--b--", len)
}

fn leaf(encoding: &[u8], text: &[u8], len: usize) -> Vec<u8> {
    between(&[b"Content-Transfer-Encoding: ", encoding, b"\n\n"].concat(), text, b"", len)
}

fn pieces(len: usize) -> Vec<u8> {
    let mut head = "Content-Type: a/b; name*0*=utf-8''a".to_owned();
    for n in 1..len / 16 {
        write!(head, ";\n name*{n}*=%C3%A9").unwrap();
    }
    head.into_bytes()
}

fn deep(len: usize) -> Vec<u8> {
    let mut mail = String::new();
    for n in 0..len / 56 {
        write!(mail, "Content-Type: multipart/mixed; boundary=b{n}.\n\n--b{n}.\n").unwrap();
    }
    mail.into_bytes()
}
