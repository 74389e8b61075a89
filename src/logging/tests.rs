//! The shapes of lines, and readers of stderr that are slow, gone or full.

use std::io::{Read, pipe};
use std::sync::mpsc;
use std::time::{Instant, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::proxy");

/// The line of a record, with its time cut off.
fn line(format: Format, target: &str, message: &str, fields: &dyn kv::Source) -> String {
    let mut record = Record::builder();
    record.level(Level::Info).target(target).key_values(&fields);
    let time = UNIX_EPOCH + Duration::from_millis(1_767_225_600_001);
    let line = format.line(time, &record.args(format_args!("{message}")).build());
    let rest = match format {
        Format::Text => line.strip_prefix("2026-01-01T00:00:00.001Z "),
        Format::Json => line.strip_prefix("{\"time\":\"2026-01-01T00:00:00.001Z\","),
    };
    rest.expect("the time in front").to_owned()
}

#[test]
fn settings_from_the_environment() {
    let check = |level: &str, format: &str, expected: Result<(LevelFilter, Format), &str>| {
        let env = |name: &str| Some(if name == "LOG_LEVEL" { level } else { format }.to_owned());
        assert_eq!(settings(&env), expected.map_err(str::to_owned));
    };
    assert_eq!(settings(&|_| None), Ok((LevelFilter::Info, Format::Text)));
    check("", "", Ok((LevelFilter::Info, Format::Text)));
    check("error", "text", Ok((LevelFilter::Error, Format::Text)));
    check("warn", "json", Ok((LevelFilter::Warn, Format::Json)));
    check("debug", "json", Ok((LevelFilter::Debug, Format::Json)));
    let expected = "LOG_LEVEL in the environment: expected error, warn, info or debug, found";
    check("trace", "", Err(&format!("{expected} \"trace\"")));
    check("Info\n", "", Err(&format!("{expected} \"Info\\n\"")));
    check(
        "info",
        "xml",
        Err("LOG_FORMAT in the environment: expected text or json, found \"xml\""),
    );
}

#[test]
fn libraries_are_heard_only_when_somebody_looks_for_a_fault() {
    let check = |level: LevelFilter, target: &str, record: Level, expected: bool| {
        let logger = Logger {
            level,
            format: Format::Text,
        };
        let metadata = Metadata::builder().level(record).target(target).build();
        assert_eq!(
            logger.enabled(&metadata),
            expected,
            "{level} {target} {record}"
        );
    };
    check(LevelFilter::Info, OURS, Level::Info, true);
    check(
        LevelFilter::Info,
        env!("CARGO_CRATE_NAME"),
        Level::Error,
        true,
    );
    check(LevelFilter::Info, OURS, Level::Debug, false);
    check(
        LevelFilter::Info,
        concat!(env!("CARGO_CRATE_NAME"), "_x"),
        Level::Error,
        false,
    );
    check(LevelFilter::Info, "rustls::conn", Level::Error, false);
    check(LevelFilter::Debug, "rustls::conn", Level::Debug, true);
    check(LevelFilter::Debug, "ureq_proto::util", Level::Trace, false); // Whole requests, tokens too.
    check(LevelFilter::Debug, OURS, Level::Trace, false);
}

#[test]
fn text_lines() {
    let check = |message: &str, fields: &dyn kv::Source, expected: &str| {
        assert_eq!(
            line(Format::Text, OURS, message, fields),
            format!("INFO  {expected}\n")
        );
    };
    let none: [(&str, &str); 0] = [];
    check("bye", &none, "bye");
    check("a \"b\" c\\d", &none, "a \"b\" c\\d"); // Nothing to escape where nothing is quoted.
    check("a\r\nb\u{1b}é", &none, "a\\r\\nb\\u{1b}\\u{e9}");
    check(
        "x",
        &[("path", "/v1/messages"), ("id", "req_1-2.3")],
        "x path=/v1/messages id=req_1-2.3",
    );
    check(
        "x",
        &[("a", ""), ("b", " "), ("c", "=")],
        "x a=\"\" b=\" \" c=\"=\"",
    );
    check(
        "x",
        &[("a", "say \"hi\""), ("b", "c:\\")],
        "x a=\"say \\\"hi\\\"\" b=\"c:\\\\\"",
    );
    check(
        "x",
        &[("a", "1\n2026 ERROR"), ("b", "ü")],
        "x a=\"1\\n2026 ERROR\" b=\"\\u{fc}\"",
    );
    check(
        "x",
        &[("n", 7_u64), ("m", u64::MAX)],
        "x n=7 m=18446744073709551615",
    );
    check(
        "x",
        &[("ms", 1.25), ("z", 0.0), ("i", f64::INFINITY)],
        "x ms=1.25 z=0 i=inf",
    );
    check(
        "x",
        &[("b", Value::from(true)), ("i", Value::from(-1))],
        "x b=true i=-1",
    );
    check(
        "x",
        &[("d", Value::from_debug(&Some("a b")))],
        "x d=\"Some(\\\"a b\\\")\"",
    );
    assert_eq!(
        line(Format::Text, "ureq::run", "x", &[("a", 1)]),
        "INFO  x module=ureq::run a=1\n"
    );
}

#[test]
fn json_lines() {
    let check = |message: &str, fields: &dyn kv::Source, expected: &str| {
        assert_eq!(
            line(Format::Json, OURS, message, fields),
            format!("\"level\":\"info\",{expected}}}\n")
        );
    };
    let none: [(&str, &str); 0] = [];
    check("a \"b\"\n", &none, r#""message":"a \"b\"\n""#);
    check(
        "x",
        &[("a", "ü\u{1b}"), ("b", "")],
        r#""message":"x","a":"ü\u001b","b":"""#,
    );
    check(
        "x",
        &[("n", 7.5), ("i", f64::NAN)],
        r#""message":"x","n":7.5,"i":"NaN""#,
    );
    check(
        "x",
        &[("b", Value::from(true)), ("i", Value::from(-1))],
        r#""message":"x","b":true,"i":-1"#,
    );
    let library = line(Format::Json, "ureq::run", "x", &none);
    assert_eq!(
        library,
        "\"level\":\"info\",\"message\":\"x\",\"module\":\"ureq::run\"}\n"
    );
}

proptest! {
    #[test]
    fn a_line_is_one_line(message in any::<String>(), value in any::<String>()) {
        let text = line(Format::Text, OURS, &message, &[("path", &*value), ("end", "x")]);
        prop_assert!(text.strip_suffix(" end=x\n").is_some_and(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b))));
        let json = format!("{{{}", line(Format::Json, OURS, &message, &[("path", &*value)]));
        prop_assert_eq!(newlines(json.as_bytes()), 1);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        prop_assert_eq!((json["message"].as_str(), json["path"].as_str()), (Some(&*message), Some(&*value)));
    }
}

