//! What is taken for a request is the same however it arrives, is taken for the same one by another reader, and ends where
//! its framing says.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sidegate::http1::{
    content::Content,
    head::{Limits, Scan, stand_in},
};

const LIMITS: Limits = Limits { bytes: 2048, lines: 32 };

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    for piece in [1, 7] {
        assert_eq!(read(bytes, piece), whole, "in pieces of {piece}");
    }
});

/// What a connection's bytes are, when they come in pieces of this length: requests, content, and why they end.
fn read(bytes: &[u8], piece: usize) -> String {
    let (mut read, mut scan, mut content) = (BytesMut::new(), Scan::default(), None::<Content>);
    let mut seen = String::new();
    for piece in bytes.chunks(piece) {
        read.extend_from_slice(piece);
        loop {
            if let Some(body) = &mut content {
                match body.take(&mut read) {
                    Ok(Some(frame)) => match frame.into_data() {
                        // Where a piece of content ends depends on how it came.
                        Ok(data) => seen.extend(data.iter().map(|byte| char::from(*byte))),
                        Err(trailers) => seen += &format!("{trailers:?}"),
                    },
                    Ok(None) if body.is_done() => content = None,
                    Ok(None) => break,
                    Err(_) => {
                        assert!(!body.is_done());
                        return seen + " malformed";
                    }
                }
                continue;
            }
            if read.is_empty() {
                break;
            }
            match scan.read(&read, LIMITS) {
                Ok(None) => break,
                Ok(Some(head)) => {
                    let bytes = read.split_to(head.bytes).freeze();
                    content = Some(head.framing.into());
                    let request = head.request(&bytes).expect("a head that was passed is a request");
                    compare(&bytes, &request);
                    seen += &format!("\n{request:?} {content:?} ");
                    scan = Scan::default();
                }
                // Which of two things that are wrong is seen first depends on how they came.
                Err(_) => {
                    let stand_in = stand_in(&read);
                    let head = Scan::default().read(&stand_in, LIMITS).expect("what stands in is passed");
                    assert_eq!(head.expect("and whole").bytes, stand_in.len());
                    return seen + " refused";
                }
            }
        }
    }
    seen
}

/// Another reader finds the same in the head.
fn compare(bytes: &[u8], request: &http::Request<()>) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut other = httparse::Request::new(&mut fields);
    // It is stricter about a few bytes in targets; where it is, it says so, and reads nothing else.
    let Ok(status) = other.parse(bytes) else { return };
    assert_eq!(status, httparse::Status::Complete(bytes.len()));
    assert_eq!(other.method, Some(request.method().as_str()));
    let mut theirs: Vec<_> = other.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value)).collect();
    let ours = request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes()));
    let mut ours: Vec<_> = ours.collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(theirs, ours);
}
