//! Certificate authorities that count beside the others for one endpoint.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::complaint::Error;
use super::document::Value;
use super::secret::Outside;

/// A file of certificates in PEM form, at least one of which can be an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFile {
    /// As the configuration names it.
    pub path: String,
    /// The file's text, when the configuration was read: one that changes is a change of the configuration.
    pub pem: String,
}

impl CaFile {
    pub(super) fn read(value: &Value, outside: &Outside) -> Result<CaFile, Error> {
        let path = value.string()?;
        let expected = "a file with PEM certificates";
        if path.is_empty() {
            return Err(value.expected(expected, "an empty name"));
        }
        let pem = (outside.file)(&path)
            .map_err(|err| value.expected(format_args!("{expected} at {path}"), err))?;
        match flaw(&pem) {
            Some(flaw) => Err(value.expected(format_args!("{expected} at {path}"), flaw)),
            None => Ok(CaFile { path, pem }),
        }
    }
}

/// Why the text holds no authority, if it holds none.
fn flaw(pem: &str) -> Option<&'static str> {
    if pem.contains("PRIVATE KEY-----") {
        return Some("a private key in it");
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let Ok(certificates) = found else {
        return Some("a certificate that is cut off or damaged");
    };
    if certificates.is_empty() {
        return Some("no \"-----BEGIN CERTIFICATE-----\" in it");
    }
    // Bundles hold odd ones, which are passed over.
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates);
    (usable == 0).then_some("none that can be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_authority() {
        let key = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("one");
        let good = key.cert.pem().replace('\r', "");
        let check = |pem: &str, expected: Option<&str>| assert_eq!(flaw(pem), expected, "{pem}");
        check(&good, None);
        check(
            &format!("my authority\n{good}{good}").replace('\n', "\r\n"),
            None,
        );
        let odd = "-----BEGIN CERTIFICATE-----\nMIIBAA==\n-----END CERTIFICATE-----\n";
        check(&format!("{odd}{good}"), None);
        check(odd, Some("none that can be read"));
        check("", Some("no \"-----BEGIN CERTIFICATE-----\" in it"));
        check("MIIB", Some("no \"-----BEGIN CERTIFICATE-----\" in it"));
        let damaged = Some("a certificate that is cut off or damaged");
        check(&good[..80], damaged);
        check(&odd.replace("AA==", "A=="), damaged);
        check(&odd.replace("AA==", "é==="), damaged);
        check(&format!("{good}{}", &good[..80]), damaged);
        check(
            &format!("-----BEGIN EC PRIVATE KEY-----\n{good}"),
            Some("a private key in it"),
        );
    }
}
