//! TLS for scripted endpoints: a certificate made for the run, and the file that makes the balancer trust it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::Conn;

/// A certificate for `names` and its key.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    sessions: Arc<Sessions>,
    pem: String,
}

/// The sessions that clients may go on with on another connection, and how many did.
#[derive(Debug)]
struct Sessions {
    kept: Arc<ServerSessionMemoryCache>,
    resumed: AtomicUsize,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.kept.take(key)?;
        self.resumed.fetch_add(1, Ordering::SeqCst);
        Some(session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl Identity {
    pub fn new(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS 1.3")
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .expect("a certificate that fits its key");
        let sessions = Arc::new(Sessions {
            kept: ServerSessionMemoryCache::new(256),
            resumed: AtomicUsize::new(0),
        });
        config.session_storage = sessions.clone();
        Identity {
            config: Arc::new(config),
            sessions,
            pem: made.cert.pem(),
        }
    }

    /// How many handshakes went on with an earlier session: no certificate was sent or checked again.
    pub fn resumed(&self) -> usize {
        self.sessions.resumed.load(Ordering::SeqCst)
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
