//! Writes what a message is made of.

use http::{HeaderMap, Method, Uri};

/// Writes the head of a request for what `uri` has of a path and a query (RFC 9112 section 3.2.1).
pub fn request(out: &mut Vec<u8>, method: &Method, uri: &Uri, fields: &HeaderMap) {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    self::fields(out, fields);
}

/// Writes a header section, or a trailer section: a line for each field, and the empty line.
pub fn fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a header line.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    // Two bytes are written by themselves in less time than a call takes to copy them.
    out.push(b':');
    out.push(b' ');
    out.extend_from_slice(value);
    out.push(b'\r');
    out.push(b'\n');
}

/// Writes the line that a chunk of so many bytes begins with. None is empty: that one would be the last.
pub fn chunk_size(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    let nibble = |place: u32| b"0123456789abcdef"[size >> (4 * place) & 0xf];
    out.extend((0..digits).rev().map(nibble));
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_without_zeros_before_it() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 1 << 20, usize::MAX] {
            let mut out = Vec::new();
            chunk_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
