//! The Kubernetes cluster that we run in: where its API server is, and what it takes to ask it.

use std::{
    env,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    config::{self, Problem, Server, Url},
    fetch::Client,
};

/// Where Kubernetes puts what a pod needs to ask its API server.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The resource at `path` of the API server, and a client that may ask for it. Where a `url` is given it is there, and
/// believed and asked as is said there; else it is the cluster's own, with the files of our pod. A `url` with a path is the
/// resource itself: some clusters have it elsewhere.
///
/// # Errors
/// This is no pod, or its files are not there; `key` is where the cluster was asked for.
pub(super) fn resource(url: Option<&Url>, path: &str, server: &Server, key: &str) -> Result<(Url, Client), Problem> {
    let url = match url {
        Some(url) if url.path_and_query() == "/" => {
            url.follow(path).map_err(|what| Problem::new(key, what, "set `url`"))?
        }
        Some(url) => url.clone(),
        None => own_url(path, key)?,
    };
    let client = Client::load(&url, ca(&url, server).as_deref(), bearer(&url, server).as_deref(), server.timeout, key)?;
    Ok((url, client))
}

/// The issuer of the tokens of the cluster at `url`: that of the token which is shown there.
///
/// # Errors
/// It is not there, or is none.
pub(super) fn issuer(url: &Url, server: &Server, key: &str) -> Result<String, Problem> {
    let remedy = "set `issuer` to what `kubectl get --raw /.well-known/openid-configuration` says";
    let problem = |what: String| Problem::new(key, format!("the cluster's issuer is not known: {what}"), remedy);
    let path = bearer(url, server).ok_or_else(|| problem("no token is shown there".to_owned()))?;
    let token = config::read(&path, key).map_err(|unread| problem(unread.what))?;
    // Not verified: it is our own, and what it says only chooses whose tokens are looked at.
    let payload =
        token.trim_ascii().split(|byte| *byte == b'.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    let issuer = claims.as_ref().and_then(|claims| claims.get("iss")).and_then(Value::as_str);
    issuer.map(str::to_owned).ok_or_else(|| problem(format!("{} is no service account's token", path.display())))
}

fn own_url(path: &str, key: &str) -> Result<Url, Problem> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) else {
        let remedy = "run it in a pod, or set `url`, `ca` and `bearer_token_file`";
        return Err(Problem::new(key, "this is no pod: KUBERNETES_SERVICE_HOST and _PORT are not set", remedy));
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Url::parse(&format!("https://{host}:{port}{path}")).map_err(|what| Problem::new(key, what, "set `url`"))
}

/// The authorities that the API server at `url` is believed by.
fn ca(url: &Url, server: &Server) -> Option<PathBuf> {
    server.ca.clone().or_else(|| is_own(url).then(|| mounted("ca.crt")))
}

/// The token that it is shown.
fn bearer(url: &Url, server: &Server) -> Option<PathBuf> {
    server.bearer_token_file.clone().or_else(|| is_own(url).then(|| mounted("token")))
}

fn is_own(url: &Url) -> bool {
    own_url("/", "").is_ok_and(|own| url.has_origin_of(&own))
}

fn mounted(name: &str) -> PathBuf {
    Path::new(MOUNT).join(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_url_without_a_path_is_the_server_and_one_with_a_path_the_resource() {
        let server = Server { timeout: Duration::from_secs(3), ca: None, bearer_token_file: None };
        for (written, asked) in [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443/openid/v1/jwks"),
            ("https://10.0.0.1:6443/", "https://10.0.0.1:6443/openid/v1/jwks"),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001/openid/v1/jwks"),
            ("https://keys.example.com/a/b", "https://keys.example.com/a/b"),
            ("https://keys.example.com/?cluster=a", "https://keys.example.com/"),
        ] {
            let url = Url::parse(written).unwrap();
            let (resource, _) = resource(Some(&url), "/openid/v1/jwks", &server, "keys").unwrap();
            assert_eq!(resource.to_string(), asked, "{written}");
        }
    }
}
