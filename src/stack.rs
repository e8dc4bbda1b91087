//! THE order of the request path.

use std::{convert::Infallible, sync::Arc};

use http::Response;
use tokio::sync::Semaphore;
use tower::{Service, ServiceBuilder, service_fn};

use crate::{
    admit::Admit,
    auth::{Guard, Judge, Permitted},
    body::Body,
    cors::{Cors, Terms},
    denial::Respond,
    exchange::Exchange,
    proxy::Proxy,
    telemetry::{AccessLog, Metrics, Observe, Observed},
};

/// What a listener serves: it answers every request, and never fails. It is always ready: what cannot be served now is
/// refused by its answer, so a caller need not ask `poll_ready`.
pub trait HttpService:
    Service<Box<Exchange>, Response = Response<Observed<Body>>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> HttpService for S where
    S: Service<Box<Exchange>, Response = Response<Observed<Body>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What the stack is made of. All but the proxy, whose connections belong to one worker, is shared by the workers.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged.
    pub log: Arc<AccessLog>,
    /// What web pages of other origins are told, where it is we who tell them.
    pub cors: Option<Arc<Terms>>,
    /// The places for requests in flight.
    pub places: Arc<Semaphore>,
    /// What decides.
    pub judge: Judge,
    /// The way to the app.
    pub proxy: Arc<Proxy>,
}

/// The path of a request, from its arrival to the app and back.
pub fn build(parts: Parts) -> impl HttpService {
    let Parts { metrics, log, cors, places, judge, proxy } = parts;
    ServiceBuilder::new()
        // 1. One log line and one set of metrics per request, whatever happens below.
        .layer(Observe::layer(metrics, log))
        // 2. Browsers may read every answer that their page's origin is allowed to, refusals included. A preflight ends
        //    here, unless its connection could not read it.
        .layer(Cors::layer(cors))
        // 3. What its connection could not read goes no further. Below this line a refusal is `Err(Denial)`; above it there
        //    are only responses.
        .layer(Respond::layer())
        // 4. Shed load at once instead of queueing it.
        .layer(Admit::layer(places))
        // 5. Who is calling, and may they? The only code that can make a `Permitted`.
        .layer(Guard::layer(judge))
        // 6. Rewrite the headers, stream to the app, stream back. Boxed: by value the future would be copied once for each
        //    layer above, which costs more than the allocation.
        .service(service_fn(move |permitted: Permitted| Box::pin(proxy.clone().forward(permitted))))
}
