//! The ways in which apps read one path, and the one form that they all read alike.
//!
//! A decoded path is text in which marks stand for what apps disagree about: whether `%2f` and `%5c` separate segments,
//! and whether `%3b` begins a parameter. The marks are control characters, and no path with one of its own passes.

use std::borrow::Cow;

use crate::{
    config::{Handling, Paths},
    reason::Reason,
};

const SLASH: char = '\u{1}';
const BACKSLASH: char = '\u{2}';
const SEMICOLON: char = '\u{3}';
/// Not encoded. It is no character of a URI (RFC 3986), so that no two parsers agree about it.
const RAW_BACKSLASH: char = '\u{4}';

/// Not a character, but the choice to cut parameters from the last segment only, as Python's `urlparse` does.
const LAST_SEMICOLON: char = '\u{5}';

/// What encodes a character about which apps disagree.
const MARKED: [(u8, char); 3] = [(b'/', SLASH), (b'\\', BACKSLASH), (b';', SEMICOLON)];
/// What a second decoder would make structure of.
const STRUCTURE: &[u8] = br"/\.;%?#";

/// Whether `path` is what every app reads alike, without decoding it. Nearly every path is.
pub(super) fn is_plain(path: &str) -> bool {
    let (mut before, mut odd) = (0, false);
    for byte in path.bytes() {
        if !byte.is_ascii_graphic() || matches!(byte, b'%' | b'\\' | b';') {
            return false;
        }
        // `/.well-known` and the like need another look.
        odd |= before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
    }
    !odd || is_certain(path)
}

/// Whether there is one reading of the decoded `path`, and that is `path` itself.
pub(super) fn is_certain(path: &str) -> bool {
    let doubtful = |c: char| c == ';' || (SLASH..=RAW_BACKSLASH).contains(&c);
    !path.contains(doubtful) && !has_dots(path) && !has_gaps(path)
}

/// Decodes `path` once, and marks what apps disagree about.
///
/// # Errors
/// `path_ambiguous` for what no setting lets pass: control characters, broken escapes, bytes that are not UTF-8, and
/// what a second decoder would read differently.
pub(super) fn decode(path: &str) -> Result<String, Reason> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let byte = escape(rest).filter(|byte| !byte.is_ascii_control()).ok_or(Reason::PathAmbiguous)?;
            let mark = MARKED.iter().find(|(marked, _)| *marked == byte);
            decoded.push(mark.map_or(byte, |(_, mark)| *mark as u8));
            rest = &rest[2..];
        } else if byte == b'\\' {
            decoded.push(RAW_BACKSLASH as u8);
        } else if byte.is_ascii_graphic() {
            decoded.push(byte);
        } else {
            return Err(Reason::PathAmbiguous);
        }
    }
    for (i, _) in decoded.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let twice = escape(&decoded[i + 1..]);
        if twice.is_some_and(|byte| byte.is_ascii_control() || STRUCTURE.contains(&byte)) {
            return Err(Reason::PathAmbiguous);
        }
    }
    String::from_utf8(decoded).map_err(|_| Reason::PathAmbiguous)
}

/// `path`, which is not decoded, rewritten as far as `paths` says `normalize`. Whatever else is in it stays as it is
/// written.
///
/// # Errors
/// `path_ambiguous` when it climbs above the root.
pub(super) fn rewrite(path: &str, paths: Paths) -> Result<Cow<'_, str>, Reason> {
    let slashes = match paths.encoded_slash {
        Handling::Normalize => Cow::Owned(with_slashes(path)),
        Handling::Reject | Handling::Pass => Cow::Borrowed(path),
    };
    if paths.ambiguous != Handling::Normalize {
        return Ok(slashes);
    }
    let mut kept = Vec::new();
    let mut closed = false;
    for segment in slashes.split('/').skip(1) {
        let segment_is = |dots: &str| segment.to_ascii_lowercase().replace("%2e", ".") == dots;
        closed = true;
        if segment_is("..") {
            kept.pop().ok_or(Reason::PathAmbiguous)?;
        } else if !segment.is_empty() && !segment_is(".") {
            kept.push(segment);
            closed = false;
        }
    }
    let end = if closed && !kept.is_empty() { "/" } else { "" };
    Ok(Cow::Owned(format!("/{}{end}", kept.join("/"))))
}

