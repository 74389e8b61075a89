//! What a request's head says of the answer that it wants.

use std::io::{self, ErrorKind};

#[derive(Clone, Copy, Default)]
pub struct Plan {
    pub answer: usize,
    pub hold_ms: u64,
    pub events: u32,
    pub gap_ms: u64,
    pub opened: bool,
}

/// What the request's first line asks for.
pub fn plan(head: &[u8]) -> Plan {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(0)];
    let mut plan = Plan {
        answer: 600,
        opened: line.starts_with(b"GET /opened"),
        ..Plan::default()
    };
    for pair in line.split(|byte| matches!(byte, b'?' | b'&' | b' ')) {
        let Ok(pair) = std::str::from_utf8(pair) else {
            continue;
        };
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let Ok(value) = value.parse::<u64>() else {
            continue;
        };
        match key {
            "answer" => plan.answer = value as usize,
            "hold" => plan.hold_ms = value,
            "events" => plan.events = value as u32,
            "gap" => plan.gap_ms = value,
            _ => {}
        }
    }
    plan
}

/// The announced length of the request's body. Chunked ones are not understood: the load generator sends none.
pub fn length(head: &[u8]) -> io::Result<usize> {
    for line in head.split(|byte| *byte == b'\n') {
        if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
            let value = std::str::from_utf8(&line[15..]).map_err(|_| ErrorKind::InvalidData)?;
            return value
                .trim()
                .parse()
                .map_err(|_| ErrorKind::InvalidData.into());
        }
        if line.len() > 18 && line[..18].eq_ignore_ascii_case(b"transfer-encoding:") {
            return Err(ErrorKind::Unsupported.into());
        }
    }
    Ok(0)
}
