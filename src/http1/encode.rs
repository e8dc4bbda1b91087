//! Writes what a message is made of.

use super::head::Framing;

/// Writes the first line of a request for a path and a query (RFC 9112 section 3.2.1).
pub fn request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes the header line that says where the body ends.
pub fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
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
    fn a_length_is_written_in_decimal() {
        for length in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            framing(&mut out, Framing::Length(length));
            assert_eq!(out, format!("content-length: {length}\r\n").into_bytes());
        }
    }

    #[test]
    fn a_size_is_written_without_zeros_before_it() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 1 << 20, usize::MAX] {
            let mut out = Vec::new();
            chunk_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
