//! Response compression: who gets it, what never does, and what does not change by it.

use std::{
    io::{Read, Write},
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
};

use serde_json::{Value, json};

use crate::support::{App, Builder, H2, Recorder, Sidegate, Wire, until};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];
const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn curl_gets_the_same_bytes_in_every_coding() {
    let content = text(300_000);
    let app = Recorder::answering(answer("ETag: \"v1\"\r\nAccept-Ranges: bytes", &content));
    let sidegate = compressing(&app).start();
    for version in VERSIONS {
        for coding in CODINGS {
            let curl = || sidegate.curl("/").args([version]).header(&format!("Accept-Encoding: {coding}"));
            let plain = curl().args(["--compressed"]).send();
            assert!(plain.body == content, "{coding} over {version}");
            assert_eq!(plain.header("content-encoding"), Some(coding));
            assert_eq!(plain.header("content-length"), None);
            assert_eq!(plain.header("accept-ranges"), None);
            assert_eq!(plain.header("etag"), Some("W/\"v1\""));
            assert_eq!(plain.header("vary"), Some("accept-encoding"));
            let compressed = curl().send().body;
            assert!(compressed.len() * 3 < content.len(), "{coding}: {} bytes", compressed.len());
        }
        let chosen = sidegate.curl("/").args([version, "--compressed"]).send();
        assert_eq!(chosen.header("content-encoding"), Some("zstd"), "of all that curl takes");
    }
}

#[test]
fn it_is_off_by_default() {
    let content = text(5_000);
    let app = Recorder::answering(answer("ETag: \"v1\"", &content));
    let sidegate = public(&app).start();
    let answer = sidegate.curl("/").args(["--compressed"]).send();
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
    assert_eq!((answer.header("content-length"), answer.header("etag")), (Some("5000"), Some("\"v1\"")));
    assert!(answer.body == content);
}

#[test]
fn the_client_need_not_have_it() {
    let content = text(5_000);
    let app = Recorder::answering(answer("ETag: \"v1\"", &content));
    let sidegate = compressing(&app).set(json!({ "compression": { "algorithms": ["gzip"] } })).start();
    for lines in [
        &[][..],
        &["Accept-Encoding: br, zstd"],
        &["Accept-Encoding: gzip;q=0"],
        &["Accept-Encoding: identity, gzip;q=0.5"],
        &["Accept-Encoding: gzip", "Cache-Control: no-cache, no-transform"],
    ] {
        let answer = sidegate.get("/", lines);
        assert_eq!(answer.header("content-encoding"), None, "{lines:?}");
        assert_eq!(answer.header("etag"), Some("\"v1\""), "{lines:?}");
        // Another client gets another body.
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{lines:?}");
        assert!(answer.body == content);
    }
    // Where the end of the connection is the end of the body, nobody could tell that it was cut short.
    let mut wire = sidegate.wire();
    let old = wire.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").answer();
    assert_eq!((old.header("content-encoding"), old.body.len()), (None, content.len()));
}

#[test]
fn what_must_not_be_compressed_is_left_alone() {
    let content = text(5_000);
    let with = |lines: &str| answer(lines, &content);
    let typed = |name: &str| with("").replace("text/plain", name);
    let cases: Vec<String> = vec![
        with("Content-Encoding: gzip"),
        with("Content-Encoding: identity"),
        with("Content-Range: bytes 0-4999/9000").replace("200 OK", "206 Partial Content"),
        with("Content-Range: bytes 0-4999/9000"),
        with("Cache-Control: private, No-Transform"),
        with("Repr-Digest: sha-256=:AAAA:"),
        with("Content-MD5: AAAA"),
        typed("text/event-stream"),
        typed("application/grpc+proto"),
        typed("image/png"),
        typed("application/octet-stream"),
        typed(""),
        answer("", &text(900)),
        answer("", b""),
        "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n".to_owned(),
    ];
    let answers = cases.clone();
    let app = Recorder::scripted(move |request, stream| {
        let case: usize = request.target().trim_start_matches('/').parse().unwrap();
        stream.write_all(answers[case].as_bytes())?;
        Ok(true)
    });
    let sidegate = compressing(&app).start();
    let mut h2 = H2::connect(&sidegate);
    for (i, case) in cases.iter().enumerate() {
        let path = format!("/{i}");
        let over_h1 = sidegate.get(&path, &["Accept-Encoding: gzip, br, zstd"]);
        let over_h2 = h2.send("GET", &path, &[("accept-encoding", "gzip, br, zstd")], b"");
        let (head, body) = case.split_once("\r\n\r\n").unwrap();
        for answer in [over_h1, over_h2] {
            assert!(answer.body == body.as_bytes(), "{head}");
            let coded = answer.header("content-encoding").is_some();
            assert_eq!(coded, head.contains("Content-Encoding"), "{head}");
            assert_eq!(answer.header("vary"), None, "{head}");
        }
    }
}

