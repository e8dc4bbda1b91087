//! A refusal becomes a response, in one place: status, code and challenge.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    body::Body,
    exchange::{Exchange, Trail, X_REQUEST_ID},
    reason::Reason,
};

/// A refusal on its way to become a response.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    challenges: Option<Arc<Challenges>>,
    /// When it is worth while to ask again, where that is known.
    retry_after: Option<Duration>,
}

impl Denial {
    /// A refusal that asks for the credentials that the challenges name.
    pub fn challenge(reason: Reason, challenges: Arc<Challenges>) -> Self {
        Self { reason, challenges: Some(challenges), retry_after: None }
    }

    /// A refusal that is over after a while.
    pub fn for_now(reason: Reason, wait: Duration) -> Self {
        Self { reason, challenges: None, retry_after: Some(wait) }
    }

    fn into_response(self, form: Form, request_id: &HeaderValue) -> Response<Body> {
        if form == Form::Grpc {
            return grpc_response(self.reason);
        }
        let Reply { content_type, body } = form.render(self.reason, request_id.to_str().unwrap_or("-"));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.reason.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, request_id.clone());
        if let Some(wait) = self.retry_after {
            // Rounded up: who comes when it says must not be early.
            headers.insert(RETRY_AFTER, wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).into());
        }
        for challenge in self.challenges.iter().flat_map(|challenges| challenges.of(self.reason)) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        // What is no fault of the request, and passes.
        let passes = matches!(reason, Reason::Overloaded | Reason::KeysUnavailable | Reason::ReviewUnavailable);
        let retry_after = passes.then_some(Duration::from_secs(1));
        Self { reason, challenges: None, retry_after }
    }
}

/// What a 401 asks for (RFC 9110 section 11.6.1): one challenge per kind of credentials that is accepted.
#[derive(Debug)]
pub struct Challenges {
    /// Whether bearer tokens are accepted.
    pub bearer: bool,
    /// The realm, where passwords are accepted.
    pub basic: Option<String>,
    /// Whether a browser is to ask its user for a password.
    pub prompt: bool,
}

impl Challenges {
    fn of(&self, reason: Reason) -> Vec<HeaderValue> {
        let bearer = self.bearer.then(|| {
            let realm = self.basic.as_deref().unwrap_or("sidegate");
            if reason.code().starts_with("jwt_") {
                // RFC 6750 section 3.1: only a request that carried a token is told what is wrong with it.
                format!(r#"Bearer realm="{realm}", error="invalid_token", error_description="{}""#, reason.text())
            } else {
                format!(r#"Bearer realm="{realm}""#)
            }
        });
        // A 401 has to have a challenge (RFC 9110 section 15.5.2); browsers pass over a scheme that they do not know.
        let scheme = if self.prompt { "Basic" } else { "xBasic" };
        let basic = self.basic.as_ref().map(|realm| format!(r#"{scheme} realm="{realm}", charset="UTF-8""#));
        bearer.into_iter().chain(basic).filter_map(|text| HeaderValue::try_from(text).ok()).collect()
    }
}

/// The form of a refusal: what the client said it understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Json,
    Text,
    Html,
    Grpc,
}

struct Reply {
    content_type: &'static str,
    body: Bytes,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if text(CONTENT_TYPE).is_some_and(|value| value.starts_with("application/grpc")) {
            return Self::Grpc;
        }
        let Some(accept) = text(ACCEPT) else { return Self::Json };
        // No quality values: a browser names text/html first, an API client application/json or nothing.
        let accepted = accept.split(',').map(|part| part.split(';').next().unwrap_or("").trim());
        for media_type in accepted {
            match media_type {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "text/plain" | "text/*" => return Self::Text,
                "application/json" | "application/*" | "*/*" => return Self::Json,
                _ => {}
            }
        }
        Self::Json
    }

    fn render(self, reason: Reason, request_id: &str) -> Reply {
        let (status, code, text) = (reason.status(), reason.code(), reason.text());
        // Neither the request id (checked on arrival) nor our own texts hold anything that would need escaping.
        match self {
            Self::Json | Self::Grpc => Reply {
                content_type: "application/json",
                body: format!("{{\"error\":\"{code}\",\"request_id\":\"{request_id}\"}}\n").into(),
            },
            Self::Text => Reply {
                content_type: "text/plain; charset=utf-8",
                body: format!("{text}\n\nerror: {code}\nrequest id: {request_id}\n").into(),
            },
            Self::Html => Reply {
                content_type: "text/html; charset=utf-8",
                body: format!(
                    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status}</title>\
                     <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
                     <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;\
                     margin:20vh auto 0;padding:0 1rem}}dl{{color:GrayText;font-size:.9rem}}dt{{float:left;width:6rem}}\
                     dd{{margin:0 0 .2rem 6rem;font-family:ui-monospace,monospace}}</style>\
                     <h1>{status}</h1><p>{text}</p>\
                     <dl><dt>Reason<dd>{code}<dt>Request ID<dd>{request_id}</dl></html>\n"
                )
                .into(),
            },
        }
    }
}

