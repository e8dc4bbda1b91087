//! Fetches what others publish, an issuer's keys among it: seldom, in the background, and believing nobody.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

pub use self::roots::Roots;
use self::{connect::connect, roots::client_config};
use crate::config::{self, Problem, Url};

mod connect;
mod roots;

/// The largest body that is read. A key set has a few kB.
const MAX_BODY: usize = 1 << 20;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// The largest response head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// What is asked for. An API server of Kubernetes answers 406 to those who do not name the type of its key set.
const TYPES: &str = "application/json, application/jwk-set+json";

/// The longest bearer token that is sent.
const MAX_BEARER: usize = 16 * 1024;

/// Fetches from one server, with what it takes to be believed there and to believe it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The server. The token is for it, and for no other that it names or redirects to.
    home: Url,
    roots: Roots,
    /// A file with a token. Read for each request: Kubernetes writes a new one every hour.
    bearer: Option<PathBuf>,
    timeout: Duration,
}

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The body.
    pub body: Bytes,
    /// How long it may be kept (RFC 9111 section 5.2.2), where the server says so.
    pub max_age: Option<Duration>,
    /// Where it was found in the end.
    pub url: Url,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or not to whom it should be.
    #[error("{0}")]
    Connect(#[from] connect::ConnectError),
    /// The connection broke, or what came over it is no HTTP.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// The server has something else than what was asked for.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// A redirect to where we do not go.
    #[error("not followed: {0}")]
    Redirect(String),
    /// Too many redirects.
    #[error("more than {MAX_REDIRECTS} redirects")]
    Redirects,
    /// Too large a body.
    #[error("the answer is larger than {} KiB", MAX_BODY >> 10)]
    TooLarge,
    /// The file of the bearer token, or of the authorities.
    #[error("{0}")]
    File(Problem),
}

impl Client {
    /// A client that believes the authorities in `ca`, or those of the system, and shows the token in the file `bearer` to
    /// the server of `home`.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else; `key` is where the two were named.
    pub fn load(
        home: &Url,
        ca: Option<&Path>,
        bearer: Option<&Path>,
        timeout: Duration,
        key: &str,
    ) -> Result<Self, Problem> {
        let roots = Roots::load(ca, &format!("{key}.ca"))?;
        let client = Self { home: home.clone(), roots, bearer: bearer.map(Path::to_owned), timeout };
        client.authorization(&format!("{key}.bearer_token_file"))?;
        Ok(client)
    }

    /// Gets what is at `url`, or where it redirects to.
    ///
    /// # Errors
    /// Anything but a 200 with a body of a bearable size in time.
    pub async fn get(&self, url: &Url) -> Result<Fetched, FetchError> {
        let fetched = async {
            let mut at = url.clone();
            for _ in 0..=MAX_REDIRECTS {
                let response = self.ask(&at, Request::get(at.path_and_query()), Bytes::new()).await?;
                if response.status().is_redirection() {
                    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                    let location = location.ok_or(FetchError::Status(response.status()))?;
                    at = at.follow(location).map_err(FetchError::Redirect)?;
                    continue;
                }
                return read(response, at, &[StatusCode::OK]).await;
            }
            Err(FetchError::Redirects)
        };
        timeout(self.timeout, fetched).await.unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }

    /// Posts a JSON document to `url`, and gets the answer. A redirect is none.
    ///
    /// # Errors
    /// As for [`Client::get`]; 201 will do.
    pub async fn post(&self, url: &Url, json: &serde_json::Value) -> Result<Fetched, FetchError> {
        let fetched = async {
            let request = Request::post(url.path_and_query()).header(CONTENT_TYPE, "application/json");
            let response = self.ask(url, request, json.to_string().into()).await?;
            read(response, url.clone(), &[StatusCode::OK, StatusCode::CREATED]).await
        };
        timeout(self.timeout, fetched).await.unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }

    /// Sends a request over a connection of its own: keys are fetched once in minutes, and what an API server says is remembered.
    async fn ask(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, FetchError> {
        let mut request = request
            .header(HOST, url.authority())
            .header(ACCEPT, TYPES)
            .header(USER_AGENT, concat!("sidegate/", env!("CARGO_PKG_VERSION")));
        if url.has_origin_of(&self.home)
            && let Some(value) = self.authorization("bearer_token_file").map_err(FetchError::File)?
        {
            request = request.header(AUTHORIZATION, value);
        }
        // A URL that was parsed makes a request that can be built.
        let request = request.body(Full::new(body)).map_err(|error| FetchError::Redirect(error.to_string()))?;
        let config = url.is_https().then(|| client_config(&self.roots)).transpose().map_err(FetchError::File)?;
        let stream = connect(url, config).await?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake::<_, Full<Bytes>>(stream)
            .await?;
        // It ends with the body, or when nobody wants the body any more.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }

    /// The header with the token.
    fn authorization(&self, key: &str) -> Result<Option<HeaderValue>, Problem> {
        let Some(path) = &self.bearer else { return Ok(None) };
        let token = config::read(path, key)?;
        let token = token.trim_ascii();
        let problem = |what| Problem::new(path.display().to_string(), what, "it must hold one bearer token");
        if token.is_empty() || token.len() > MAX_BEARER {
            return Err(problem("it is empty or too long"));
        }
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        let mut value = value.map_err(|_| problem("it holds something that a header cannot carry"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

async fn read(response: Response<Incoming>, url: Url, expected: &[StatusCode]) -> Result<Fetched, FetchError> {
    if !expected.contains(&response.status()) {
        return Err(FetchError::Status(response.status()));
    }
    let max_age = max_age(response.headers());
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => FetchError::Http(*error),
        Err(_) => FetchError::TooLarge,
    })?;
    Ok(Fetched { body: body.to_bytes(), max_age, url })
}

/// `max-age` of `Cache-Control`. `no-cache` and `no-store` say nothing about when there is something new: Keycloak and others
/// send them with every key set, for browsers.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let seconds = directives.flat_map(|value| value.split(',')).filter_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok())?
    });
    seconds.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn how_long_an_answer_may_be_kept_is_read() {
        for (values, expected) in [
            (&[][..], None),
            (&["public"], None),
            (&["max-age=300"], Some(300)),
            (&["public, Max-Age=\"300\", must-revalidate"], Some(300)),
            (&["max-age=300", "max-age=60"], Some(60)),
            (&["max-age=300, no-store"], Some(300)),
            (&["no-cache"], None),
            (&["max-age=soon"], None),
            (&["max-age=-1"], None),
            (&["s-maxage=5"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{values:?}");
        }
    }

    #[test]
    fn a_token_is_read_from_its_file_and_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let home = Url::parse("https://login.example.com/keys").unwrap();
        let load = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Client::load(&home, None, Some(&path), Duration::from_secs(1), "auth.jwt[0].keys")
        };
        let value = load("abc.def\n").unwrap().authorization("").unwrap().unwrap();
        assert_eq!((value.as_bytes(), format!("{value:?}").as_str()), (&b"Bearer abc.def"[..], "Sensitive"));
        for wrong in ["", "\n", "a\nb", "a\0b", &"x".repeat(MAX_BEARER + 1)] {
            assert!(load(wrong).unwrap_err().to_string().contains("token"), "{wrong:.10}");
        }
        let missing = folder.path().join("none");
        let problem =
            Client::load(&home, None, Some(&missing), Duration::from_secs(1), "auth.jwt[0].keys").unwrap_err();
        assert!(problem.to_string().starts_with("auth.jwt[0].keys.bearer_token_file: there is no file"), "{problem}");
    }
}