#[test]
fn the_header_is_the_same_for_head() {
    let content = text(5_000);
    let (get, head) =
        (answer("ETag: \"v1\"\r\nVary: Cookie", &content), answer("ETag: \"v1\"\r\nVary: Cookie", &content));
    let head = head.split_inclusive("\r\n\r\n").next().unwrap().to_owned();
    let app = Recorder::scripted(move |request, stream| {
        stream.write_all(if request.line.starts_with("HEAD") { head.as_bytes() } else { get.as_bytes() })?;
        Ok(true)
    });
    let sidegate = compressing(&app).start();
    let mut h2 = H2::connect(&sidegate);
    let mut over_both = |method: &str| {
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br\r\n\r\n");
        let over_h1 = sidegate.wire().send(request).answer_to(method);
        [over_h1, h2.send(method, "/", &[("accept-encoding", "br")], b"")]
    };
    for (head, get) in over_both("HEAD").iter().zip(over_both("GET")) {
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-encoding", "content-length", "content-type", "etag", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        assert_eq!(head.header("content-encoding"), Some("br"));
        assert_eq!(head.header_values("vary"), ["Cookie", "accept-encoding"]);
        assert_eq!(head.header_values("vary"), get.header_values("vary"));
    }
}

#[test]
fn what_was_not_modified_keeps_the_tag_that_the_client_knows() {
    let app = Recorder::answering("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nContent-Length: 5000\r\n\r\n");
    let sidegate = compressing(&app).start();
    let answer = sidegate.get("/", &["Accept-Encoding: gzip", "If-None-Match: W/\"v1\""]);
    assert_eq!((answer.status, answer.header("etag")), (304, Some("W/\"v1\"")));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(sidegate.get("/", &["If-None-Match: \"v1\""]).header("etag"), Some("\"v1\""));
}

#[test]
fn an_answer_that_breaks_off_is_aborted() {
    let content = text(100_000);
    let whole = answer("", &content);
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n";
    let chunked = format!("{chunked}{}\r\n", String::from_utf8_lossy(&content[..0x400]));
    for broken in [whole[..50_000].to_owned(), chunked] {
        let app = Recorder::scripted(move |_, stream| {
            stream.write_all(broken.as_bytes())?;
            Ok(false)
        });
        let sidegate = compressing(&app).start();
        // A part of the body, or of the stream, or nothing at all, when the end came before the first byte was sent.
        for (version, codes) in [("--http1.1", &[18, 52][..]), ("--http2", &[92])] {
            for coding in CODINGS {
                let accept = format!("Accept-Encoding: {coding}");
                let code = sidegate.curl("/").args([version]).header(&accept).fail();
                assert!(codes.contains(&code), "{coding} over {version}: curl's {code}");
            }
        }
        let line = &sidegate.access_log(6)[5];
        assert_eq!(line["response_code_details"], "upstream_broken", "{line}");
    }
}

#[test]
fn what_the_app_has_written_does_not_wait_in_the_compressor() {
    for coding in CODINGS {
        let (release, released) = sync_channel(0);
        let app = in_two_parts(released);
        let sidegate = compressing(&app).start();
        let mut wire = sidegate.wire();
        wire.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n\r\n"));
        until("the end of the head", || wire.line().is_empty().then_some(()));
        let mut compressed = Vec::new();
        until("the first line", || {
            compressed.extend(chunk(&mut wire));
            (begin_of(coding, &compressed) == "first\n").then_some(())
        });
        release.send(()).unwrap();
        until("the second line", || {
            compressed.extend(chunk(&mut wire));
            (begin_of(coding, &compressed) == "first\nsecond\n").then_some(())
        });
    }
}

