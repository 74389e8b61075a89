//! What a configuration is read from: files and variables of the environment.
//!
//! Files are regular ones only, and opened without waiting: a FIFO would stop whoever reads it until somebody writes.

use std::env;
use std::fs::{FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::complaint::Error;

/// Bytes of a file: 1,000 endpoints with long tokens take less, as do the certificates of all public authorities.
const MAX_FILE: u64 = 1 << 20;

/// A variable that is not UTF-8 comes back with marks in it that no token may hold, so it is refused later.
pub fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The text of a file that the configuration names. Bytes that are no UTF-8 become marks that no token may hold.
pub fn read_lossy(path: &Path) -> io::Result<String> {
    read_file(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The configuration itself. `file` is what complaints call it.
pub fn read_text(path: &Path, file: &str) -> Result<String, Error> {
    match read_file(path) {
        Ok(bytes) => utf8(bytes, file),
        Err(err) => {
            let found = match err.kind() {
                io::ErrorKind::NotFound => "no such file".to_owned(),
                _ => err.to_string(),
            };
            Err(Error::new(format_args!(
                "{file}: expected a configuration file, found {found}"
            )))
        }
    }
}

/// A regular file of 1 MiB at most, whole; never waits for anybody.
///
/// # Errors
/// It cannot be read, is longer, or is a folder, a FIFO or a device.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Without waiting: opening a FIFO would else last until somebody writes to it.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        let found = format!("{}, not a regular file", kind_of(kind));
        return Err(io::Error::other(found));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("more than 1 MiB"));
    }
    Ok(bytes)
}

fn kind_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device"
    }
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
