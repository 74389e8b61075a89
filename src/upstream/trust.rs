//! Whom we trust to name an endpoint.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::read_file;

/// Sessions that one endpoint's next connections may go on with, so that they need no whole handshake.
const SESSIONS: usize = 32;

/// Certificate authorities. Cloned, it is the same ones.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Mozilla's list, built in.
    pub fn built_in() -> Roots {
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        Roots(Arc::new(RootCertStore { roots }))
    }

    /// Mozilla's list, or what the file named by `SSL_CERT_FILE` holds, as OpenSSL, curl and Go have it.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn from_env() -> Result<Roots, String> {
        let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
            return Ok(Roots::built_in());
        };
        let path = PathBuf::from(path);
        let nobody = Roots(Arc::new(RootCertStore::empty()));
        nobody
            .with_file(&path)
            .map_err(|err| format!("SSL_CERT_FILE: {err}"))
    }

    /// These and the ones that a PEM file holds.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn with_file(&self, path: &Path) -> Result<Roots, String> {
        let wrong = |what: String| format!("{}: expected PEM certificates, {what}", path.display());
        let pem = read_file(path).map_err(|err| wrong(err.to_string()))?;
        self.with_pem(&pem).map_err(wrong)
    }

    /// These and the ones in a PEM text.
    ///
    /// # Errors
    /// It holds no certificate, or something that is none.
    pub fn with_pem(&self, pem: &[u8]) -> Result<Roots, String> {
        let mut store = RootCertStore::clone(&self.0);
        let before = store.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|err| err.to_string())?;
            // One that cannot be read need not be the one that is needed: bundles hold odd ones.
            let _ = store.add(certificate);
        }
        match store.len() > before {
            true => Ok(Roots(Arc::new(store))),
            false => Err("found none".into()),
        }
    }

    /// How connections to one endpoint shake hands.
    pub fn client(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
            .with_root_certificates(self.0.clone())
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Arc::new(config)
    }
}

/// The certificate's name for a base URL's host.
pub fn server_name(host: &str) -> io::Result<rustls::pki_types::ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    rustls::pki_types::ServerName::try_from(bare.to_owned())
        .map_err(|_| io::Error::other(format!("{host}: no certificate can be for that name")))
}
