//! What a configuration is read from: files and variables of the environment.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::document::Error;

/// Bytes of a configuration file: 1,000 endpoints with long tokens take a quarter of it. So `-c /dev/zero` ends.
const MAX_FILE: u64 = 4 << 20;

/// Bytes of a token's line, far more than any server takes in a header.
const MAX_LINE: u64 = 64 << 10;

/// A variable that is not UTF-8 comes back with marks in it that no token may hold, so it is refused later.
pub fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

pub fn first_line(path: &Path) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(File::open(path)?.take(MAX_LINE)).read_line(&mut line)?;
    if line.len() as u64 == MAX_LINE {
        return Err(io::Error::other("a line of more than 64 KiB"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

pub fn read_text(path: &Path, file: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let found = match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE => "more than 4 MiB".to_owned(),
        Ok(_) => return utf8(bytes, file),
        Err(err) if err.kind() == io::ErrorKind::NotFound => "no such file".to_owned(),
        Err(_) if fs::metadata(path).is_ok_and(|data| data.is_dir()) => "a directory".to_owned(),
        Err(err) => err.to_string(),
    };
    Err(Error::new(format_args!(
        "{file}: expected a configuration file, found {found}"
    )))
}

fn utf8(bytes: Vec<u8>, file: &str) -> Result<String, Error> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::new(format_args!(
            "{file}:1: expected UTF-8, found UTF-16: save the file as UTF-8"
        )));
    }
    String::from_utf8(bytes).map_err(|err| {
        let before = &err.as_bytes()[..err.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new(format_args!(
            "{file}:{line}: expected UTF-8, found a byte that is none: save the file as UTF-8"
        ))
    })
}
