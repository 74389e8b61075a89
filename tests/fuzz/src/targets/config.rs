//! Input: the file.
//!
//! `${NAME}` and `${file:PATH}` find what is said here and nothing else, so that a run can be repeated.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;

use crate::config::{Config, Secret};

const NAME: &str = "endpoints.json";
const LONGEST: Duration = Duration::from_secs(2_000_000);
/// What variables and token files hold; nobody guesses it by chance.
const ONE: &str = "f5c81b8a-one";
const TWO: &str = "08d2e997-two";
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIUDZR/gNZqW4V6oHcxI3vURzVA+A4wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjgwNzQxMDFaGA8yMTI2MTEwNDA3NDEwMVow
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCJtDsSrmKl/
K+pr2F0BcD1jNCAPcqzl4D6AYWDrZvdnC98QbYtSQPaDdnQfTxaIr9k0fR6stFtj
thFSB+wxGy6jUzBRMB0GA1UdDgQWBBQ2ePzYSgr6PWLMLVh5n5yuf40J0TAfBgNV
HSMEGDAWgBQ2ePzYSgr6PWLMLVh5n5yuf40J0TAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIFJyv0oMujvtItUbtjbztMLBcZ6V6YIlp/7pYQVq6ufQ
AiBBtzLW3XWAo6hWKnNzo4kVE2J/q50ASPW3x7xFzvqqOQ==
-----END CERTIFICATE-----
";

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return no_text(data);
    };
    match parse(text, ONE) {
        Ok(config) => {
            bounds(&config);
            shows_no_token(&config);
            for complaint in [parse(text, "").err(), parse(text, TWO).err()] {
                // Only an empty token can make a difference.
                assert!(
                    complaint.is_none_or(|line| line.contains("found it empty")
                        || line.contains("found an empty line"))
                );
            }
        }
        Err(complaint) => {
            line_is_named(&complaint, NAME);
            assert_eq!(
                parse(text, TWO).expect_err("whatever the token is"),
                complaint
            );
            if let Some(other) = with_other_tokens(text) {
                assert_eq!(
                    parse(&other, ONE).expect_err("whatever the tokens are"),
                    complaint
                );
            }
        }
    }
}