/// The decoded form of `path`, which is not decoded, that is as short as it gets: all separators are slashes, and there
/// are no empty segments and no dot segments.
///
/// # Errors
/// `path_ambiguous` when it climbs above the root, or cannot be decoded.
pub(super) fn canonical(path: &str) -> Result<String, Reason> {
    let all = Paths { ambiguous: Handling::Normalize, encoded_slash: Handling::Normalize };
    Ok(read(&decode(&rewrite(path, all)?)?, &[]))
}

/// Every reading of `decoded` that an app could make: with `%2f` and `%5c` as separators or as characters, with
/// parameters or without, with empty segments or without, in all combinations.
///
/// # Errors
/// `path_ambiguous` when there is something in it that `paths` does not pass, or that never passes: a dot segment in any
/// of the readings, because apps resolve them at different moments, and no client that means well sends one; `//` at the
/// beginning, after which some expect a host; a backslash that is not encoded; a parameter with a separator in it.
pub(super) fn readings(decoded: &str, paths: Paths) -> Result<Vec<String>, Reason> {
    let separators = decoded.contains([SLASH, BACKSLASH]);
    let torn = |segment: &str| segment.split_once(';').is_some_and(|(_, rest)| rest.contains([SLASH, BACKSLASH]));
    if decoded.contains(RAW_BACKSLASH)
        || (separators && (paths.encoded_slash != Handling::Pass || decoded.split('/').any(torn)))
    {
        return Err(Reason::PathAmbiguous);
    }
    let at_both = decoded.rsplit_once('/').is_some_and(|(before, last)| before.contains(';') && last.contains(';'));
    let is_there = |c: &char| if *c == LAST_SEMICOLON { at_both } else { decoded.contains(*c) };
    let doubts: Vec<_> = [SLASH, BACKSLASH, ';', LAST_SEMICOLON, SEMICOLON].into_iter().filter(is_there).collect();
    let mut readings = Vec::new();
    for choice in 0_u32..1 << doubts.len() {
        let structure: Vec<_> = (0..).zip(&doubts).filter(|(i, _)| choice >> i & 1 == 1).map(|(_, c)| *c).collect();
        let reading = read(decoded, &structure);
        if has_dots(&reading) || reading.starts_with("//") {
            return Err(Reason::PathAmbiguous);
        }
        if has_gaps(&reading) {
            if paths.ambiguous != Handling::Pass {
                return Err(Reason::PathAmbiguous);
            }
            readings.push(without_gaps(&reading));
        }
        readings.push(reading);
    }
    Ok(readings)
}

/// `decoded` to an app for which the characters of `structure` separate segments or begin parameters.
fn read(decoded: &str, structure: &[char]) -> String {
    let (separators, semicolons): (Vec<_>, Vec<_>) = structure.iter().partition(|c| matches!(**c, SLASH | BACKSLASH));
    let is_separator = |c| c == '/' || separators.contains(&c);
    let last = decoded.split(is_separator).count() - 1;
    let mut reading = String::with_capacity(decoded.len());
    for (i, segment) in decoded.split(is_separator).enumerate() {
        if i > 0 {
            reading.push('/');
        }
        let cuts = |c| semicolons.contains(&c) || (c == ';' && i == last && semicolons.contains(&LAST_SEMICOLON));
        let segment = segment.split(cuts).next().unwrap_or_default();
        // The mark of `%2f` remains: it is no slash, and no pattern has it.
        reading.extend(segment.chars().map(|c| match c {
            BACKSLASH => '\\',
            SEMICOLON => ';',
            c => c,
        }));
    }
    reading
}

/// `path` with all that some take for a slash written as one.
fn with_slashes(path: &str) -> String {
    ["%2f", "%2F", "%5c", "%5C", "\\"].iter().fold(path.to_owned(), |path, slash| path.replace(slash, "/"))
}

/// Whether there is a dot segment.
fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether there is an empty segment, but for a slash at the end.
fn has_gaps(path: &str) -> bool {
    path.contains("//")
}

fn without_gaps(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !kept.ends_with('/') {
            kept.push(c);
        }
    }
    kept
}

/// The byte that the two hex digits at the start of `text` stand for.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |i: usize| char::from(*text.get(i)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}
