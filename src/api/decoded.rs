//! The beginning of a compressed answer, as far as it must be read to be judged. What goes to the client stays compressed.
//!
//! Clients ask for it (Claude Code: `gzip, deflate, br, zstd`), and an error that nobody can read would be judged by its status alone.

use std::borrow::Cow;
use std::io::Read;

use super::error_body::MAX_LOOK;

/// The plain text of a body's beginning, 8 KiB at most. `None` where its coding is not known, or it is broken from the start.
pub fn decoded<'a>(coding: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let text = match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => return Some(Cow::Borrowed(body)),
        _ if body.is_empty() => return Some(Cow::Borrowed(body)),
        "gzip" | "x-gzip" => read(flate2::read::GzDecoder::new(body)),
        // RFC 9110 §8.4.1.2: with zlib's frame; some send it without.
        "deflate" if body.first().is_some_and(|first| first & 0xf == 8) => {
            read(flate2::read::ZlibDecoder::new(body))
        }
        "deflate" => read(flate2::read::DeflateDecoder::new(body)),
        "br" => read(brotli_decompressor::Decompressor::new(body, 4 << 10)),
        "zstd" => read(ruzstd::decoding::StreamingDecoder::new(body).ok()?),
        _ => return None,
    };
    (!text.is_empty()).then_some(Cow::Owned(text))
}

/// All that can be had: the end of what is compressed may not be there.
fn read(decoder: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    // What came before an error stays.
    let _ = decoder.take(MAX_LOOK as u64).read_to_end(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        br#"{"type":"error","error":{"type":"x","message":"Your credit balance is too low"}}"#;

    /// `TEXT` as gzip(1), zlib, brotli(1) and zstd(1) write it.
    fn samples() -> [(&'static str, Vec<u8>); 5] {
        use std::io::Write;
        let level = flate2::Compression::default();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
        for out in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            out.write_all(TEXT).expect("memory");
        }
        [
            ("gzip", gzip.finish().expect("memory")),
            ("deflate", zlib.finish().expect("memory")),
            ("deflate", raw.finish().expect("memory")),
            ("BR", BROTLI.to_vec()),
            ("zstd", ZSTD.to_vec()),
        ]
    }

    const BROTLI: &[u8] = &[
        27, 79, 0, 96, 28, 7, 185, 25, 243, 54, 138, 34, 45, 255, 68, 45, 178, 135, 199, 54, 117,
        88, 250, 250, 77, 4, 228, 174, 83, 14, 92, 10, 164, 173, 36, 78, 228, 118, 216, 1, 27, 207,
        214, 97, 90, 148, 224, 13, 214, 82, 100, 236, 130, 55, 106, 67, 35, 156, 37, 254, 57, 132,
        203, 230, 30,
    ];
    const ZSTD: &[u8] = &[
        40, 181, 47, 253, 32, 80, 69, 2, 0, 196, 3, 123, 34, 116, 121, 112, 101, 34, 58, 34, 101,
        114, 114, 111, 114, 34, 44, 58, 120, 34, 44, 34, 109, 101, 115, 115, 97, 103, 89, 111, 117,
        114, 32, 99, 114, 101, 100, 105, 116, 32, 98, 97, 108, 97, 110, 99, 101, 32, 105, 115, 32,
        116, 111, 111, 32, 108, 111, 119, 34, 125, 125, 3, 0, 73, 5, 220, 89, 174, 101, 101, 9,
    ];

    #[test]
    fn codings() {
        for (coding, bytes) in samples() {
            let text = decoded(coding, &bytes).expect("a text");
            assert_eq!(
                text.escape_ascii().to_string(),
                TEXT.escape_ascii().to_string(),
                "{coding}"
            );
            // The beginning of one says something, or nothing; it never panics.
            for end in 0..bytes.len() {
                let _ = decoded(coding, &bytes[..end]);
            }
        }
        assert_eq!(decoded("", TEXT).as_deref(), Some(TEXT));
        assert_eq!(decoded("gzip", TEXT), None);
        assert_eq!(decoded("gzip, br", TEXT), None);
    }

    #[test]
    fn what_expands_without_end_is_cut() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![b'a'; 10 << 20]).expect("memory");
        let text = decoded("gzip", &gzip.finish().expect("memory")).map(|text| text.len());
        assert_eq!(text, Some(MAX_LOOK));
    }
}
