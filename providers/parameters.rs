//! Header values with parameters: `Content-Type`, `Content-Disposition`.

use crate::body::charset;
use crate::mail::encoded::decoded;

/// No header of a provider or a mail program has so many; a long file name in parts has some.
const PARAMETERS_MAX: usize = 128;

/// A value and its parameters (RFC 2045, RFC 2231).
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    /// What stands before the first parameter, in lower case.
    pub(crate) value: String,
    list: Vec<(String, String)>,
}

/// A piece of a parameter: `name*1*=…`.
struct Piece {
    name: String,
    /// `name=…`, for programs that do not know RFC 2231.
    is_plain: bool,
    index: usize,
    is_encoded: bool,
    text: String,
}

impl Parameters {
    pub(crate) fn read(header: &str) -> Self {
        let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
        for letter in header.chars() {
            match letter {
                _ if escaped => escaped = push(&mut parts, letter),
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ';' if !quoted && parts.len() <= PARAMETERS_MAX => parts.push(String::new()),
                _ => _ = push(&mut parts, letter),
            }
        }
        let mut parts = parts.into_iter();
        let value = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut pieces: Vec<_> = parts.filter_map(|part| piece(&part)).collect();
        pieces.sort_by(|left, right| left.order().cmp(&right.order()));
        let of_one =
            |left: &Piece, right: &Piece| left.name == right.name && !right.is_plain && left.index < right.index;
        let list = pieces.chunk_by(of_one).map(|pieces| (pieces[0].name.clone(), joined(pieces))).collect();
        Self { value, list }
    }

    /// The first parameter of this name (lower case).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Piece {
    fn order(&self) -> (&str, bool, usize) {
        (&self.name, self.is_plain, self.index)
    }
}

fn push(parts: &mut [String], letter: char) -> bool {
    parts.last_mut().into_iter().for_each(|part| part.push(letter));
    false
}

fn piece(part: &str) -> Option<Piece> {
    let (name, text) = part.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let (name, is_encoded) = name.strip_suffix('*').map_or((&*name, false), |name| (name, true));
    let numbered = name.split_once('*').and_then(|(name, index)| Some((name, index.parse().ok()?)));
    let is_plain = !is_encoded && numbered.is_none();
    let (name, index) = numbered.unwrap_or((name, 0));
    Some(Piece { name: name.to_owned(), is_plain, index, is_encoded, text: text.trim().to_owned() })
}

/// The charset stands in the first piece: `utf-8'en'…`.
fn joined(pieces: &[Piece]) -> String {
    let mut parts = pieces[0].text.splitn(3, '\'');
    let (label, after) = match (parts.next(), parts.next(), parts.next()) {
        (Some(label), Some(_), Some(text)) if pieces[0].is_encoded => (Some(label), text),
        _ => (None, pieces[0].text.as_str()),
    };
    // Many programs write the words of RFC 2047 here, which have no business here.
    if !pieces.iter().any(|piece| piece.is_encoded) {
        return decoded(&pieces.iter().map(|piece| piece.text.as_str()).collect::<String>());
    }
    let mut bytes = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let text = if n == 0 { after } else { &piece.text };
        match piece.is_encoded {
            true => bytes.extend(percent_encoding::percent_decode_str(text)),
            false => bytes.extend(text.bytes()),
        }
    }
    let charset = label.and_then(charset).unwrap_or(encoding_rs::UTF_8);
    charset.decode_without_bom_handling(&bytes).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(header: &str, name: &str) -> Option<String> {
        Parameters::read(header).get(name).map(str::to_owned)
    }

    #[test]
    fn reads_a_value_and_its_parameters() {
        let header = r#"Form-Data ; filename="; name=no"; Name="a \"b\" \\ c"; x"#;
        assert_eq!(Parameters::read(header).value, "form-data");
        assert_eq!(get(header, "name").as_deref(), Some(r#"a "b" \ c"#));
        assert_eq!(get(header, "x"), None);
        assert_eq!(get("a; b=1; b=2", "b").as_deref(), Some("1"));
        assert_eq!(get("a; b", "b"), None);
    }

    #[test]
    fn puts_together_what_rfc_2231_parts() {
        let name = |header: &str| get(&format!("attachment; {header}"), "filename").unwrap_or_default();
        assert_eq!(name("filename*=utf-8''r%C3%A9sum%C3%A9.txt"), "résumé.txt");
        assert_eq!(name("filename*=iso-8859-1'fr'r%E9sum%E9.txt"), "résumé.txt");
        assert_eq!(name("filename*1=b%20; filename*0=a; filename*2*=c%20"), "ab%20c ");
        // A character of several bytes is parted.
        assert_eq!(name("filename*0*=utf-8''%E2%82; filename*1*=%AC.txt"), "€.txt");
        assert_eq!(name("filename=\"=?utf-8?q?caf=C3=A9?=\""), "café");
        // What is plain is for programs that know no other.
        let (plain, encoded) = ("filename=\"r?sum?.txt\"", "filename*=utf-8''r%C3%A9sum%C3%A9.txt");
        let parted = "filename*0*=utf-8''r%C3%A9sum; filename*1*=%C3%A9.txt";
        for both in [[plain, encoded], [encoded, plain], [plain, parted], [parted, plain]] {
            assert_eq!(name(&both.join("; ")), "résumé.txt", "{both:?}");
        }
    }
}
