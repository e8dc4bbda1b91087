//! A throw-away certificate authority, and the server certificate that it signs.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// How long both certificates are valid. Longer than anybody leaves `sidegate dev` running.
const VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Clocks of virtual machines and phones are off by less.
const BACKDATED: Duration = Duration::from_secs(3600);

/// What a TLS server needs and its clients must trust, all PEM.
pub(super) struct Certificates {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Certificates {
    /// Makes an authority that signs one certificate, for this machine under its loopback names and `address`.
    ///
    /// The authority's key is nowhere but in here, and gone afterwards: a browser that goes on to trust it trusts
    /// nothing else than that one certificate.
    pub(super) fn make(address: IpAddr) -> Result<Self, Error> {
        let mut authority = CertificateParams::default();
        let key = KeyPair::generate()?;
        // Trust stores list authorities by name: each gets one of its own.
        let id: String = authority.key_identifier(&key).iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        authority.distinguished_name.push(DnType::CommonName, format!("sidegate dev {id} (throw-away)"));
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        limit(&mut authority);
        let certificate = authority.self_signed(&key)?;
        let issuer = Issuer::new(authority, key);

        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let address = address.to_string();
        if !names.contains(&address) {
            names.push(address);
        }
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        limit(&mut server);
        let key = KeyPair::generate()?;
        let signed = server.signed_by(&key, &issuer)?;
        Ok(Self { authority: certificate.pem(), certificate: signed.pem(), key: key.serialize_pem() })
    }
}

fn limit(params: &mut CertificateParams) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALIDITY).into();
}
