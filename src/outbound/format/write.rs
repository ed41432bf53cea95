//! How values are written: times, addresses and texts.

use bytes::Bytes;
use serde::{Serialize, Serializer};

/// Room for the usual body.
const BODY_BYTES: usize = 512;
/// A free text that is longer is cut.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// What a cut text ends in.
const CUT: &str = "…";

/// A body as compact JSON, its keys in the order of the fields.
pub(super) fn json(body: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    serde_json::to_writer(&mut bytes, body)?;
    Ok(bytes.into())
}

/// A time in whole seconds, floored, of one with decimals: `2026-03-14T09:27:01Z`.
#[derive(Clone, Copy)]
pub(super) struct Seconds<'a>(pub(super) &'a str);

impl Serialize for Seconds<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.split_once('.') {
            Some((seconds, _)) => serializer.collect_str(&format_args!("{seconds}Z")),
            None => serializer.serialize_str(self.0),
        }
    }
}

/// A free text, cut at 4 KiB. Links are cut too: a body that no receiver takes would be worse.
#[derive(Clone, Copy)]
pub(super) struct Cut<'a>(pub(super) &'a str);

impl Serialize for Cut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0;
        if text.len() <= TEXT_BYTES_MAX {
            return serializer.serialize_str(text);
        }
        let kept = &text[..text.floor_char_boundary(TEXT_BYTES_MAX - CUT.len())];
        serializer.collect_str(&format_args!("{kept}{CUT}"))
    }
}

/// The address alone, of one that may have a name: `Nora <nora@customer.example>`.
pub(super) fn bare(address: &str) -> &str {
    let address = address.trim();
    address.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')).map_or(address, |(_, inner)| inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Serialize) -> String {
        serde_json::from_slice(&json(&value).unwrap()).unwrap()
    }

    #[test]
    fn times_are_floored() {
        assert_eq!(written(Seconds("2026-03-14T09:27:01.999Z")), "2026-03-14T09:27:01Z");
        assert_eq!(written(Seconds("2026-03-14T09:27:01Z")), "2026-03-14T09:27:01Z");
    }

    #[test]
    fn a_text_is_cut_between_two_characters() {
        let fits = "é".repeat(2_048);
        assert_eq!(written(Cut(&fits)), fits);
        // 4,093 is in the middle of an é.
        let cut = written(Cut(&"é".repeat(2_049)));
        assert_eq!(cut, "é".repeat(2_046) + "…");
        assert_eq!(written(Cut(&"a".repeat(5_000))).len(), 4_096);
    }

    #[test]
    fn an_address_is_taken_out_of_its_name() {
        for (given, expected) in [
            ("nora@customer.example", "nora@customer.example"),
            ("Nora Vance <nora@customer.example>", "nora@customer.example"),
            (r#""<b>" <nora@customer.example> "#, "nora@customer.example"),
            ("<nora@customer.example>", "nora@customer.example"),
            (r#""a<b>c"@customer.example"#, r#""a<b>c"@customer.example"#),
        ] {
            assert_eq!(bare(given), expected);
        }
    }
}
