//! Where an issuer publishes its keys, and how they are got from there.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    config::Url,
    fetch::{Client, FetchError},
};

/// Where the metadata of an issuer is (OpenID Connect Discovery 1.0 section 4).
const METADATA: &str = "/.well-known/openid-configuration";

/// Where a JWKS is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where the metadata of the issuer says.
    Discovery {
        /// The issuer, to the letter.
        issuer: String,
        /// Where its metadata is.
        metadata: Url,
    },
    /// Here.
    Url(Url),
}

/// What an issuer's keys are fetched from.
pub(super) trait Publish {
    /// Fetches the keys. Where they are `wanted` by a request it has to be quick.
    fn fetch(&mut self, wanted: bool) -> impl Future<Output = Result<Published, PublishError>> + Send;
}

/// An issuer's own server.
#[derive(Debug)]
pub(super) struct Publisher {
    client: Client,
    place: Place,
    /// Where the metadata said that the keys are.
    found: Option<Url>,
}

/// A JWKS that was fetched. Nobody has looked at it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) jwks: Bytes,
    /// How long it may be kept, where the server says so.
    pub(super) max_age: Option<Duration>,
    /// Where it was.
    pub(super) url: Url,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("{0}: {1}")]
    Fetch(Url, FetchError),
    #[error("{0}: {1}")]
    Unusable(Url, String),
}

/// The members of an issuer's metadata that we read.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Place {
    /// Where `issuer` says in its metadata.
    ///
    /// # Errors
    /// It is no URL that can be fetched from.
    pub(super) fn discovery(issuer: &str) -> Result<Self, String> {
        let metadata = Url::parse(&format!("{}{METADATA}", issuer.trim_end_matches('/')))?;
        Ok(Self::Discovery { issuer: issuer.to_owned(), metadata })
    }

    /// What is asked first.
    pub(super) const fn url(&self) -> &Url {
        match self {
            Self::Discovery { metadata: url, .. } | Self::Url(url) => url,
        }
    }
}

impl Publisher {
    pub(super) const fn new(client: Client, place: Place) -> Self {
        Self { client, place, found: None }
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self, issuer: &str, url: &Url) -> Result<Url, PublishError> {
        let fetched = self.client.get(url).await.map_err(|error| PublishError::Fetch(url.clone(), error))?;
        let unusable = |what| PublishError::Unusable(url.clone(), what);
        let metadata: Metadata = serde_json::from_slice(&fetched.body).map_err(|error| unusable(error.to_string()))?;
        // Section 4.3: to the letter. Else one issuer could speak for another.
        if metadata.issuer != issuer {
            return Err(unusable(format!("it is the metadata of `{}`, and not of `{issuer}`", metadata.issuer)));
        }
        url.follow(&metadata.jwks_uri).map_err(|why| unusable(format!("its jwks_uri: {why}")))
    }
}

impl Publish for Publisher {
    /// For a key that is `wanted` the metadata is not read again: where the keys are has been found before.
    async fn fetch(&mut self, wanted: bool) -> Result<Published, PublishError> {
        // A failure forgets it: the keys may have moved.
        let url = match (&self.place, self.found.take()) {
            (Place::Url(url), _) => url.clone(),
            (Place::Discovery { .. }, Some(found)) if wanted => found,
            (Place::Discovery { issuer, metadata }, _) => self.discover(issuer, metadata).await?,
        };
        let fetched = self.client.get(&url).await.map_err(|error| PublishError::Fetch(url.clone(), error))?;
        self.found = Some(url);
        Ok(Published { jwks: fetched.body, max_age: fetched.max_age, url: fetched.url })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread::{JoinHandle, spawn},
    };

    use super::*;

    /// Answers one request with this, and hands back its head.
    fn answers(listener: TcpListener, answer: String) -> JoinHandle<String> {
        spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            write!(stream, "HTTP/1.1 {answer}").unwrap();
            String::from_utf8(head).unwrap()
        })
    }

    fn document(body: &str) -> String {
        format!("200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// A publisher at `place`, to which a token is shown.
    fn publisher(place: Place, folder: &std::path::Path) -> Publisher {
        let token = folder.join("token");
        std::fs::write(&token, "a.b.c").unwrap();
        let client = Client::load(place.url(), None, Some(&token), Duration::from_secs(60), "keys").unwrap();
        Publisher::new(client, place)
    }

    #[tokio::test]
    async fn a_token_is_shown_to_the_server_that_it_is_for_and_not_to_one_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let ((here, issuer), (there, elsewhere)) = (listen(), listen());
        let metadata = format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{elsewhere}/keys"}}"#);
        let asked = [answers(here, document(&metadata)), answers(there, document("{}"))];
        let mut publisher = publisher(Place::discovery(&issuer).unwrap(), folder.path());
        let published = publisher.fetch(false).await.unwrap();
        assert_eq!((&*published.jwks, published.url.to_string()), (&b"{}"[..], format!("{elsewhere}/keys")));
        let [issuer, other] = asked.map(|head| head.join().unwrap().to_lowercase());
        assert!(issuer.contains("authorization: bearer a.b.c"), "{issuer}");
        assert!(!other.contains("authorization"), "{other}");
    }

    #[tokio::test]
    async fn a_token_is_not_shown_to_one_that_it_redirects_to() {
        let folder = tempfile::tempdir().unwrap();
        let ((here, url), (there, elsewhere)) = (listen(), listen());
        let redirect = format!("302 Found\r\nlocation: {elsewhere}/keys\r\ncontent-length: 0\r\n\r\n");
        let asked = [answers(here, redirect), answers(there, document("{}"))];
        let mut publisher = publisher(Place::Url(Url::parse(&url).unwrap()), folder.path());
        publisher.fetch(false).await.unwrap();
        let [first, other] = asked.map(|head| head.join().unwrap().to_lowercase());
        assert!(first.contains("authorization: bearer a.b.c"), "{first}");
        assert!(!other.contains("authorization"), "{other}");
    }

    #[tokio::test]
    async fn the_metadata_of_another_issuer_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        for (changes, expected) in [
            (r#""issuer": "ISSUER/", "jwks_uri": "ISSUER/keys""#, "and not of"),
            (r#""issuer": "ISSUER", "jwks_uri": "https://login.example.com/keys""#, "another scheme"),
            (r#""issuer": "ISSUER", "jwks_uri": "http://169.254.169.254/keys""#, "jwks_uri"),
            (r#""issuer": "ISSUER""#, "missing field"),
        ] {
            let (here, issuer) = listen();
            let asked = answers(here, document(&format!("{{{}}}", changes.replace("ISSUER", &issuer))));
            let error = publisher(Place::discovery(&issuer).unwrap(), folder.path()).fetch(false).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            asked.join().unwrap();
        }
    }
}
