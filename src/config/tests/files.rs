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
            "expected a token in the first line of token, found a line of more than 64 KiB"
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
        ": expected a configuration file, found a directory",
    );
    check(
        Path::new("/dev/zero"),
        ": expected a configuration file, found more than 4 MiB",
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
