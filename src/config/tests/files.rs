//! Files: the configuration's own and those that tokens are in.

use std::fs;

use super::*;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// Nobody writes to it.
    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_token_file_lies_next_to_the_configuration() {
    let folder = Folder::new("token");
    let absolute = folder.write("absolute", b"s3cr3t-2\r\n");
    folder.write("token", b"s3cr3t-1\nmore\n");
    let text = format!(
        r#"[{{ "baseURL": "https://a", "authToken": "${{file:token}}" }},
                {{ "baseURL": "https://a", "authToken": "${{file:{}}}" }}]"#,
        absolute.display()
    );
    let config =
        Config::load(&folder.write("endpoints.json", text.as_bytes())).expect("a good file");
    let tokens: Vec<_> = config
        .endpoints
        .iter()
        .map(|endpoint| endpoint.auth_token.expose())
        .collect();
    assert_eq!(tokens, ["s3cr3t-1", "s3cr3t-2"]);
    folder.write("token", &vec![b'x'; 70_000]);
    let err = Config::load(&folder.0.join("endpoints.json"))
        .expect_err("an endless token")
        .to_string();
    assert!(
        err.ends_with(
            "expected a token of printable ASCII characters, found one of more than 8 KiB"
        ),
        "{err}"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new("unreadable");
    let check = |path: &Path, expected: &str| {
        let complaint = Config::load(path).expect_err(expected).to_string();
        assert_eq!(complaint, format!("{}{expected}", path.display()));
    };
    check(
        &folder.0.join("none.json"),
        ": expected a configuration file, found no such file",
    );
    check(
        &folder.0,
        ": expected a configuration file, found a folder, not a regular file",
    );
    check(
        Path::new("/dev/zero"),
        ": expected a configuration file, found a device, not a regular file",
    );
    check(
        &folder.fifo("fifo"),
        ": expected a configuration file, found a FIFO, not a regular file",
    );
    check(
        &folder.write("long", &vec![b' '; (1 << 20) + 1]),
        ": expected a configuration file, found more than 1 MiB",
    );
    check(
        &folder.write("empty", b""),
        ": expected JSON, found an empty file",
    );
    let none = ":2: expected UTF-8, found a byte that is none: save the file as UTF-8";
    check(&folder.write("latin-1", b"[\n\"\xe9\"]"), none);
    check(
        &folder.write("utf-16", b"\xff\xfe[\0"),
        ":1: expected UTF-8, found UTF-16: save the file as UTF-8",
    );
}

#[test]
fn what_the_configuration_names_is_a_regular_file() {
    let folder = Folder::new("named");
    folder.fifo("fifo");
    let authority =
        rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate");
    let authority = authority.cert.pem();
    folder.write("ca.pem", authority.as_bytes());
    let load = |keys: &str| {
        let text = format!(r#"[{{ "baseURL": "https://a", {keys} }}]"#);
        Config::load(&folder.write("endpoints.json", text.as_bytes()))
    };
    let check = |keys: &str, expected: &str| {
        let complaint = load(keys).expect_err(keys).to_string();
        assert!(complaint.ends_with(expected), "{complaint}");
    };
    check(
        r#""authToken": "${file:fifo}""#,
        "expected a token in the first line of fifo, found a FIFO, not a regular file",
    );
    check(
        r#""authToken": "${file:.}""#,
        "expected a token in the first line of ., found a folder, not a regular file",
    );
    check(
        r#""authToken": "t", "caFile": "fifo""#,
        "endpoints[0].caFile: expected a file with PEM certificates at fifo, found a FIFO, not a regular file",
    );
    check(
        r#""authToken": "t", "caFile": "endpoints.json""#,
        "found no \"-----BEGIN CERTIFICATE-----\" in it",
    );
    let config = load(r#""authToken": "t", "caFile": "ca.pem""#).expect("an authority");
    let ca = config.endpoints[0].ca_file.as_ref().expect("an authority");
    assert_eq!(ca.path, "ca.pem");
    assert_eq!(ca.pem, authority);
}
