//! Ways of writing text, undone wherever they stand in bytes. Each answers none where nothing is written so.

use percent_encoding::percent_decode;

fn hex(byte: Option<&u8>) -> Option<u32> {
    byte.and_then(|byte| char::from(*byte).to_digit(16))
}

fn push(text: &mut Vec<u8>, letter: char) {
    text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Copies what is not written so, and lets `read` put down the rest: it answers how many bytes that took.
fn decoded(bytes: &[u8], mark: u8, read: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>) -> Option<Vec<u8>> {
    let (mut text, mut from, mut is_changed) = (Vec::with_capacity(bytes.len()), 0, false);
    while let Some(next) = memchr::memchr(mark, &bytes[from..]) {
        text.extend_from_slice(&bytes[from..from + next]);
        from += next;
        let taken = read(&bytes[from..], &mut text);
        is_changed |= taken.is_some();
        if taken.is_none() {
            text.push(mark);
        }
        from += taken.unwrap_or(1);
    }
    text.extend_from_slice(&bytes[from..]);
    is_changed.then_some(text)
}

/// Without the escapes of JSON.
pub(super) fn unescaped(bytes: &[u8]) -> Option<Vec<u8>> {
    decoded(bytes, b'\\', |escape, text| {
        let plain = match escape.get(1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            same @ (b'"' | b'\\' | b'/') => *same,
            b'u' => {
                let code = (2..6).try_fold(0, |code, at| Some(code * 16 + hex(escape.get(at))?))?;
                // Half of a pair is no letter of any address.
                push(text, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Some(6);
            }
            _ => return None,
        };
        text.push(plain);
        Some(2)
    })
}

/// Without the percent-encoding of URLs.
pub(super) fn unpercented(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_code = |at: usize| hex(bytes.get(at + 1)).is_some() && hex(bytes.get(at + 2)).is_some();
    memchr::memchr_iter(b'%', bytes).any(is_code).then(|| percent_decode(bytes).collect())
}

/// Without that of forms, where `+` is a space: in anything else it may stand for itself.
pub(super) fn unpercented_form(bytes: &[u8]) -> Option<Vec<u8>> {
    let spaced = || bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>();
    memchr::memchr(b'+', bytes).map_or_else(|| unpercented(bytes), |_| unpercented(&spaced()))
}

/// Without the quoted-printable encoding of mail (RFC 2045, section 6.7), and that of its headers.
pub(super) fn unquoted(bytes: &[u8]) -> Option<Vec<u8>> {
    decoded(bytes, b'=', |code, text| match code {
        [_, b'\r', b'\n', ..] => Some(3),
        [_, b'\n', ..] => Some(2),
        _ => {
            text.push(u8::try_from(hex(code.get(1))? * 16 + hex(code.get(2))?).ok()?);
            Some(3)
        }
    })
}

/// Without the entities of HTML: those that are numbers, and those that have a name and stand in addresses.
pub(super) fn without_entities(bytes: &[u8]) -> Option<Vec<u8>> {
    const LEN_MAX: usize = 12;
    decoded(bytes, b'&', |entity, text| {
        let len = memchr::memchr(b';', &entity[..entity.len().min(LEN_MAX)])?;
        let name = std::str::from_utf8(&entity[1..len]).ok()?;
        let code = match name {
            "commat" => u32::from('@'),
            "period" => u32::from('.'),
            "lowbar" => u32::from('_'),
            "plus" => u32::from('+'),
            "lt" => u32::from('<'),
            "gt" => u32::from('>'),
            "quot" => u32::from('"'),
            "amp" => u32::from('&'),
            _ => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => name[1..].parse().ok()?,
            },
        };
        push(text, char::from_u32(code)?);
        Some(len + 1)
    })
}
