//! What a connection is doing, so that one timer per connection can keep all of its limits.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{
    clock,
    config::Limits,
    reason::Reason,
    tunnel::{Duplex, Tunnel},
};

/// The state of one connection. What belongs to it shares it, in one task: its stream, its timers, its requests.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// The same on the coarse clock, by which all that follows is noted.
    since: Duration,
    /// Requests so far.
    served: AtomicU64,
    /// Why whatever is asked next is refused, once something has arrived that is no request.
    refusal: OnceLock<Reason>,
    /// When the last request ended, in milliseconds after the start.
    idle_since: AtomicU64,
    /// When the first byte after that arrived, in milliseconds after the start; 0 = not yet.
    first_byte: AtomicU64,
    /// Since when the client has not taken what the first request that is being served has sent it, in milliseconds after
    /// the start; 0 = it has. Over HTTP/1 there is no other request, and so no other place has to be made.
    untaken: AtomicU64,
    under_way: Mutex<UnderWay>,
}

/// What concerns the requests that are being served.
#[derive(Debug, Default)]
struct UnderWay {
    /// Whether there is a first one, which the connection itself has a place for.
    first: bool,
    /// The same for each other.
    untaken: Vec<Arc<AtomicU64>>,
    /// What the connection becomes when the last answer is sent.
    next: Option<Box<Next>>,
}

impl UnderWay {
    fn is_busy(&self) -> bool {
        self.first || !self.untaken.is_empty()
    }
}

/// A tunnel, and what its request holds until it ends.
#[derive(Debug)]
pub(super) struct Next {
    tunnel: Tunnel,
    _request: Box<dyn Held>,
}

/// Whatever is kept only to be dropped.
trait Held: fmt::Debug + Send {}

impl<T: fmt::Debug + Send> Held for T {}

impl Next {
    /// Connects the client, who has sent `early` already, with the app, for as long as that lasts.
    pub(super) async fn run(self, client: impl Duplex, early: Bytes) {
        let Self { tunnel, _request } = self;
        tunnel.run(client, early).await;
    }
}

/// What a connection's timer finds when it fires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Finding {
    /// All is well until then, at least.
    Look(Instant),
    /// It has been idle for too long.
    Idle,
    /// A request's header has not arrived in time.
    Late,
    /// The client does not read its answer.
    Stuck,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            since: clock::monotonic(),
            served: AtomicU64::new(0),
            refusal: OnceLock::new(),
            idle_since: AtomicU64::new(0),
            first_byte: AtomicU64::new(0),
            untaken: AtomicU64::new(0),
            under_way: Mutex::default(),
        }
    }

    /// What the connection has become.
    pub(super) fn next(&self) -> Option<Box<Next>> {
        self.lock().next.take()
    }

    /// A request has arrived, and lasts until the value is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.served.fetch_add(1, Relaxed);
        self.first_byte.store(0, Relaxed);
        let mut under_way = self.lock();
        let other = under_way.first.then(|| Arc::new(AtomicU64::new(0)));
        under_way.untaken.extend(other.clone());
        under_way.first = true;
        Busy { activity: self.clone(), other }
    }

    /// From now on every request is refused.
    pub(super) fn refuse(&self, reason: Reason) {
        let _ = self.refusal.set(reason);
    }

    /// Why whatever is asked is refused, if it is.
    pub(super) fn refusal(&self) -> Option<Reason> {
        self.refusal.get().copied()
    }

    /// Whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// Whether no request is being served or has begun to arrive.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy() && self.first_byte.load(Relaxed) == 0
    }

    /// When to look at a new connection.
    pub(super) fn first_look(&self, limits: &Limits) -> Instant {
        self.start + patience(limits)
    }

    /// Compares the state with the limits. HTTP/2 sends frames while it is idle, so a first byte says nothing there.
    pub(super) fn look(&self, limits: &Limits, http2: bool) -> Finding {
        let now = Instant::now();
        let after = |milliseconds: &AtomicU64| self.start + Duration::from_millis(milliseconds.load(Relaxed));
        if self.is_busy() {
            let stuck = |since: &AtomicU64| since.load(Relaxed) > 0 && now >= after(since) + limits.client_idle_timeout;
            if stuck(&self.untaken) || self.lock().untaken.iter().any(|since| stuck(since)) {
                return Finding::Stuck;
            }
            // Whatever begins when it ends has at least this long.
            return Finding::Look(now + patience(limits));
        }
        let late = if self.served.load(Relaxed) == 0 {
            // The first request is due when the connection stands: who connects and says nothing takes up a place.
            Some(self.first_look(limits))
        } else if !http2 && self.first_byte.load(Relaxed) > 0 {
            Some(after(&self.first_byte) + limits.header_timeout)
        } else {
            None
        };
        let (end, finding) = match late {
            Some(end) => (end, Finding::Late),
            None => (after(&self.idle_since) + limits.client_idle_timeout, Finding::Idle),
        };
        if now >= end { finding } else { Finding::Look(end.min(now + patience(limits))) }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        // Only the task of the connection has it: it is never contended.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(clock::monotonic().saturating_sub(self.since).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A request has ended. What was read meanwhile was the rest of it, but for what has `begun` of the next one.
    pub(super) fn rest(&self, begun: bool) {
        self.first_byte.store(if begun { self.milliseconds() } else { 0 }, Relaxed);
    }

    /// Something has arrived.
    pub(super) fn read(&self) {
        if self.first_byte.load(Relaxed) == 0 && !self.is_busy() {
            self.first_byte.store(self.milliseconds(), Relaxed);
        }
    }
}

