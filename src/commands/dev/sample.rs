//! The sample app: it has no login of its own, and shows what an app behind sidegate gets to see.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;

use super::banner::Commands;
use crate::config::UpstreamAddress;

mod page;
mod seen;

use self::{page::Page, seen::Seen};

/// sidegate adds a handful to the hundred that it lets through.
const MAX_HEADERS: usize = 200;

/// The sample app, bound to a port of its own.
#[derive(Debug)]
pub(super) struct Sample {
    listener: TcpListener,
    /// Where it listens.
    pub(super) address: UpstreamAddress,
}

impl Sample {
    /// Takes a port that is free. Who connects before [`Sample::start`] waits.
    pub(super) fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = format!("http://{}", listener.local_addr()?).parse().map_err(io::Error::other)?;
        Ok(Self { listener, address })
    }

    /// Serves, on a thread that ends with the process. `commands` are shown to try things with.
    pub(super) fn start(self, commands: Commands) -> io::Result<()> {
        let page = Arc::new(Page::new(commands));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let serve = async move {
            loop {
                // What fails is one connection, which its client has given up.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let page = page.clone();
                let service = service_fn(move |request| answer(page.clone(), request));
                let mut builder = http1::Builder::new();
                builder.max_headers(MAX_HEADERS);
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        };
        thread::Builder::new().name("sample-app".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(())
    }
}

async fn answer(page: Arc<Page>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, mut body) = request.into_parts();
    let mut received = 0;
    // A body that breaks off has no other consequence than its length.
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len);
    }
    let seen = Seen::new(&parts, received);
    let html = wants_html(&parts.headers);
    let text = if html { page.render(&seen) } else { seen.to_json() };
    let mut response = Response::new(Full::from(text));
    let headers = response.headers_mut();
    let content_type = if html { "text/html; charset=utf-8" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, page.policy.clone());
    Ok(response)
}

/// A browser names HTML; curl and API clients do not.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| part.trim().starts_with("text/html"))
}
