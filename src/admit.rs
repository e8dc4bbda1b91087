//! Sheds load at once instead of queueing it: the in-flight limit.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::{body::Body, denial::Denial, exchange::Exchange, reason::Reason};

/// Lets so many requests in at once. tower's `ConcurrencyLimit` queues, and ends a request at its response header; this
/// one refuses, and a request lasts until its response body ends.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    places: Arc<Semaphore>,
    inner: S,
}

impl Admit<()> {
    /// The layer. Its services share `places`.
    pub fn layer<S>(places: Arc<Semaphore>) -> impl Layer<S, Service = Admit<S>> + Clone {
        tower::layer::layer_fn(move |inner| Admit { places: places.clone(), inner })
    }
}

impl<S: Service<Box<Exchange>, Response = Response<Body>, Error = Denial>> Service<Box<Exchange>> for Admit<S> {
    type Response = Response<Body>;
    type Error = Denial;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, exchange: Box<Exchange>) -> Self::Future {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => ResponseFuture { inner: Some(self.inner.call(exchange)), place: Some(place) },
            Err(_) => {
                exchange.refuse();
                ResponseFuture { inner: None, place: None }
            }
        }
    }
}

pin_project! {
    /// The future of [`Admit`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        place: Option<OwnedSemaphorePermit>,
    }
}

impl<F: Future<Output = Result<Response<Body>, Denial>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Err(Reason::Overloaded.into()));
        };
        let mut response = ready!(inner.poll(cx))?;
        if let Some(place) = this.place.take() {
            response.body_mut().hold(place);
        }
        Poll::Ready(Ok(response))
    }
}
