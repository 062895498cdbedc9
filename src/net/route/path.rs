//! What a path may mean to whoever answers it. Servers differ in what they decode, merge and resolve: a path is
//! compared with routes in each of its forms, and nothing is changed.

use std::collections::BTreeSet;

/// How often a path may be percent-encoded over.
const DECODE_MAX: usize = 3;

/// A path that cannot be told: encoded too often, or with bytes that some servers read as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclear;

/// All forms of a path, one where it is plain: as it is, decoded (also more than once), with `\` for `/`, without
/// parameters of segments (`;x`), with `//` merged, with `.` and `..` resolved.
pub(super) fn forms(path: &str) -> Result<BTreeSet<Vec<u8>>, Unclear> {
    let path = path.as_bytes();
    if is_plain(path) {
        return Ok(BTreeSet::from([path.to_vec()]));
    }
    let mut forms = BTreeSet::new();
    let mut decoded = path.to_vec();
    for _ in 0..=DECODE_MAX {
        add_variants(&decoded, &mut forms);
        let next = decode(&decoded);
        if next == decoded {
            return Ok(forms);
        }
        // A string may end at a zero; 0xC0 and 0xC1 begin longer spellings of ASCII, which no UTF-8 has.
        if next.iter().any(|byte| matches!(byte, 0 | 0xC0 | 0xC1)) {
            return Err(Unclear);
        }
        decoded = next;
    }
    Err(Unclear)
}

fn is_plain(path: &[u8]) -> bool {
    let pairs = path.iter().zip(path.iter().skip(1));
    !path.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';'))
        && !pairs.into_iter().any(|(one, next)| *one == b'/' && matches!(next, b'/' | b'.'))
}

fn add_variants(path: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for choice in 0..16_u8 {
        let is_chosen = |nth: u8| choice & (1 << nth) != 0;
        let mut form = path.to_vec();
        if is_chosen(0) {
            form.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        if is_chosen(1) {
            form = without_parameters(&form);
        }
        if is_chosen(2) {
            form.dedup_by(|next, before| *next == b'/' && *before == b'/');
        }
        if is_chosen(3) {
            form = resolved(&form);
        }
        forms.insert(form);
    }
}

/// Percent-decoded once; what is no escape stays.
pub(super) fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                decoded.push(byte);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    decoded
}

/// The byte of the escape that stands first.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare = segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default());
    bare.collect::<Vec<_>>().join(&b'/')
}

/// Without `.` and `..` (RFC 3986 section 5.2.4).
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b".." => drop(kept.pop()),
            b"." => {}
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push(b"");
        }
    }
    let mut path = vec![b'/'];
    path.extend(kept.join(&b'/'));
    path
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn texts(path: &str) -> Vec<String> {
        forms(path).unwrap().into_iter().map(|form| String::from_utf8(form).unwrap()).collect()
    }

    #[test]
    fn a_plain_path_has_one_form() {
        for path in ["/", "/a/b.js", "/a/b..c", "*"] {
            assert_eq!(texts(path), [path]);
        }
    }

    #[test]
    fn whatever_a_server_may_read_is_among_the_forms() {
        for (path, read) in [
            ("/%61dmin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/x/..%2fadmin", "/admin"),
            ("/x/..;/admin", "/admin"),
            ("/x/%2e%2e%3ba/admin", "/admin"),
            ("//admin", "/admin"),
            ("/x//../admin", "/admin"),
            ("/x//../admin", "/x/admin"),
            ("/x\\..\\admin", "/admin"),
            ("/x/..%5cadmin", "/admin"),
            ("/admin;jsessionid=1/x", "/admin/x"),
            ("/./admin/.", "/admin/"),
            ("/../../admin", "/admin"),
            ("/admin/..", "/"),
        ] {
            assert!(texts(path).iter().any(|form| form == read), "{path}: {read} in {:?}", texts(path));
        }
    }

    #[test]
    fn what_cannot_be_told_is_none() {
        for path in ["/%00", "/a%2500", "/%c0%ae%c0%ae/admin", "/%252525252e", "/%C1%9c"] {
            assert_eq!(forms(path), Err(Unclear), "{path}");
        }
        assert!(forms("/%zz%4").is_ok() && forms("/%").is_ok() && forms("/ä%20ö").is_ok());
    }
}
