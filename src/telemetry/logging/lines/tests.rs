//! Readers of stderr that are slow, gone or full.

use std::io::{self, Read, pipe};
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use crate::telemetry::logging::format::Format;

/// Lines with a writer of their own, which ends with the test run.
fn start(limit: usize, mut out: impl Write + Send + 'static) -> &'static Lines {
    let lines: &Lines = Box::leak(Box::new(Lines::new(limit)));
    thread::spawn(move || lines.write_to(&mut out, STYLE));
    lines
}

const STYLE: Style = Style {
    format: Format::Text,
    for_journal: false,
};

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
