//! Header names that carry authority: who is calling, where from, and what for. A client may say none of them.

use http::HeaderName;

/// Headers that some app or framework believes. All of them are removed on every route, whether or not we set them: an
/// app that reads `X-Auth-Request-User` must not find one there because we use another name.
const PROTECTED: &[&str] = &[
    // Who is calling: oauth2-proxy, Authelia, kube-rbac-proxy, Kubernetes, Envoy, IAP, cloud gateways and others.
    "client-cert",
    "client-cert-chain",
    "kubeflow-userid",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-apigateway-api-userinfo",
    "x-arr-clientcert",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-username",
    "x-authenticated-user",
    "x-endpoint-api-userinfo",
    "x-goog-iap-jwt-assertion",
    "x-id-token",
    "x-jwt-payload",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-uid",
    "x-remote-user",
    "x-user",
    "x-userinfo",
    // Where it comes from.
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "http-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-host",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-real-port",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-script-name",
    "x-url-scheme",
    // What it asks for, in place of the method and the target that the rules saw.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-waws-unencoded-url",
    // What only a web server in front may tell the framework: which files to send, which checks were made.
    "x-accel-mapping",
    "x-middleware-subrequest",
    "x-sendfile-type",
    // WSGI and CGI variables: gunicorn lets a local peer, which we are, set the first two.
    "path-info",
    "script-name",
    "auth-type",
    "document-root",
    "gateway-interface",
    "https",
    "path-translated",
    "query-string",
    "remote-addr",
    "remote-host",
    "remote-ident",
    "remote-port",
    "request-method",
    "request-scheme",
    "request-uri",
    "script-filename",
    "server-addr",
    "server-name",
    "server-port",
    "server-protocol",
    "server-software",
    // httpoxy: CGI turns it into HTTP_PROXY.
    "proxy",
];

/// Families of such headers.
const PROTECTED_PREFIXES: &[&str] = &[
    "cf-access-",
    "impersonate-",
    "oidc-",
    "ssl-client-",
    "tailscale-",
    "wsgi-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-auth-request-",
    "x-authentik-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-envoy-original-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-remote-extra-",
    "x-sidegate-",
    "x-ssl-client-",
    "x-vouch-",
    "x-webauth-",
];

/// What a byte of a name may be folded to: nothing else (0), or something.
const KINDS: [u8; 256] = {
    let mut kinds = [FOLDABLE; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-' {
            kinds[byte] = 0;
        }
        byte += 1;
    }
    kinds[b'_' as usize] = UNDERSCORE;
    kinds
};
const FOLDABLE: u8 = 1;
const UNDERSCORE: u8 = 2;

/// Names of headers that are removed, in any spelling.
#[derive(Debug)]
pub(super) struct Names {
    names: Vec<String>,
    prefixes: &'static [&'static str],
    /// For each length, and for longer ones together, the letters that names of that length and prefixes begin with: most
    /// headers are let through by one look at it.
    initials: [u32; LENGTHS],
    /// Whether a name with `_` is one, whatever else it is.
    underscore: bool,
}

/// Longer names are few enough to be looked for.
const LENGTHS: usize = 32;

impl Names {
    /// These names, and those that carry authority.
    pub(super) fn protected_and(names: impl Iterator<Item = HeaderName>) -> Self {
        let protected = PROTECTED.iter().map(|&name| name.to_owned());
        Self::new(protected.chain(names.map(|name| normalised(name.as_str()))), PROTECTED_PREFIXES)
    }

    /// These names only.
    pub(super) fn only(names: impl IntoIterator<Item = HeaderName>) -> Self {
        Self::new(names.into_iter().map(|name| normalised(name.as_str())), &[])
    }

    fn new(names: impl Iterator<Item = String>, prefixes: &'static [&'static str]) -> Self {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        let of_prefixes = prefixes.iter().fold(0, |initials, prefix| initials | initial(prefix));
        let mut initials = [of_prefixes; LENGTHS];
        for name in &names {
            initials[name.len().min(LENGTHS - 1)] |= initial(name);
        }
        Self { names, prefixes, initials, underscore: !prefixes.is_empty() }
    }

    /// Whether a header of this name is removed.
    ///
    /// Apps fold names: WSGI and CGI read `_` for `-`, PHP reads `-` for `.`, and some read `-` for whatever is not a
    /// letter or a digit. So a name is compared by what it could be folded to; and a client's with `_` is removed
    /// whatever it is, as nginx does, because two of them that differ only by `-` become one at the app.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let kinds = name.bytes().fold(0, |kinds, byte| kinds | KINDS[usize::from(byte)]);
        if kinds == 0 {
            let may_be = self.initials[name.len().min(LENGTHS - 1)] & initial(name) != 0;
            return may_be && self.has(name);
        }
        (kinds & UNDERSCORE != 0 && self.underscore) || self.has(&normalised(name))
    }

    fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The bit of the letter that `name` begins with; those that begin with something else share one.
fn initial(name: &str) -> u32 {
    1 << name.bytes().next().filter(u8::is_ascii_lowercase).map_or(31, |letter| letter - b'a')
}

/// The name with every byte that is not a letter or a digit as `-`. `HeaderName` is lower-case already.
fn normalised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn removed(name: &str) -> bool {
        let ours = [HeaderName::from_static("x-tenant")];
        Names::protected_and(ours.into_iter())
            .contains(&HeaderName::from_bytes(name.as_bytes()).expect("a header name"))
    }

    #[test]
    fn every_spelling_of_a_protected_name_is_removed() {
        for name in [
            "X-Forwarded-User",
            "X_Forwarded_User",
            "x.forwarded.user",
            "X-Forwarded_User",
            "x-forwarded.USER",
            "x!forwarded~user",
            "X-Tenant",
            "x_tenant",
            "x.tenant",
            "SCRIPT_NAME",
            "Script-Name",
            "script.name",
            "REMOTE_USER",
            "Remote-User",
            "Forwarded",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "Proxy",
            "X-Auth-Request-Anything",
            "x.auth.request.user",
            "wsgi.input",
            "X-MS-Client-Principal-Name",
            "X_MS_CLIENT_PRINCIPAL",
            "Ssl-Client-Verify",
            "CF-Access-Jwt-Assertion",
            "Tailscale-User-Login",
            "Impersonate-User",
            "X-Forwarded-Users",
            "X-Forwarded-Anything",
            "X.Forwarded.Anything",
            "X-AppEngine-User-Email",
            "X-Sidegate-Identity",
            "X.Sidegate.Identity",
            "anything_at_all",
        ] {
            assert!(removed(name), "{name}");
        }
    }

    #[test]
    fn other_names_pass() {
        for name in [
            "Accept",
            "Content-Type",
            "Cookie",
            "User-Agent",
            "X-Requested-With",
            "X-CSRF-Token",
            "X-Forwarder",
            "X-Auth-Token",
            "X-Original-Filename",
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "x-b3-traceid",
            "sec-websocket-key",
            "a.b",
            "If-None-Match",
            "Range",
        ] {
            assert!(!removed(name), "{name}");
        }
    }
}