/// The shortest of the limits that a connection's timer keeps: what it looks after may begin at any moment.
fn patience(limits: &Limits) -> Duration {
    limits.header_timeout.min(limits.client_idle_timeout)
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    /// `None` for the first.
    other: Option<Arc<AtomicU64>>,
}

impl Busy {
    fn untaken(&self) -> &AtomicU64 {
        self.other.as_deref().unwrap_or(&self.activity.untaken)
    }

    /// Watches the body of the answer. The body of an answer that switches to another protocol holds what the request
    /// takes up, and is kept for as long as the tunnel that comes with it; it would be dropped with the header.
    pub(super) fn watch<B: fmt::Debug + Send + 'static>(self, mut response: Response<B>) -> Response<Watched<B>> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response.map(|body| Watched::new(Some(body), self));
        }
        let tunnel = Tunnel::take(response.extensions_mut());
        let (parts, body) = response.into_parts();
        self.activity.lock().next = tunnel.map(|tunnel| Box::new(Next { tunnel, _request: Box::new(body) }));
        Response::from_parts(parts, Watched::new(None, self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut under_way = self.activity.lock();
        match &self.other {
            Some(other) => under_way.untaken.retain(|untaken| !Arc::ptr_eq(untaken, other)),
            None => under_way.first = false,
        }
        let idle = !under_way.is_busy();
        drop(under_way);
        self.untaken().store(0, Relaxed);
        if idle {
            self.activity.idle_since.store(self.activity.milliseconds(), Relaxed);
        }
    }
}

pin_project! {
    /// A body that keeps its connection busy until it is dropped, and notes when it waits for the client.
    #[derive(Debug)]
    pub(super) struct Watched<B> {
        #[pin]
        body: Option<B>,
        busy: Busy,
    }
}

impl<B> Watched<B> {
    fn new(body: Option<B>, busy: Busy) -> Self {
        // The header is what the client has to take first.
        busy.untaken().store(busy.activity.milliseconds(), Relaxed);
        Self { body, busy }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        // More is asked for when the client has taken what there was.
        this.busy.untaken().store(0, Relaxed);
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let polled = body.poll_frame(cx);
        if polled.is_ready() {
            this.busy.untaken().store(this.busy.activity.milliseconds(), Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
