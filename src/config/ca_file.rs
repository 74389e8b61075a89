//! Certificate authorities that count beside the others for one endpoint.

use super::complaint::Error;
use super::document::Value;
use super::secret::Outside;

/// A file of certificates in PEM form. What is in them is for the TLS library to judge; that there are some is known.
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

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Why the text holds no authority, if it holds none.
fn flaw(pem: &str) -> Option<&'static str> {
    if pem.contains("PRIVATE KEY-----") {
        return Some("a private key in it");
    }
    let blocks: Vec<&str> = pem.split(BEGIN).skip(1).collect();
    if blocks.is_empty() {
        return Some("no \"-----BEGIN CERTIFICATE-----\" in it");
    }
    let is_broken = |block: &str| {
        let Some((body, _)) = block.split_once(END) else {
            return true;
        };
        let body: String = body.split_ascii_whitespace().collect();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        // A certificate is a SEQUENCE: its first byte, 0x30, makes an M.
        !(body.starts_with('M') && body.len().is_multiple_of(4) && body.chars().all(is_base64))
    };
    blocks
        .into_iter()
        .any(is_broken)
        .then_some("a certificate that is cut off or damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_authority() {
        let good = "-----BEGIN CERTIFICATE-----\nMIIB\nAA==\n-----END CERTIFICATE-----\n";
        let check = |pem: &str, expected: Option<&str>| assert_eq!(flaw(pem), expected, "{pem}");
        check(good, None);
        check(
            &format!("my authority\r\n{good}{good}").replace('\n', "\r\n"),
            None,
        );
        check("", Some("no \"-----BEGIN CERTIFICATE-----\" in it"));
        check("MIIB", Some("no \"-----BEGIN CERTIFICATE-----\" in it"));
        let damaged = Some("a certificate that is cut off or damaged");
        check(&good[..40], damaged);
        check(&good.replace("AA==", "A=="), damaged);
        check(&good.replace("AA==", "é==="), damaged);
        check(&format!("{good}{}", &good[..40]), damaged);
        check(
            &format!("-----BEGIN EC PRIVATE KEY-----\n{good}"),
            Some("a private key in it"),
        );
    }
}
