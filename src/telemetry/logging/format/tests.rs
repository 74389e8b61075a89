//! The shapes of lines.

use std::time::{Duration, UNIX_EPOCH};

use log::Level;
use proptest::prelude::*;

use super::*;

const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::proxy");

/// The line of a record, with its time cut off.
fn line(format: Format, target: &str, message: &str, fields: &dyn kv::Source) -> String {
    let mut record = Record::builder();
    record.level(Level::Info).target(target).key_values(&fields);
    let time = UNIX_EPOCH + Duration::from_millis(1_767_225_600_001);
    let style = Style {
        format,
        for_journal: false,
    };
    let line = style.line(time, &record.args(format_args!("{message}")).build());
    let rest = match format {
        Format::Text => line.strip_prefix("2026-01-01T00:00:00.001Z "),
        Format::Json => line.strip_prefix("{\"time\":\"2026-01-01T00:00:00.001Z\","),
    };
    rest.expect("the time in front").to_owned()
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
        prop_assert_eq!(json.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        prop_assert_eq!((json["message"].as_str(), json["path"].as_str()), (Some(&*message), Some(&*value)));
    }

    #[test]
    fn a_line_is_never_long(message in "\\PC{0,3000}", value in "[a-zé\u{1F600}\n\"]{0,6000}", times in 1..30_usize) {
        let fields: Vec<(&str, &str)> = vec![("path", &value); times];
        for format in [Format::Text, Format::Json] {
            let whole = 32 + line(format, OURS, &message, &&fields[..]).len();
            prop_assert!(whole <= MAX_LINE, "{whole}");
        }
        let json = format!("{{{}", line(Format::Json, OURS, &message, &&fields[..]));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_what_stands_behind_it_is_not() {
    let check = |format: Format, message: &str, value: &str, cut: &str, end: &str| {
        let line = line(format, OURS, message, &[("path", value), ("end", "x")]);
        assert!(line.len() < MAX_LINE && line.contains(cut) && line.ends_with(end));
    };
    let long = "x".repeat(10_000);
    check(Format::Text, "x", &long, "xx[cut] ", " end=x\n");
    check(Format::Json, "x", &long, "xx[cut]\"", ",\"end\":\"x\"}\n");
    check(Format::Text, &long, "1", "xx[cut] path", " end=x\n");
    check(Format::Json, &long, "1", "xx[cut]\",", ",\"end\":\"x\"}\n");
    // In the middle of no character and of no escape.
    let long = "é\n".repeat(5_000);
    check(Format::Text, "x", &long, "[cut]\" ", " end=x\n");
    check(Format::Json, "x", &long, "[cut]\"", ",\"end\":\"x\"}\n");
}

#[test]
fn nothing_misleads_a_reader() {
    for c in
        "\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200f}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}".chars()
    {
        let value = format!("a{c}b");
        let text = line(Format::Text, OURS, "x", &[("v", &*value)]);
        let escape = c.escape_default();
        assert_eq!(text, format!("INFO  x v=\"a{escape}b\"\n"));
        let json = line(Format::Json, OURS, &value, &[("v", &*value)]);
        let escaped = format!("\"a\\u{:04x}b\"", u32::from(c));
        let expected = format!("\"level\":\"info\",\"message\":{escaped},\"v\":{escaped}}}\n");
        assert_eq!(json, expected);
    }
}

#[test]
fn the_journal_gets_a_priority_and_no_time() {
    let check = |level: Level, format: Format, expected: &str| {
        let style = Style {
            format,
            for_journal: true,
        };
        let mut record = Record::builder();
        record.level(level).target(OURS).args(format_args!("x"));
        assert_eq!(style.line(UNIX_EPOCH, &record.build()), expected);
    };
    check(Level::Error, Format::Text, "<3>ERROR x\n");
    check(Level::Warn, Format::Text, "<4>WARN  x\n");
    check(Level::Info, Format::Text, "<6>INFO  x\n");
    check(Level::Debug, Format::Text, "<7>DEBUG x\n");
    let json = "<4>{\"level\":\"warn\",\"message\":\"x\"}\n";
    check(Level::Warn, Format::Json, json);
}
