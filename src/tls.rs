//! TLS: from the operator's files to what the listener serves.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CipherSuite, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{self, Problem, Problems, TlsVersion};

/// What a TLS listener needs.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For the handshakes.
    pub config: Arc<ServerConfig>,
    /// When the certificate ends.
    pub not_after: SystemTime,
}

impl Tls {
    /// Reads a certificate and its key. HTTP/2 is offered when `http2`.
    ///
    /// # Errors
    /// A file that cannot be read or is not PEM, a certificate that is not valid now, or a key that is not its key.
    pub fn load(config: &config::Tls, http2: bool) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let chain = problems.keep(certificates(&config.certificate, "listen.tls.certificate"));
        let key = problems.keep(private_key(&config.key, "listen.tls.key"));
        let (Some((chain, not_after)), Some(key)) = (chain, key) else { return Err(problems) };
        let provider = provider();
        let unusable = |path: &Path, what: String, remedy: &str| Problem::new(path.display().to_string(), what, remedy);

        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            unusable(
                &config.key,
                format!("the private key cannot be used: {error}"),
                "use an RSA, ECDSA or Ed25519 key",
            )
        })?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| {
            let what = format!("the certificate does not belong to the key {}", config.key.display());
            unusable(
                &config.certificate,
                what,
                "give the two files of one pair, the server's certificate first in its file",
            )
        })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
        let versions: &[_] = match config.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .map_err(|error| Problem::new("listen.tls.min_version", error.to_string(), ""))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // Whoever names what they speak is refused when we name none of it, old clients included.
        let spoken = [http2.then_some("h2"), Some("http/1.1"), Some("http/1.0")];
        server.ignore_client_order = true;
        // One is enough: who resumes is given the next with the new connection, and each costs every full handshake.
        server.send_tls13_tickets = 1;
        server.alpn_protocols = spoken.into_iter().flatten().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self { config: Arc::new(server), not_after })
    }
}

/// The library's algorithms, with AES-128 before AES-256, as browsers, Go and Envoy have it. AES-256 in TLS comes with
/// SHA-384, for which most processors have no instructions: its key schedule takes an eighth of a handshake. Against a
/// quantum computer it is the exchange of keys that counts, and that is hybrid.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let aes_128 = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    // It is stable: all else stays in the library's order.
    provider.cipher_suites.sort_by_key(|suite| !aes_128.contains(&suite.suite()));
    provider
}

/// Reads the certificates of authorities that `key` of the configuration names.
///
/// # Errors
/// The file cannot be read, is not PEM, or holds none that can be used.
pub(crate) fn authorities(path: &Path, key: &str) -> Result<RootCertStore, Problem> {
    const REMEDY: &str = "it must hold the authorities' certificates as PEM";
    let place = || path.display().to_string();
    let bytes = config::read(path, key)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| Problem::new(place(), format!("not PEM: {error}"), REMEDY))?;
        roots
            .add(certificate)
            .map_err(|error| Problem::new(place(), format!("a certificate in it cannot be used: {error}"), REMEDY))?;
    }
    if roots.is_empty() {
        return Err(Problem::new(place(), "it holds no certificate", REMEDY));
    }
    Ok(roots)
}

/// Reads the certificate chain that `key` of the configuration names, and when its leaf ends.
///
/// # Errors
/// The file cannot be read, is not PEM, or its leaf is not valid now.
pub(crate) fn certificates(path: &Path, key: &str) -> Result<(Vec<CertificateDer<'static>>, SystemTime), Problem> {
    let place = || path.display().to_string();
    let bytes = config::read(path, key)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|error| {
        Problem::new(place(), format!("not PEM: {error}"), "it must hold the certificate chain as PEM")
    })?;
    let Some(leaf) = chain.first() else {
        let what = "it holds no certificate";
        return Err(Problem::new(place(), what, "it must hold a `BEGIN CERTIFICATE` block, the server's own first"));
    };
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| Problem::new(place(), format!("the certificate cannot be read: {error}"), ""))?;
    let validity = parsed.validity();
    let not_after = moment(validity.not_after.timestamp());
    if not_after <= SystemTime::now() {
        return Err(Problem::new(place(), format!("the certificate expired on {}", validity.not_after), "renew it"));
    }
    if moment(validity.not_before.timestamp()) > SystemTime::now() {
        let what = format!("the certificate is not valid before {}", validity.not_before);
        return Err(Problem::new(place(), what, "check the clock of this machine"));
    }
    Ok((chain, not_after))
}

/// Reads the private key that `key` of the configuration names.
///
/// # Errors
/// The file cannot be read, or holds no private key.
pub(crate) fn private_key(path: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = config::read(path, key)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let what = format!("no private key could be read: {error}");
        let remedy = "it must hold one unencrypted key as PEM: PKCS#8, PKCS#1 or SEC1";
        Problem::new(path.display().to_string(), what, remedy)
    })
}

fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
