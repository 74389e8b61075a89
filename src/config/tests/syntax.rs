//! What is said of a file that is no JSON, or no configuration as a whole.

use super::complaints::complaint;

#[test]
fn complaints_about_the_whole() {
    let check = |text: &str, expected: &str| {
        assert_eq!(complaint(text), format!("endpoints.json{expected}"))
    };
    check("", ": expected JSON, found an empty file");
    check(" \n\t", ": expected JSON, found an empty file");
    check(
        "\u{feff}[]",
        ":1: expected JSON, found a byte order mark: save the file as UTF-8 without one",
    );
    check(
        "[\n{ \"s3cr3t\" ]",
        ":2:12: expected JSON, found a key with no colon behind it",
    );
    check(
        "[{}\n,]",
        ":2:2: expected JSON, found a comma with nothing behind it: take it away",
    );
    let comment =
        "expected JSON, found a comment: JSON has none, but a key that begins with _ is one here";
    check("[] // no", &format!(":1:4: {comment}"));
    check("# no\n[]", &format!(":1:1: {comment}"));
    check("{\n  /* no */ \"a\": 1}", &format!(":2:3: {comment}"));
    let yaml = "expected JSON, found what looks like YAML: --example prints the same as JSON";
    check("endpoints:\n  - baseURL: s3cr3t", &format!(":1:1: {yaml}"));
    check("---\nendpoints:", &format!(":1:2: {yaml}"));
    check("- baseURL: s3cr3t", &format!(":1:2: {yaml}"));
    check(
        "['s3cr3t']",
        ":1:2: expected JSON, found a single quote: JSON's strings and keys stand in double quotes",
    );
    check(
        "{ endpoints: [] }",
        ":1:3: expected JSON, found a key without double quotes",
    );
    let word = "a word without double quotes: JSON's own words are true, false and null";
    for (text, place) in [
        ("s3cr3t", "1:1"),
        ("[{\"enabled\": True}]", "1:14"),
        ("[{\n\"authToken\": s3cr3t }]", "2:14"),
    ] {
        check(text, &format!(":{place}: expected JSON, found {word}"));
    }
    let ini = "what looks like TOML or a list of variables: --example prints the same as JSON";
    for (text, place) in [
        ("[[endpoints]]\nbaseURL = \"s3cr3t\"", "1:3"),
        ("[endpoints]\nbaseURL = s3cr3t", "1:2"),
        ("KEY=s3cr3t\n", "1:1"),
        ("export KEY=s3cr3t\n", "1:1"),
    ] {
        check(text, &format!(":{place}: expected JSON, found {ini}"));
    }
    check(
        "[{\"baseURL\": \"https://a\"\n\"authToken\": \"s3cr3t\"}]",
        ":2:1: expected JSON, found no comma between this and what is before it",
    );
    check(
        "[1 2]",
        ":1:4: expected JSON, found no comma between this and what is before it",
    );
    check(
        "[{}",
        ":1:3: expected JSON, found the end of the file, where a ] is missing",
    );
    check(
        "[{\"authToken\": \"s3cr3t",
        ":1:22: expected JSON, found the end of the file, where a \" is missing",
    );
    check(
        "[{\"authToken\":",
        ":1:14: expected JSON, found the end of the file, where a value is missing",
    );
    check(
        "[]\n[]",
        ":2:1: expected JSON, found more behind the last bracket: the file is one array or one object",
    );
    check(
        "[{\"authToken\": \"s3cr3t\n\"}]",
        ":2:0: expected JSON, found a line break or another control character in a string",
    );
    check(
        "[\"s3cr3t\\x\"]",
        ":1:10: expected JSON, found a backslash that begins no escape: two of them are one",
    );
    check(
        "[{\"weight\": 01}]",
        ":1:14: expected JSON, found a number that JSON has no such form for",
    );
    check(
        "{\"baseURL\": \"https://a\", \"authToken\": \"s3cr3t\"}",
        ":1: expected an array of endpoints, or an object with one under \"endpoints\", found one endpoint alone: put it in \
         square brackets, [ { … } ]",
    );
    check(
        "{\n",
        ":2:0: expected JSON, found the end of the file, where a } is missing",
    );
    check(
        "\"s3cr3t\"",
        ":1: expected an array of endpoints or an object, found a string",
    );
    check(
        "7",
        ":1: expected an array of endpoints or an object, found a number",
    );
    check(
        "\n{}",
        ":2: endpoints: expected an array of endpoints, found no such key",
    );
    check(
        "[]",
        ":1: endpoints: expected 1 to 1000 endpoints, found none",
    );
    check(
        "{\"endpoints\": {}}",
        ":1: endpoints: expected an array of endpoints, such as [ { \"baseURL\": …, \"authToken\": … } ], found an object: put it \
         in square brackets",
    );
    let deep = "[".repeat(100_000);
    check(
        &deep,
        ":1:128: expected JSON, found more brackets within each other than are of use",
    );
    check(
        &format!("{deep}{}", "]".repeat(100_000)),
        ":1: endpoints[0]: expected an object, found an array",
    );
}
