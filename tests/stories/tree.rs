//! The map in `src/main.rs` is true: rooms import in one direction, and only the named ones name what they wrap.

use std::fs;
use std::path::{Path, PathBuf};

/// In the map's order.
const ROOMS: [&str; 11] = [
    "config",
    "api",
    "balancer",
    "telemetry",
    "upstream",
    "downstream",
    "memory",
    "proxy",
    "server",
    "demo",
    "cli",
];

/// Each file of `src` that is shipped, with its path below it and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            let is_test = path.to_string_lossy().contains("tests");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a text");
                let path = path.strip_prefix(&root).expect("it is below").to_owned();
                // What stands behind it is tested, not shipped.
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.push((path, text.to_owned()));
            }
        }
    }
    found
}

fn room(path: &Path) -> String {
    let first = path.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_import_from_those_above_them_only() {
    let place = |name: &str| ROOMS.iter().position(|room| *room == name);
    for (path, text) in sources() {
        let Some(own) = place(&room(&path)) else {
            assert_eq!(room(&path), "main", "a room that is not on the map");
            continue;
        };
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let name = &rest[..end.unwrap_or(rest.len())];
            let other = place(name).unwrap_or_else(|| panic!("{}: {name}", path.display()));
            assert!(other <= own, "{} imports {name}", path.display());
        }
    }
}

#[test]
fn what_is_wrapped_is_named_in_one_place() {
    for (path, text) in sources() {
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let name = path.to_string_lossy();
        let check = |what: &str, place: &str| {
            assert!(
                !code.contains(what) || name.starts_with(place),
                "{name} names {what}"
            );
        };
        check("tiny_http::", "server/queue.rs");
        check("ureq::", "upstream/");
        check(".stream()", "downstream/");
        check("Epoll", "downstream/reactor.rs");
    }
}

#[test]
fn files_and_folders_are_of_a_size_that_is_read_at_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(root).expect("a folder of ours").count();
    assert!(entries <= 13, "{entries} entries in src");
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 350, "{}: {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{}: what is it?", path.display());
    }
}
