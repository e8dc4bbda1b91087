//! One request on its way through the stack, with where it comes from and what was decided on the way.

use std::{
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{HeaderMap, HeaderName},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    http1::incoming::{self, Incoming},
    identity::{Identity, Method},
    origin::{Client, Origin},
    reason::Reason,
};

/// The header that names a request, for whoever handles it.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every layer is handed. It is boxed: handed on by value it would be copied once for each layer, which costs more
/// than the allocation.
#[derive(Debug)]
pub struct Exchange {
    /// The request as it arrived.
    pub request: Request<Payload>,
    /// Where it comes from.
    pub origin: Origin,
    /// What the layers leave for the log line and the metrics.
    pub trail: Arc<Trail>,
    /// Why the connection it came on wants it refused, where it does.
    pub refusal: Option<Reason>,
}

impl Exchange {
    /// A request that has just arrived over a connection from `client`.
    pub fn new(request: Request<Payload>, client: Arc<Client>) -> Box<Self> {
        let trail = Arc::new(Trail::new(request.headers()));
        let origin = Origin::new(client, request.headers());
        Box::new(Self { request, origin, trail, refusal: None })
    }

    /// Takes the request's body out of it.
    pub fn take_body(&mut self) -> Payload {
        std::mem::replace(self.request.body_mut(), Payload::none())
    }

    /// Gives up a request that is refused.
    pub fn refuse(mut self) {
        discard(self.take_body());
    }
}

/// A request's body.
#[derive(Debug)]
pub enum Payload {
    /// Of a connection that is ours.
    Http1(Incoming),
    /// Of the library's.
    Http2(hyper::body::Incoming),
}

/// A request's body has no end.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// Over HTTP/1.
    #[error(transparent)]
    Http1(#[from] incoming::Interrupted),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl Interrupted {
    /// Whether the client sent something that is no body, and has not simply gone.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Http1(incoming::Interrupted::Malformed))
    }
}

impl Payload {
    /// No body.
    pub fn none() -> Self {
        Self::Http1(Incoming::none())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// How long the rest of a body is read that nobody wants.
const DISCARD: Duration = Duration::from_secs(1);

/// Gives up a body that is not wanted, or no longer. Dropping it resets an HTTP/2 stream at once, and clients that are
/// still sending (curl before 8 among them) then report the reset and not the answer; so the rest is read for a while.
/// On HTTP/1 the connection ends with the answer, and its stream lingers.
pub fn discard(body: Payload) {
    let Payload::Http2(mut body) = body else { return };
    if body.is_end_stream() {
        return;
    }
    let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(DISCARD, rest));
    }
}

/// What was decided, for the log line and the metrics.
#[derive(Debug)]
pub struct Verdict {
    /// How the caller was, or would have been, identified.
    pub method: Method,
    /// The caller, once proved.
    pub identity: Option<Arc<Identity>>,
    /// The index of the rule that decided, where one did.
    pub rule: Option<usize>,
    /// Why it was refused, if it was.
    pub refusal: Option<Reason>,
    /// Whether the proof had been checked before.
    pub remembered: bool,
}

/// What the layers leave behind as a request passes. Each field is written at most once, by one layer.
#[derive(Debug)]
pub struct Trail {
    /// The request's id: the client's when it is well-formed, else one of ours.
    pub request_id: HeaderValue,
    verdict: OnceLock<Verdict>,
    failure: OnceLock<Reason>,
    upstream_time: OnceLock<Duration>,
    received: AtomicU64,
    uploading: AtomicBool,
    sent: AtomicU64,
}

impl Trail {
    /// The trail of a request with these headers.
    pub fn new(headers: &HeaderMap) -> Self {
        Self {
            request_id: request_id(headers),
            verdict: OnceLock::new(),
            failure: OnceLock::new(),
            upstream_time: OnceLock::new(),
            received: AtomicU64::new(0),
            uploading: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// Notes what was decided about the caller.
    pub fn decided(&self, verdict: Verdict) {
        let _ = self.verdict.set(verdict);
    }

    /// What was decided, when the request came that far.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.get()
    }

    /// Notes why the request was refused or broke off. The first reason is the cause, what follows from it is not.
    pub fn failed(&self, reason: Reason) {
        let _ = self.failure.set(reason);
    }

    /// Why the request was refused or broke off.
    pub fn failure(&self) -> Option<Reason> {
        self.failure.get().copied()
    }

    /// Notes how long the app took until its response header.
    pub fn answered_after(&self, time: Duration) {
        let _ = self.upstream_time.set(time);
    }

    /// How long the app took until its response header, when it answered.
    pub fn upstream_time(&self) -> Option<Duration> {
        self.upstream_time.get().copied()
    }

    /// Counts bytes of the request's body as they arrive.
    pub fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Bytes of the request's body that arrived, or of what followed an upgrade.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Notes whether there is some of the request's body that the app has not been sent.
    pub fn uploading(&self, uploading: bool) {
        self.uploading.store(uploading, Relaxed);
    }

    /// Whether there is some of the request's body that the app has not been sent.
    pub fn is_uploading(&self) -> bool {
        self.uploading.load(Relaxed)
    }

    /// Counts bytes that followed an upgrade, on their way to the client.
    pub fn send(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Bytes that followed an upgrade, on their way to the client.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// A name that the client gave the request, when it is one that is safe to repeat in logs and headers; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    match headers.get(&X_REQUEST_ID) {
        Some(id) if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(safe) => id.clone(),
        _ => new_request_id(),
    }
}

/// 128 bits in hex: a random start, and a step that visits all 2^64 values of the lower half. Unique is all it must be;
/// a call to the system's random source for each request would cost more than the whole decision.
fn new_request_id() -> HeaderValue {
    static START: LazyLock<([u8; 16], AtomicU64)> = LazyLock::new(|| {
        // The standard library seeds its hash tables from the system; that is random enough for a name.
        let random = RandomState::new();
        (hex(random.hash_one(0)), AtomicU64::new(random.hash_one(1)))
    });
    let (start, next) = &*START;
    let mut text = [0; 32];
    text[..16].copy_from_slice(start);
    text[16..].copy_from_slice(&hex(next.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)));
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn hex(number: u64) -> [u8; 16] {
    let nibble = |i: usize| b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 0xf];
    std::array::from_fn(nibble)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_safe_request_id_is_kept_and_an_unsafe_one_replaced() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).expect("a header value"));
            request_id(&headers)
        };
        assert_eq!(id(b"b1946ac9-2492:d234.7_a"), "b1946ac9-2492:d234.7_a");
        for unsafe_id in [&b""[..], b"a b", b"\"", b"\xff", &[b'a'; 129]] {
            assert_eq!(id(unsafe_id).len(), 32, "{unsafe_id:?}");
        }
    }

    #[test]
    fn new_request_ids_differ() {
        assert_ne!(new_request_id(), new_request_id());
    }
}