/// gRPC clients read the status from a header of an empty 200 (a Trailers-Only answer), not from the HTTP status.
fn grpc_response(reason: Reason) -> Response<Body> {
    let status = match reason.status() {
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::BAD_REQUEST => "3",
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "8",
        StatusCode::GATEWAY_TIMEOUT => "4",
        _ => "14",
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    headers.insert("grpc-message", HeaderValue::from_static(reason.code()));
    response
}

/// What the answer to a request would be like if it were refused. It is kept while the request itself is on its way.
#[derive(Debug)]
pub struct Refusal {
    form: Form,
    head: bool,
    trail: Arc<Trail>,
}

impl Refusal {
    /// Of this request.
    pub fn of(exchange: &Exchange) -> Self {
        Self {
            form: Form::of(exchange.request.headers()),
            head: exchange.request.method() == Method::HEAD,
            trail: exchange.trail.clone(),
        }
    }

    /// The answer to the request, which is refused.
    pub fn answer(&self, denial: Denial) -> Response<Body> {
        self.trail.failed(denial.reason);
        let mut response = denial.into_response(self.form, &self.trail.request_id);
        if self.head {
            // Over HTTP/2 nobody else leaves it out, and there it is a protocol error.
            *response.body_mut() = Body::empty();
        }
        response
    }
}

/// Turns the denials of the layers below into responses, and what the connection wants refused before they see it. Below it
/// a refusal is an `Err`; above it there are only responses.
#[derive(Clone, Copy, Debug)]
pub struct Respond<S> {
    inner: S,
}

impl Respond<()> {
    /// The layer.
    pub fn layer<S>() -> impl Layer<S, Service = Respond<S>> + Clone {
        tower::layer::layer_fn(|inner| Respond { inner })
    }
}

impl<S> Service<Box<Exchange>> for Respond<S>
where
    S: Service<Box<Exchange>, Response = Response<Body>, Error = Denial>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Nothing below queues: what cannot be served now is refused by its call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, exchange: Box<Exchange>) -> Self::Future {
        let refusal = Refusal::of(&exchange);
        let answer = match exchange.refusal {
            Some(reason) => {
                exchange.refuse();
                Answer::Refused { reason }
            }
            None => Answer::Asked { inner: self.inner.call(exchange) },
        };
        ResponseFuture { answer, refusal }
    }
}

pin_project! {
    /// The future of [`Respond`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        answer: Answer<F>,
        refusal: Refusal,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Answer<F> {
        Refused { reason: Reason },
        Asked { #[pin] inner: F },
    }
}

impl<F: Future<Output = Result<Response<Body>, Denial>>> Future for ResponseFuture<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.answer.project() {
            Projected::Refused { reason } => Err((*reason).into()),
            Projected::Asked { inner } => ready!(inner.poll(cx)),
        };
        Poll::Ready(Ok(answer.unwrap_or_else(|denial| this.refusal.answer(denial))))
    }
}