fn parse(text: &str, token: &str) -> Result<Config, String> {
    let env = |name: &str| match name {
        "PORT" | "HOST" | "UNSET" => None,
        _ => Some(token.to_owned()),
    };
    let file = |path: &str| match path {
        "token" | "/run/token" => Ok(token.to_owned()),
        "ca.pem" => Ok(AUTHORITY.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    Config::parse(text, NAME, &env, &file).map_err(|err| err.to_string())
}

/// What the contract says of a configuration in force.
fn bounds(config: &Config) {
    assert!((1..=1000).contains(&config.endpoints.len()));
    let mut names = HashSet::new();
    for endpoint in &config.endpoints {
        assert!(
            names.insert(&endpoint.name),
            "{} comes twice",
            endpoint.name
        );
        assert!(!endpoint.name.is_empty());
        assert!(endpoint.name.bytes().all(|b| b.is_ascii_graphic()));
        assert!((1..=100).contains(&endpoint.weight));
        assert_ne!(endpoint.max_concurrent, Some(0));
        token(&endpoint.auth_token);
        let url = endpoint.base_url.to_string();
        assert!(url.starts_with("http://") || url.starts_with("https://"));
        assert!(url.ends_with('/') && !url.contains(['?', '#']), "{url}");
        let authority = endpoint.base_url.authority().expect("a host").as_str();
        assert!(!authority.contains('@') && !authority.is_empty(), "{url}");
        assert_ne!(endpoint.base_url.port_u16(), Some(0));
        assert!(!config.warnings.is_empty() || !endpoint.base_url.path().ends_with("/v1/"));
        assert!((1..=9).contains(&endpoint.tier));
        if let Some(models) = &endpoint.models {
            for name in models.literal_names() {
                assert!(models.serves(name).is_some(), "{name}");
            }
        }
        for (name, value) in &endpoint.headers {
            assert!(value.is_sensitive(), "{name}");
        }
    }
    let mut clients = HashSet::new();
    for client in &config.clients {
        token(&client.token);
        assert!(clients.insert(&client.name), "{} comes twice", client.name);
        assert!(client.name.bytes().all(|b| b.is_ascii_graphic()));
        assert_ne!(client.max_concurrent, Some(0));
    }
    assert!(config.endpoints.iter().any(|endpoint| endpoint.enabled));
    assert!((1..=1000).contains(&config.failures));
    assert!((1..=4096).contains(&config.workers));
    assert!(config.queue <= 32_768);
    assert!((1..=32_768).contains(&config.max_connections));
    assert!((1 << 20..=1 << 30).contains(&config.max_body));
    for may_be_zero in [config.cooldown, config.drain] {
        assert!(may_be_zero <= LONGEST);
    }
    for seconds in [
        config.queue_wait,
        config.max_cooldown,
        config.connect_timeout,
        config.response_timeout,
        config.idle_timeout,
        config.client_timeout,
        config.request_timeout,
    ] {
        assert!(seconds >= Duration::from_millis(1) && seconds <= LONGEST);
    }
    let stars = config.allowed_origins.iter().any(|origin| origin == "*");
    assert!(!stars || config.allowed_origins.len() == 1);
    assert!(
        config.listen.is_loopback() || config.allow_anonymous || !config.clients.is_empty()
    );
}

/// It travels in a header unchanged.
fn token(secret: &Secret) {
    let token = secret.expose();
    assert!(!token.is_empty() && token.trim() == token);
    assert!(token.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
}

/// The text of `--check` and of a log is the same for other tokens: so it holds nothing of them.
fn shows_no_token(config: &Config) {
    let mut other = config.clone();
    let endpoints = other
        .endpoints
        .iter_mut()
        .map(|endpoint| &mut endpoint.auth_token);
    let clients = other.clients.iter_mut().map(|client| &mut client.token);
    for token in endpoints.chain(clients) {
        *token = Secret::new(TWO.to_owned());
    }
    let shown = [config.to_string(), format!("{config:?}")];
    assert_eq!(shown, [other.to_string(), format!("{other:?}")]);
    assert!(!shown.concat().contains(ONE) && !shown.concat().contains(TWO));
}

/// `FILE:LINE: …`, in one line. Two complaints are about the file as a whole.
fn line_is_named(complaint: &str, file: &str) {
    assert!(!complaint.contains(char::is_control), "{complaint}");
    let rest = complaint.strip_prefix(file).expect("the file's name");
    let line = rest
        .strip_prefix(':')
        .and_then(|rest| rest.split([':', ' ']).next());
    let has_line = line.is_some_and(|line| line.parse::<usize>().is_ok_and(|line| line > 0));
    let is_whole = rest.starts_with(": expected JSON, found an empty file")
        || rest.starts_with(": clientTokens: expected one or more, as other machines");
    assert!(has_line || is_whole, "{complaint}");
    assert!(complaint.len() < 1000, "{complaint}");
}

/// The same file with other letters in its tokens, where those stand in it once and as they are. What a token may not
/// be (a URL, a reference, not ASCII) it stays.
fn with_other_tokens(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    let endpoints = match &document {
        Value::Array(endpoints) => endpoints.as_slice(),
        object => object.get("endpoints")?.as_array()?,
    };
    let clients = document.get("clientTokens").and_then(Value::as_array);
    let tokens = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.get("authToken"));
    let mut other = text.to_owned();
    for token in tokens.chain(clients.into_iter().flatten()) {
        let Some(token) = token.as_str() else {
            continue;
        };
        let is_special = token.contains("${")
            || token.contains("://")
            || token.contains(['\\', '"', '$', ' '])
            || is_word_of_ours(token);
        if token.is_empty() || is_special || text.matches(token).count() != 1 {
            continue;
        }
        other = other.replace(&format!("\"{token}\""), &format!("\"{}\"", turned(token)));
    }
    Some(other)
}

/// Said of it is not what is said of other tokens.
fn is_word_of_ours(token: &str) -> bool {
    let is_one = |word: &str| word.eq_ignore_ascii_case("bearer") || word.starts_with("your-");
    is_one(token) || is_one(&turned(token))
}

fn turned(token: &str) -> String {
    let turn =
        |c: char, first: u8, count: u8| char::from(first + (c as u8 - first + count / 2) % count);
    let turn = |c: char| match c {
        'a'..='z' => turn(c, b'a', 26),
        'A'..='Z' => turn(c, b'A', 26),
        '0'..='9' => turn(c, b'0', 10),
        c => c,
    };
    token.chars().map(turn).collect()
}

/// Only `load` sees bytes that are no text; it gets them from memory. It can touch no other file then.
fn no_text(data: &[u8]) {
    static MEMORY: Mutex<Option<File>> = Mutex::new(None);
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let file = memory.get_or_insert_with(|| {
        File::from(memfd_create(c"endpoints", MFdFlags::MFD_CLOEXEC).expect("memory"))
    });
    file.set_len(0).expect("an empty file");
    file.rewind().expect("its start");
    file.write_all(data).expect("memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let complaint = Config::load(path.as_ref()).expect_err("bytes that are no text");
    line_is_named(&complaint.to_string(), &path);
}
