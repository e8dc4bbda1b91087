//! Whom we believe to be who they say: certificate authorities.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};

use crate::{config::Problem, tls};

/// The authorities. They are read when they are needed, and not held: there are a hundred and more on a usual system, and a
/// cluster's own may be replaced.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of the system: of OpenSSL's usual places, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// Those in a file.
    File(PathBuf),
}

impl Roots {
    /// Those in `ca`, or of the system.
    ///
    /// # Errors
    /// The file, named by `key`, cannot be read or holds no certificate.
    pub fn load(ca: Option<&Path>, key: &str) -> Result<Self, Problem> {
        let Some(path) = ca else { return Ok(Self::System) };
        tls::authorities(path, key)?;
        Ok(Self::File(path.to_owned()))
    }

    fn store(&self) -> Result<RootCertStore, Problem> {
        match self {
            Self::File(path) => tls::authorities(path, "ca"),
            Self::System => {
                let mut store = RootCertStore::empty();
                // What of them cannot be read is none of ours; a server that needs it is refused.
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if store.is_empty() {
                    let remedy = "name a file of authorities: `ca`, or the variable SSL_CERT_FILE";
                    return Err(Problem::new("ca", "there are no certificate authorities on this system", remedy));
                }
                Ok(store)
            }
        }
    }
}

/// What TLS to a server takes that proves itself by `roots`.
pub(super) fn client_config(roots: &Roots) -> Result<Arc<ClientConfig>, Problem> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Problem::new("ca", error.to_string(), ""))?
        .with_root_certificates(roots.store()?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
