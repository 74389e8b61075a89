//! What is logged, and how its user chooses.

use log::Level;

use super::*;

const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::proxy");

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
    check("WARN", "", Ok((LevelFilter::Warn, Format::Text)));
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
            style: Style {
                format: Format::Text,
                for_journal: false,
            },
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
fn the_journal_is_known_by_its_file() {
    let file = File::open("/dev/null").expect("a file");
    let found = file.metadata().expect("its facts");
    let (device, inode) = (found.dev(), found.ino());
    let check = |stream: Option<String>, expected: bool| {
        assert_eq!(is_journal(&file, stream.clone()), expected, "{stream:?}");
    };
    check(Some(format!("{device}:{inode}")), true);
    check(Some(format!("{device}:{}", inode + 1)), false); // Redirected.
    check(Some(String::new()), false);
    check(None, false);
}