#[test]
fn a_long_answer_is_never_in_memory_as_a_whole() {
    const BLOCKS: usize = 1_000;
    let app = Recorder::scripted(|_, stream| {
        // As good as incompressible, so that something is sent too.
        let mut state = 1_u64;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..BLOCKS {
            let block: Vec<u8> = std::iter::repeat_with(|| random(&mut state)).take(1 << 16).collect();
            stream.write_all(b"10000\r\n")?;
            stream.write_all(&block)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
        Ok(true)
    });
    let sidegate = compressing(&app).start();
    for (version, coding) in [("--http1.1", "gzip"), ("--http2", "br"), ("--http1.1", "zstd")] {
        let before = sidegate.peak_memory();
        let curl = sidegate.curl("/").args([version, "--compressed"]).header(&format!("Accept-Encoding: {coding}"));
        let body = curl.send().body;
        let mut state = 1_u64;
        assert!(body.len() == BLOCKS << 16 && body.iter().all(|byte| *byte == random(&mut state)), "{coding}");
        let grown = sidegate.peak_growth(before);
        assert!(grown < 16 << 10, "{coding} over {version} took {grown} kB for 64 MB");
    }
}

#[test]
fn many_slow_readers_do_not_fill_the_memory_with_compressors() {
    let (release, released) = sync_channel(0);
    let app = in_two_parts(released);
    let sidegate = compressing(&app).start();
    let ask = || {
        let mut wire = sidegate.wire();
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br\r\n\r\n");
        let lines: Vec<_> = std::iter::from_fn(|| Some(wire.line()).filter(|line| !line.is_empty())).collect();
        (lines.iter().any(|line| line.eq_ignore_ascii_case("content-encoding: br")), wire)
    };
    let readers: Vec<_> = (0..16).map(|_| ask()).collect();
    assert!(readers.iter().all(|(compressed, _)| *compressed));
    assert!(!ask().0, "there is a place for each of them, and no more");
    drop(readers);
    until("a place", || ask().0.then_some(()));
    drop(release);
}

#[test]
fn what_could_not_work_is_refused_with_a_remedy() {
    for (settings, said) in [
        (json!({ "algorithms": [] }), "there is nothing to compress with"),
        (json!({ "algorithms": ["gzip", "gzip"] }), "this is there twice"),
        (json!({ "algorithms": ["deflate"] }), "`deflate` is none of `zstd`, `br`, `gzip`"),
        (json!({ "types": [] }), "there is nothing to compress"),
        (json!({ "types": ["text/html", "text/*"] }), "compression.types[1]: `text/*` is not a media type"),
        (json!({ "types": ["text/event-stream"] }), "have to arrive one by one"),
        (json!({ "types": ["image/jpeg"] }), "is never compressed"),
        (json!({ "min_bytes": "1 kilo" }), "is not a size"),
    ] {
        let refused = public(&Recorder::start()).set(json!({ "compression": settings })).refuse();
        assert!(refused.stderr.contains(said), "{settings}: {}", refused.stderr);
    }
}

fn public(app: &impl App) -> Builder {
    Sidegate::before(app).rule(json!({ "allow": "anyone" }))
}

fn compressing(app: &impl App) -> Builder {
    let on: Value = json!({ "compression": { "enabled": true } });
    public(app).set(on)
}

/// Text of this length that repeats itself as texts do.
fn text(length: usize) -> Vec<u8> {
    let lines = (0..).map(|i: usize| format!("line {i}: the quick brown fox is {} years old\n", i * i % 97));
    lines.flat_map(String::into_bytes).take(length).collect()
}

fn answer(lines: &str, content: &[u8]) -> String {
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    let length = content.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n{lines}");
    format!("{head}\r\n{}", String::from_utf8_lossy(content))
}

/// An app that writes one line, and another when it is released.
fn in_two_parts(released: Receiver<()>) -> Recorder {
    let released = Mutex::new(released);
    Recorder::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        stream.write_all(b"6\r\nfirst\n\r\n")?;
        released.lock().unwrap().recv().map_err(std::io::Error::other)?;
        stream.write_all(b"7\r\nsecond\n\r\n0\r\n\r\n")?;
        Ok(true)
    })
}

/// The next chunk of a chunked body.
fn chunk(wire: &mut Wire) -> Vec<u8> {
    let size = usize::from_str_radix(&wire.line(), 16).unwrap();
    let chunk = wire.read_exact(size);
    wire.line();
    chunk
}

/// What the beginning of a compressed body says.
fn begin_of(coding: &str, compressed: &[u8]) -> String {
    let mut plain = Vec::new();
    // It may end in the middle: what came until then is what counts.
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(compressed).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(compressed, 4096).read_to_end(&mut plain),
        _ => zstd::stream::read::Decoder::new(compressed).unwrap().read_to_end(&mut plain),
    };
    String::from_utf8(plain).unwrap()
}

/// The next byte of a sequence without a pattern (xorshift).
fn random(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}
