//! TLS for the fake upstream: an authority and a certificate, made on the spot.

use std::fs;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Failure;

/// The name in the certificate, beside the address.
pub const NAME: &str = "localhost";

/// A server of TLS 1.3 that resumes sessions by tickets, as the real endpoints do. Its authority goes to a file, for the balancers
/// to verify it by; the keys stay in here.
pub fn server(authority: &str) -> Result<Arc<ServerConfig>, Failure> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has its own name for self-signed.
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Benchmark authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(authority, issuer.pem())?;
    let key = KeyPair::generate()?;
    let names = vec![NAME.to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}
