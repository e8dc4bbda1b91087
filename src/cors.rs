//! Lets web pages of other origins in, as far as the operator wants them: the CORS protocol of the Fetch standard.
//!
//! CORS protects the user of a browser, not the app: it never allows a request, it only tells the browser which page may
//! make it and read its answer. So the request itself meets the rules as ever.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE,
    },
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    body::Body,
    config::{self, Origins, Preflight},
    denial::Refusal,
    exchange::Exchange,
    fields::{self, vary},
    reason::Reason,
};

/// The method that a browser asks about, when `request` is a preflight and nothing else: with it an app cannot be told to
/// do anything, because there is no body, and only what a browser would send.
pub fn preflight<B: http_body::Body>(request: &Request<B>) -> Option<Method> {
    if *request.method() != Method::OPTIONS {
        return None;
    }
    let headers = request.headers();
    fields::only(headers, &ORIGIN).ok().flatten()?;
    let method =
        Method::from_bytes(fields::only(headers, &ACCESS_CONTROL_REQUEST_METHOD).ok().flatten()?.as_bytes()).ok()?;
    // What no rule lets through, or no browser sends.
    let impossible = method.as_str().bytes().any(|byte| byte.is_ascii_lowercase())
        || matches!(method, Method::CONNECT | Method::TRACE)
        || headers.contains_key(UPGRADE);
    (!impossible && request.body().is_end_stream()).then_some(method)
}

/// What pages may do, where it is we who say it. Compiled from the configuration.
#[derive(Debug)]
pub struct Terms {
    /// Empty = any.
    origins: Vec<HeaderValue>,
    /// None = whichever is asked for.
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose_headers: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Terms {
    /// The terms, when `config` says that we answer.
    pub fn compile(config: &config::Cors) -> Option<Arc<Self>> {
        // These were checked when the configuration was loaded.
        let value = |text: &String| HeaderValue::try_from(text).ok();
        let list = |words: &[String]| (!words.is_empty()).then(|| value(&words.join(", "))).flatten();
        let origin = |listed: &Origins| match listed {
            Origins::Any => None,
            Origins::One(origin) => HeaderValue::try_from(origin.as_str()).ok(),
        };
        let any = config.any_origin();
        let origins = if any { Vec::new() } else { config.origins.iter().filter_map(origin).collect() };
        (config.preflight == Preflight::Answer).then(|| {
            Arc::new(Self {
                origins,
                methods: list(&config.methods),
                headers: list(&config.headers),
                expose_headers: list(&config.expose_headers),
                credentials: config.credentials,
                max_age: HeaderValue::from(config.max_age.as_secs()),
            })
        })
    }

    /// Who may read the answer to a request with these headers.
    fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            // To everybody the same, so that caches need not tell pages apart.
            return Some(HeaderValue::from_static("*"));
        }
        let origin = fields::only(headers, &ORIGIN).ok().flatten()?;
        self.origins.iter().find(|listed| *listed == origin).cloned()
    }

    /// Answers a preflight with these headers. The app does not hear of it.
    fn answer(&self, asked: &HeaderMap, refusal: &Refusal) -> Response<Body> {
        let reader = self.reader(asked);
        let mut response = match &reader {
            // Without CORS headers the browser refuses by itself; the status is for who looks at the log.
            None => refusal.answer(Reason::PreflightDenied.into()),
            Some(_) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                let headers = response.headers_mut();
                for (name, of, listed) in [
                    (ACCESS_CONTROL_ALLOW_METHODS, &ACCESS_CONTROL_REQUEST_METHOD, &self.methods),
                    (ACCESS_CONTROL_ALLOW_HEADERS, &ACCESS_CONTROL_REQUEST_HEADERS, &self.headers),
                ] {
                    match listed {
                        Some(listed) => drop(headers.insert(name, listed.clone())),
                        None => headers.extend(asked.get_all(of).iter().map(|value| (name.clone(), value.clone()))),
                    }
                }
                headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
                response
            }
        };
        self.sign(response.headers_mut(), reader);
        for name in [&ACCESS_CONTROL_REQUEST_METHOD, &ACCESS_CONTROL_REQUEST_HEADERS] {
            vary(response.headers_mut(), name);
        }
        response
    }

    /// Says in an answer, whoever gave it, that the `reader` may read it.
    fn sign(&self, headers: &mut HeaderMap, reader: Option<HeaderValue>) {
        if !self.origins.is_empty() {
            vary(headers, &ORIGIN);
        }
        let Some(reader) = reader else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Puts our terms in the place of those that the app has set.
    fn replace(&self, headers: &mut HeaderMap, reader: Option<HeaderValue>) {
        let set_by_app = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let set_by_app: Vec<_> = headers.keys().filter(set_by_app).cloned().collect();
        for name in set_by_app {
            headers.remove(name);
        }
        if let (Some(_), Some(names)) = (&reader, &self.expose_headers) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
        self.sign(headers, reader);
    }
}