/// Lines with a writer of their own, which ends with the test run.
fn start(limit: usize, mut out: impl Write + Send + 'static) -> &'static Lines {
    let lines: &Lines = Box::leak(Box::new(Lines::new(limit)));
    thread::spawn(move || lines.write_to(&mut out, Format::Text));
    lines
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let lines = start(100_000, writer);
    let total = 10_000;
    let start = Instant::now();
    for number in 0..total {
        lines.push(&format!("{number:0>99}\n"));
    }
    lines.flush(Duration::from_millis(50));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );

    // As soon as somebody reads, all that was taken comes, whole and in order, and how many were not.
    let (sender, texts) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(size @ 1..) = reader.read(&mut piece) {
            let _ = sender.send(String::from_utf8_lossy(&piece[..size]).into_owned());
        }
    });
    lines.flush(LONG);
    lines.push("end\n");
    let mut text = String::new();
    while !text.ends_with("end\n") {
        text += &texts.recv_timeout(LONG).expect("the rest of the log");
    }
    let (mut kept, mut dropped) = (Vec::new(), 0);
    for line in text.lines().filter(|line| *line != "end") {
        if let Some((_, note)) = line.split_once(" WARN  ") {
            let count = note
                .strip_suffix(" log lines were dropped")
                .expect("a note");
            dropped += count.parse::<usize>().expect("a number");
        } else {
            kept.push(line.parse::<usize>().expect("a whole line"));
        }
    }
    assert!(kept.is_sorted() && kept.len() >= 1000 && dropped > 0);
    assert_eq!(kept.len() + dropped, total);
}

#[test]
fn a_reader_that_is_gone_holds_nobody_up() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let lines = start(1000, writer);
    for _ in 0..100 {
        lines.push("lost\n");
    }
    let start = Instant::now();
    lines.flush(LONG);
    assert!(start.elapsed() < LONG);
    assert_eq!(lines.lock().dropped, 100);
}

/// Takes so many bytes, then nothing until more is granted.
struct Disk {
    free: mpsc::Receiver<usize>,
    written: mpsc::Sender<String>,
}

impl Write for Disk {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self.free.try_recv().map_err(|_| ErrorKind::StorageFull)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            size => {
                let size = size.min(text.len());
                let _ = self
                    .written
                    .send(String::from_utf8_lossy(&text[..size]).into_owned());
                Ok(size)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_of_when_it_has_room_again() {
    let (grant, free) = mpsc::channel();
    let (written, texts) = mpsc::channel();
    let lines = start(1000, Disk { free, written });
    let push = |sizes: &[usize], text: &str| {
        sizes
            .iter()
            .for_each(|size| grant.send(*size).expect("the disk is there"));
        lines.push(text);
        lines.flush(LONG);
        texts.try_iter().collect::<String>()
    };
    assert_eq!(push(&[100], "one\n"), "one\n");
    assert_eq!(push(&[2, 0, 3], "two\nthree\n"), "two\nt"); // Torn in the middle.
    assert_eq!(push(&[], "four\n"), "");
    assert_eq!(push(&[], "five\n"), "");
    let text = push(&[1, 100, 100], "six\n");
    assert!(text.starts_with("\nsix\n"), "{text:?}");
    assert!(
        text.ends_with(" WARN  3 log lines were dropped\n"),
        "{text:?}"
    );
    assert_eq!(push(&[100], "seven\n"), "seven\n");
}

#[test]
fn a_line_after_a_silence_goes_unasked() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let lines = start(1000, writer);
    let until = |is_there: fn(&State) -> bool| {
        let start = Instant::now();
        while !is_there(&lines.lock()) {
            assert!(start.elapsed() < LONG);
            thread::yield_now();
        }
    };
    for _ in 0..3 {
        until(|state| state.is_idle);
        lines.push("line\n");
        until(|state| state.settled == state.taken);
        let mut text = [0; 5];
        reader.read_exact(&mut text).expect("a line");
        assert_eq!(&text, b"line\n");
    }
}

#[test]
fn flush_waits_for_what_was_logged_and_not_for_ever() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let lines = start(1 << 20, writer);
    lines.flush(LONG); // Nothing was logged: nothing to wait for.
    lines.push("first\n");
    lines.push("last words\n");
    lines.flush(LONG);
    let mut text = [0; 17];
    reader.read_exact(&mut text).expect("both lines");
    assert_eq!(&text, b"first\nlast words\n");
    lines.push(&"x".repeat(200_000)); // More than a pipe holds.
    let start = Instant::now();
    lines.flush(Duration::from_millis(30));
    assert!((Duration::from_millis(30)..LONG).contains(&start.elapsed()));
}
