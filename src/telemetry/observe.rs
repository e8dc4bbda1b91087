//! The outermost layer: one set of metrics and one log line per request, whatever happens below.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{AccessLog, Metrics, record::Record};
use crate::exchange::Exchange;

/// Observes each request from its arrival until the last byte of its answer. It takes an infallible service only, so that
/// it sees every answer, refusals included.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
    inner: S,
}

impl Observe<()> {
    /// The layer that counts in `metrics` and writes to `log`.
    pub fn layer<S>(metrics: Arc<Metrics>, log: Arc<AccessLog>) -> impl Layer<S, Service = Observe<S>> + Clone {
        tower::layer::layer_fn(move |inner| Observe { metrics: metrics.clone(), log: log.clone(), inner })
    }
}

impl<S, B> Service<Box<Exchange>> for Observe<S>
where
    S: Service<Box<Exchange>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    type Response = Response<Observed<B>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Box<Exchange>) -> Self::Future {
        let record = Record::start(&exchange, self.metrics.clone(), self.log.clone());
        ResponseFuture { inner: self.inner.call(exchange), record: Some(record) }
    }
}

pin_project! {
    /// The future of [`Observe`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        record: Option<Record>,
    }
}

impl<F: Future<Output = Result<Response<B>, Infallible>>, B: http_body::Body> Future for ResponseFuture<F> {
    type Output = Result<Response<Observed<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let mut record = this.record.take();
        if let Some(record) = &mut record {
            record.answer(response.status(), response.body().is_end_stream());
        }
        Poll::Ready(Ok(response.map(|body| Observed { body, record })))
    }
}

pin_project! {
    /// A body that is watched until its end.
    #[derive(Debug)]
    pub struct Observed<B> {
        #[pin]
        body: B,
        record: Option<Record>,
    }
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for Observed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(record) = this.record {
            match &polled {
                Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, |data| data.len() as u64)),
                // The cause is in the trail, where the layer that saw it left it.
                None | Some(Err(_)) => record.complete(),
            }
            if this.body.is_end_stream() {
                record.complete();
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