/// Answers preflights, and signs every other answer, refusals included: without that a page is told nothing but that the
/// network failed. Without terms it does nothing.
#[derive(Clone, Debug)]
pub struct Cors<S> {
    terms: Option<Arc<Terms>>,
    inner: S,
}

impl Cors<()> {
    /// The layer.
    pub fn layer<S>(terms: Option<Arc<Terms>>) -> impl Layer<S, Service = Cors<S>> + Clone {
        tower::layer::layer_fn(move |inner| Cors { terms: terms.clone(), inner })
    }
}

impl<S: Service<Box<Exchange>, Response = Response<Body>, Error = Infallible>> Service<Box<Exchange>> for Cors<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Box<Exchange>) -> Self::Future {
        let Some(terms) = &self.terms else {
            return ResponseFuture { state: State::Passed { inner: self.inner.call(exchange), terms: None } };
        };
        let headers = exchange.request.headers();
        // Of what could not be read nobody knows what it asks.
        if exchange.refusal.is_none() && preflight(&exchange.request).is_some() {
            let response = terms.answer(headers, &Refusal::of(&exchange));
            return ResponseFuture { state: State::Answered { response: Some(response) } };
        }
        let terms = Some((terms.clone(), terms.reader(headers)));
        ResponseFuture { state: State::Passed { inner: self.inner.call(exchange), terms } }
    }
}

pin_project! {
    /// The future of [`Cors`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum State<F> {
        Answered { response: Option<Response<Body>> },
        Passed { #[pin] inner: F, terms: Option<(Arc<Terms>, Option<HeaderValue>)> },
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for ResponseFuture<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Answered { response } => {
                // A future is not polled again once it was ready.
                Poll::Ready(Ok(response.take().unwrap_or_else(|| Response::new(Body::empty()))))
            }
            Projected::Passed { inner, terms } => {
                let mut response = ready!(inner.poll(cx))?;
                if let Some((terms, reader)) = terms.take() {
                    terms.replace(response.headers_mut(), reader);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn request(
        method: &str,
        lines: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> Request<Full<&'static [u8]>> {
        let mut request = Request::new(Full::new(body.as_bytes()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        request.headers_mut().extend(lines);
        request
    }

    const ORIGIN: (&str, &str) = ("origin", "https://app.example.com");
    const PUT: (&str, &str) = ("access-control-request-method", "PUT");

    #[test]
    fn only_what_a_browser_sends_is_a_preflight() {
        assert_eq!(preflight(&request("OPTIONS", &[ORIGIN, PUT], "")), Some(Method::PUT));
        for (method, headers, body) in [
            ("OPTIONS", &[ORIGIN, PUT][..], "x"),
            ("GET", &[ORIGIN, PUT], ""),
            ("POST", &[ORIGIN, PUT], ""),
            ("OPTIONS", &[ORIGIN], ""),
            ("OPTIONS", &[PUT], ""),
            ("OPTIONS", &[ORIGIN, ORIGIN, PUT], ""),
            ("OPTIONS", &[ORIGIN, PUT, PUT], ""),
            ("OPTIONS", &[ORIGIN, PUT, ("upgrade", "websocket")], ""),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "")], ""),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "put")], ""),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "PUT, GET")], ""),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "CONNECT")], ""),
        ] {
            assert_eq!(preflight(&request(method, headers, body)), None, "{method} {headers:?} {body}");
        }
    }
}
