//! Follows a chunked body to its end (RFC 9112 section 7.1), without the liberties that some servers take.

use super::head::{is_control, is_token};

/// Where in a chunked body one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chunks {
    /// In a size, after so many digits.
    Size {
        /// So far.
        digits: u8,
        /// What they make.
        size: u64,
    },
    /// In an extension of so many bytes.
    Extension {
        /// So far.
        bytes: u16,
        /// Of the chunk.
        size: u64,
    },
    /// Before the LF of the size line.
    SizeEnd {
        /// Of the chunk.
        size: u64,
    },
    /// In a chunk, with so many bytes to come.
    Data {
        /// So many.
        left: u64,
    },
    /// Before the CR after a chunk.
    DataCr,
    /// Before the LF after a chunk.
    DataEnd,
    /// At the start of a trailer line, or of the empty line that ends it all.
    Line,
    /// In the name of a trailer.
    Name,
    /// In the value of a trailer.
    Value,
    /// Before the LF of a trailer.
    ValueEnd,
    /// Before the last LF.
    End,
    /// After it.
    Done,
}

/// The body is not what RFC 9112 calls chunked.
#[derive(Debug, Eq, PartialEq)]
pub struct Broken;

/// The longest extension of a chunk, in bytes. Nobody uses them, and they are read byte by byte.
const LONGEST_EXTENSION: u16 = 256;

impl Chunks {
    /// The start of a body.
    pub const START: Self = Self::Size { digits: 0, size: 0 };

    /// Follows the framing through `bytes`: to the next content, to the start of the trailer section, to the end of the
    /// body, or to theirs. How many of them that are, and whether it broke there.
    pub fn follow(&mut self, bytes: &[u8]) -> (usize, Result<(), Broken>) {
        let mut at = 0;
        while at < bytes.len() && !matches!(self, Self::Data { .. } | Self::Done) {
            let Some(next) = self.after(bytes[at]) else { return (at, Err(Broken)) };
            let trailers = matches!(self, Self::SizeEnd { size: 0 });
            *self = next;
            at += 1;
            if trailers {
                break;
            }
        }
        (at, Ok(()))
    }

    /// So many bytes of the content that is next have passed.
    pub fn pass(&mut self, bytes: usize) {
        if let Self::Data { left } = self {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                *self = Self::DataCr;
            }
        }
    }

    /// Whether the content is over, and the end is not reached.
    pub fn is_in_trailers(&self) -> bool {
        matches!(self, Self::Line | Self::Name | Self::Value | Self::ValueEnd | Self::End)
    }

    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') | (Self::Extension { size, .. }, b'\r') => {
                Some(Self::SizeEnd { size })
            }
            (Self::Size { digits: 1.., size }, b';') => Some(Self::Extension { bytes: 0, size }),
            // Sixteen digits are all that a size can have; with zeros before them it would be another one to some.
            (Self::Size { digits: digits @ 0..16, size }, _) => {
                let digit = char::from(byte).to_digit(16)?;
                Some(Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
            }
            (Self::Extension { bytes: bytes @ 0..LONGEST_EXTENSION, size }, _) if !is_control(byte) => {
                Some(Self::Extension { bytes: bytes + 1, size })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Some(Self::Line),
            (Self::SizeEnd { size }, b'\n') => Some(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Some(Self::DataEnd),
            (Self::DataEnd, b'\n') => Some(Self::START),
            (Self::Line, b'\r') => Some(Self::End),
            (Self::Line | Self::Name, _) if is_token(byte) => Some(Self::Name),
            (Self::Name, b':') => Some(Self::Value),
            (Self::Value, b'\r') => Some(Self::ValueEnd),
            (Self::Value, _) if !is_control(byte) => Some(Self::Value),
            (Self::ValueEnd, b'\n') => Some(Self::Line),
            (Self::End, b'\n') => Some(Self::Done),
            (
                Self::Size { .. }
                | Self::Extension { .. }
                | Self::SizeEnd { .. }
                | Self::Data { .. }
                | Self::DataCr
                | Self::DataEnd
                | Self::Line
                | Self::Name
                | Self::Value
                | Self::ValueEnd
                | Self::End
                | Self::Done,
                _,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (usize, Result<(), Broken>, bool) {
        let (mut chunks, mut at) = (Chunks::START, 0);
        loop {
            let rest = &body.as_bytes()[at..];
            let (followed, result) = chunks.follow(rest);
            at += followed;
            if result.is_err() || at == body.len() || chunks == Chunks::Done {
                return (at, result, chunks == Chunks::Done);
            }
            if let Chunks::Data { left } = chunks {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(body.len() - at);
                chunks.pass(here);
                at += here;
            }
        }
    }

    #[test]
    fn a_good_body_is_followed_to_its_end_and_no_further() {
        for body in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
            "3;x=y;z=\"a b\"\r\nhel\r\n2 ;q\r\nlo\r\n0\r\n\r\n".replace("2 ;q", "2;q").as_str(),
            "0\r\nX-Sum: 1\r\nY:\r\n\r\n",
        ] {
            assert_eq!(read(&format!("{body}GET /")), (body.len(), Ok(()), true), "{body:?}");
        }
    }

    #[test]
    fn what_some_would_read_differently_is_broken() {
        for body in [
            "\r\n0\r\n\r\n",
            "5\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\t\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            ";x\r\n",
            "5;a\nb\r\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;\0\r\nhello\r\n",
            "5\r\nhelloXX",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\r0\r\n\r\n",
            "10000000000000005\r\nhello\r\n",
            "00000000000000005\r\nhello\r\n",
            "0\r\n\n",
            "0\r\n X: folded\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX: 1\nY: 2\r\n\r\n",
            "0\r\nX: 1\rY: 2\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n\rX",
        ] {
            let (read, result, done) = read(body);
            assert!(result == Err(Broken) && read < body.len() && !done, "{body:?}");
        }
        assert_eq!(read(&format!("5;{}\r\n", "x".repeat(256))).1, Ok(()));
        assert_eq!(read(&format!("5;{}\r\n", "x".repeat(257))).1, Err(Broken));
    }
}
