//! What ureq is given of an answer, however its bytes are cut.

use super::*;

/// What ureq sees of these bytes, however they are cut.
#[track_caller]
fn check(answer: &str, expected: Result<&str, &str>) {
    let whole = run(&[answer.as_bytes()]);
    let expected = expected.map(str::to_owned).map_err(str::to_owned);
    assert_eq!(whole, expected, "{answer:?}");
    let bytes: Vec<&[u8]> = answer.as_bytes().chunks(1).collect();
    assert_eq!(run(&bytes), expected, "{answer:?} byte by byte");
    for cut in 1..answer.len().min(400) {
        let (one, two) = answer.as_bytes().split_at(cut);
        assert_eq!(run(&[one, two]), expected, "{answer:?} cut at {cut}");
    }
}

fn run(pieces: &[&[u8]]) -> Result<String, String> {
    let (mut sieve, mut seen, mut held) = (Sieve::default(), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let sifted = sieve.sift(&mut held);
        seen.extend_from_slice(&held[..sifted.kept]);
        held.drain(..sifted.taken);
    }
    match sieve.lost() {
        Some(why) => Err(why.0.to_owned()),
        None => Ok(String::from_utf8(seen).expect("a text")),
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn interim_answers_are_dropped() {
    let real = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nx-field: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
        "\r\n",
    ] {
        check(&format!("{interim}{real}"), Ok(real));
    }
}

#[test]
fn interim_answers_have_an_end() {
    let real = "HTTP/1.1 200 OK\r\n\r\n";
    let many = |n| "HTTP/1.1 102 Processing\r\n\r\n".repeat(n);
    assert_eq!(run(&[(many(100) + real).as_bytes()]), Ok(real.into()));
    let endless = Err("interim answers (1xx) without an end".to_owned());
    assert_eq!(run(&[(many(101) + real).as_bytes()]), endless);
    let long = format!("HTTP/1.1 103 a\r\nlink: {}\r\n\r\n", "x".repeat(40 << 10));
    assert_eq!(
        run(&[(long.repeat(2) + real).as_bytes()]),
        Err(ENDLESS_HEAD.0.into())
    );
}

#[test]
fn another_protocol_is_no_answer() {
    check(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        Err("another protocol (101), which nobody asked for"),
    );
}

#[test]
fn what_is_no_http_is_shown_as_it_comes() {
    for text in ["220 mail ready", "HTTP/2 200\r\n", "\x16\x03\x01", "HTPT/1"] {
        check(text, Ok(text));
    }
}

#[test]
fn bodies_without_chunks_pass_as_they_are() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n5;x\r\n",
        "HTTP/1.0 200 OK\n\nanything\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-transfer-encoding: chunked\r\n\r\n5;x\r\n",
    ] {
        check(text, Ok(text));
    }
}

#[test]
fn chunk_extensions_and_trailers_are_dropped() {
    let plain = "5\r\nhello\r\n0\r\n\r\n";
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5;name=value;a-very-long-extension=\"with words\"\r\nhello\r\n0\r\n\r\n",
        "5  \r\nhello\r\n0;x\r\ntrailer: 1\r\nanother: 2\r\n\r\n",
    ] {
        check(&format!("{HEAD}{body}"), Ok(&format!("{HEAD}{plain}")));
    }
    let mixed = "HTTP/1.1 200 OK\r\nTransfer-Encoding:gzip, CHUNKED \r\n\r\n";
    check(&format!("{mixed}1;x\r\na"), Ok(&format!("{mixed}1\r\na")));
}

#[test]
fn bytes_behind_the_last_chunk_are_seen() {
    let text = format!("{HEAD}0\r\n\r\nmore");
    check(&text, Ok(&text));
}

#[test]
fn chunks_that_are_none_are_told() {
    let size = Err("a chunk's size that is none");
    for line in [
        "x",
        ";a\r\n",
        "5\n",
        "5;a\rb",
        "+5\r\n",
        "12345678901234567",
    ] {
        check(&format!("{HEAD}{line}"), size);
    }
    check(
        &format!("{HEAD}1\r\nabc"),
        Err("a chunk that is longer than its size"),
    );
    check(
        &format!("{HEAD}0\r\na: b\n"),
        Err("a trailer's line without its end"),
    );
    let long = "x".repeat(MAX_DROPPED + 1);
    assert_eq!(
        run(&[format!("{HEAD}5;{long}").as_bytes()]),
        Err("a chunk's line that does not end".into())
    );
    assert_eq!(
        run(&[format!("{HEAD}0\r\na: {long}").as_bytes()]),
        Err("trailers that do not end".into())
    );
}

#[test]
fn what_stands_before_a_mistake_is_kept() {
    let mut sieve = Sieve::default();
    let mut bytes = format!("{HEAD}2\r\nokxx").into_bytes();
    let kept = sieve.sift(&mut bytes).kept;
    assert_eq!(kept, HEAD.len() + 5);
    assert!(sieve.lost().is_some() && !sieve.is_at_rest());
}

#[test]
fn a_connection_is_at_rest_between_answers() {
    let rest = |text: &str| {
        let mut sieve = Sieve::default();
        sieve.sift(&mut text.as_bytes().to_vec());
        sieve.is_at_rest()
    };
    assert!(!rest("HTTP/1.1 200 OK\r\n"));
    assert!(rest("HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(rest(HEAD), "an answer to HEAD");
    assert!(!rest(&format!("{HEAD}5\r\nhel")));
    assert!(rest(&format!("{HEAD}0\r\n\r\n")));
}
