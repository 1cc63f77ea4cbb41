//! The two readings of a path.
//!
//! *Canonical*: unreserved octets decoded, hex upper-cased, what RFC 3986 does not allow raw encoded; the same path to
//! every server. *Lenient*: decoded until nothing more can be, `/` and `\` separate, empty segments and parameters are
//! dropped. What has one spelling only (`%20`, `%C3%A9`, `%7C`) stays encoded in both.

use super::BadPath;

/// Whether the path is canonical and its own lenient reading, for sure: a quick look that most requests pass.
pub(super) fn is_plain(path: &str) -> bool {
    path.bytes().all(|octet| is_pchar(octet) && octet != b';') && !path.contains("//") && !path.contains("/.")
}

/// The path as it is matched and sent.
pub(super) fn canonical(raw: &str) -> Result<String, BadPath> {
    let mut path = String::with_capacity(raw.len());
    let mut octets = raw.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'%' => match (octets.next(), octets.next()) {
                (Some(high), Some(low)) => match decode(high, low).ok_or(BadPath::BrokenEncoding)? {
                    octet if is_unreserved(octet) => path.push(char::from(octet)),
                    octet => push_encoded(&mut path, octet),
                },
                _ => return Err(BadPath::BrokenEncoding),
            },
            _ if is_pchar(octet) => path.push(char::from(octet)),
            // Browsers send these raw, though RFC 3986 has no place for them in a path.
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => push_encoded(&mut path, octet),
            _ => return Err(BadPath::Forbidden),
        }
    }
    Ok(path)
}

/// The path as the most permissive server takes it.
pub(super) fn lenient(canonical: &str) -> Result<String, BadPath> {
    let mut path = String::with_capacity(canonical.len());
    let mut decoded = String::new();
    let mut ends_with_separator = false;
    for segment in canonical.split('/').skip(1) {
        decode_fully(segment, &mut decoded)?;
        let (named, parameters) = decoded.split_once(';').unwrap_or((&decoded, ""));
        if parameters.contains(is_separator) {
            return Err(BadPath::SplitParameter);
        }
        for element in named.split(is_separator) {
            if element == "." || element == ".." {
                return Err(BadPath::DotSegment);
            }
            ends_with_separator = element.is_empty();
            if !ends_with_separator {
                path.push('/');
                push_element(&mut path, element);
            }
        }
    }
    if ends_with_separator {
        path.push('/');
    }
    Ok(path)
}

fn is_separator(character: char) -> bool {
    character == '/' || character == '\\'
}

/// Decodes what the lenient reading decodes, again and again, in one pass: an escape that a decoded octet completes is
/// decoded in its turn. What is not decoded is upper-cased.
fn decode_fully(segment: &str, decoded: &mut String) -> Result<(), BadPath> {
    decoded.clear();
    for character in segment.chars() {
        decoded.push(character);
        while let [.., b'%', high, low] = *decoded.as_bytes()
            && let Some(octet) = decode(high, low)
        {
            decoded.truncate(decoded.len() - 3);
            match octet {
                0 => return Err(BadPath::Forbidden),
                b'%' | b'\\' => decoded.push(char::from(octet)),
                _ if is_pchar(octet) => decoded.push(char::from(octet)),
                _ => {
                    push_encoded(decoded, octet);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Writes a decoded element: a `%` that begins no escape is a percent sign, which has to be encoded again.
fn push_element(path: &mut String, element: &str) {
    let octets = element.as_bytes();
    for (at, character) in element.char_indices() {
        path.push(character);
        let begins_escape = matches!(octets[at + 1..], [high, low, ..] if decode(high, low).is_some());
        if character == '%' && !begins_escape {
            path.push_str("25");
        }
    }
}

fn push_encoded(path: &mut String, octet: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    path.push('%');
    path.push(char::from(HEX[usize::from(octet >> 4)]));
    path.push(char::from(HEX[usize::from(octet & 15)]));
}

fn decode(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// RFC 3986 section 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3, and the slash between segments.
fn is_pchar(octet: u8) -> bool {
    is_unreserved(octet)
        || matches!(
            octet,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}
