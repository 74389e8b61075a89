//! What the documents name is there: the files and functions of `src/README.md`, the README's keys and their defaults.

use std::fs;
use std::path::Path;

use crate::common::prelude::*;

fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// What `text` has in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A function's, and no path or option.
fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn each_question_leads_to_a_file_that_is_there() {
    let document = text("src/README.md");
    let mut rows = 0;
    for row in document.lines().filter(|line| line.starts_with("| … ")) {
        rows += 1;
        let answer = row.split(" | ").nth(1).expect("a question and its answer");
        let mut file = None;
        for word in quoted(answer) {
            if word.ends_with(".rs") {
                let folder = match word.starts_with("scripts/") {
                    true => "",
                    false => "src/",
                };
                file = Some(text(&format!("{folder}{word}")));
            } else if let Some(file) = file.as_ref().filter(|_| is_name(word)) {
                assert!(file.contains(&format!("fn {word}")), "{word}: {row}");
            }
        }
        assert!(file.is_some(), "{row}");
    }
    assert!(rows >= 14, "{rows}");
}

#[test]
fn the_readme_tells_of_each_key_and_its_default() {
    let document = text("README.md");
    let check = balance(&[])
        .endpoint("http://one.test/")
        .argument("--check");
    let shown = check.finish().stdout;
    let settings = shown
        .split("\n\n")
        .nth(1)
        .expect("what is beside the endpoints");
    for line in settings.lines() {
        let (key, value) = line.split_once(' ').expect("a key and its value");
        let start = format!("`{key}` | ");
        let row = document.lines().find(|row| row.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{key} is not in the README"));
        if let Ok(number) = value.trim().parse::<u32>() {
            let told = format!("{start}{number} | ");
            assert!(row.starts_with(&told), "{line}: {row}");
        }
    }
    assert!(settings.lines().count() > 20, "{shown}");
}
