//! Follows the requests of an HTTP/1 connection, so that it is known where each begins, and that each is well-formed
//! before anything else gets to see it. Pure: it is given bytes, and says what they are.

use crate::{
    http1::{
        chunks::Chunks,
        head::{Framing, Limits, Scan},
    },
    reason::Reason,
};

/// What comes after the bytes that may be passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// A head that is not complete, or nothing at all: it takes more bytes to tell.
    More,
    /// A head that is refused. Nothing after it can be trusted to be a request.
    Refused(Reason),
    /// A body that is not well-formed.
    Broken,
    /// What follows a request for another protocol, which the answer decides.
    Undecided,
}

/// The requests of a connection so far.
#[derive(Debug)]
pub(super) struct Inspector {
    limits: Limits,
    state: State,
    heads: u64,
    upgrade: bool,
}

#[derive(Debug)]
enum State {
    Head(Scan),
    Length(u64),
    Chunked(Chunks),
}

impl Inspector {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: State::Head(Scan::default()), heads: 0, upgrade: false }
    }

    /// The heads that were passed.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// The request for another protocol was answered in this one.
    pub(super) const fn resume(&mut self) {
        self.upgrade = false;
    }

    /// How many of the bytes may be passed on, and what is after them. The next call has to begin with those that may
    /// not.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> (usize, Next) {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            match &mut self.state {
                State::Head(_) if self.upgrade => return (passed, Next::Undecided),
                State::Head(_) | State::Length(_) | State::Chunked(_) if rest.is_empty() => {
                    return (passed, Next::More);
                }
                State::Head(scan) => match scan.read(rest, self.limits) {
                    Ok(None) => return (passed, Next::More),
                    Err(reason) => return (passed, Next::Refused(reason)),
                    Ok(Some(head)) => {
                        passed += head.bytes;
                        self.heads += 1;
                        self.upgrade = head.upgrade;
                        self.state = match head.framing {
                            Framing::Length(0) => State::Head(Scan::default()),
                            Framing::Length(length) => State::Length(length),
                            Framing::Chunked => State::Chunked(Chunks::START),
                        };
                    }
                },
                State::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    passed += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(Scan::default());
                    }
                }
                State::Chunked(chunks) => {
                    if let Chunks::Data { left } = chunks {
                        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                        chunks.pass(here);
                        passed += here;
                        continue;
                    }
                    let (here, result) = chunks.follow(rest);
                    passed += here;
                    if result.is_err() {
                        return (passed, Next::Broken);
                    }
                    if *chunks == Chunks::Done {
                        self.state = State::Head(Scan::default());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const LIMITS: Limits = Limits { bytes: 512, lines: 6 };

    /// Hands over `bytes` in pieces that end at `cuts`, as a connection would: what was passed, heads, and the verdict.
    fn inspect(bytes: &[u8], cuts: &[usize]) -> (usize, u64, Next) {
        let mut inspector = Inspector::new(LIMITS);
        let (mut passed, mut next) = (0, Next::More);
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        for end in ends {
            let here;
            (here, next) = inspector.inspect(&bytes[passed..end]);
            passed += here;
            if next != Next::More {
                break;
            }
        }
        (passed, inspector.heads(), next)
    }

    #[test]
    fn requests_are_told_apart() {
        let (get, post) = ("GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\n");
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n";
        // What looks like a request within a body is not one.
        let all = format!("{get}{post}{get}{chunked}{get}\r\n0\r\n\r\n\r\n{get}GET /");
        assert_eq!(inspect(all.as_bytes(), &[]), (all.len() - 5, 4, Next::More));
        let bad = format!("{get}{chunked}{get}0\r\n\r\n{get}");
        assert_eq!(inspect(bad.as_bytes(), &[]), (2 * get.len() + chunked.len(), 2, Next::Broken));
        let bad = format!("{get}{post}{get}GET /#a HTTP/1.1\r\n{get}");
        let passed = 2 * get.len() + post.len();
        assert_eq!(inspect(bad.as_bytes(), &[]), (passed, 2, Next::Refused(Reason::PathAmbiguous)));
    }

    #[test]
    fn what_follows_an_upgrade_is_nobodys_before_it_is_answered() {
        let ask = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let mut inspector = Inspector::new(LIMITS);
        let both = [&ask[..], b"\x81\x05hello"].concat();
        assert_eq!(inspector.inspect(&both), (ask.len(), Next::Undecided));
        assert_eq!(inspector.inspect(b"GET / HTTP/1.1\r\n\r\n"), (0, Next::Undecided));
        inspector.resume();
        assert_eq!(inspector.inspect(b"GET / HTTP/1.1\r\n\r\n"), (18, Next::More));
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let pieces: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: r\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n",
            b"GET / HTTP/1.1\n\n",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\0",
            b"Host: a\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 3\r\n",
            b"POST / HTTP/1.1\r\n",
            b"5\r\n",
            b"x",
        ];
        vec(prop_oneof![select(pieces).prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..4)], 0..12)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn wherever_the_bytes_are_cut_the_verdict_is_the_same(bytes in stream(), cuts in vec(any::<usize>(), 0..20)) {
            prop_assert_eq!(inspect(&bytes, &cuts), inspect(&bytes, &[]));
        }

        #[test]
        fn one_byte_at_a_time_is_as_good_as_all_at_once(bytes in stream()) {
            let all: Vec<_> = (0..bytes.len()).collect();
            prop_assert_eq!(inspect(&bytes, &all), inspect(&bytes, &[]));
        }
    }
}
