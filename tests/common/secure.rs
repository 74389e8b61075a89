//! TLS for scripted endpoints: a certificate made for the run, and the file that makes the balancer trust it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::Conn;

/// A certificate for `names` and its key.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    pem: String,
}

impl Identity {
    pub fn new(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS 1.3")
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .expect("a certificate that fits its key");
        Identity {
            config: Arc::new(config),
            pem: made.cert.pem(),
        }
    }

    /// Writes the file that `SSL_CERT_FILE` may name.
    pub fn write_pem(&self, dir: &Path) -> PathBuf {
        let path = dir.join("roots.pem");
        fs::write(&path, &self.pem).expect("a file for the certificate");
        path
    }

    pub fn accept(&self, stream: TcpStream) -> impl Conn + 'static {
        let session = ServerConnection::new(Arc::clone(&self.config)).expect("a TLS session");
        StreamOwned::new(session, stream)
    }
}

impl Conn for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}
