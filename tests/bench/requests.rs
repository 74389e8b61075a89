//! What the load generator asks, as an SDK would.

use std::rc::Rc;

use crate::Failure;
use crate::params::Params;

/// The request that the parameters describe: `body` bytes out, `answer` bytes back, not before `hold` ms.
pub fn request(params: &Params) -> Result<Rc<[u8]>, Failure> {
    let answer: usize = params.get_or("answer", 600)?;
    let hold: u32 = params.get_or("hold", 0)?;
    Ok(post(
        &format!("answer={answer}&hold={hold}"),
        params.get_or("body", 800)?,
        false,
    ))
}

/// What an SDK sends; the body is JSON of exactly so many bytes.
pub fn post(query: &str, bytes: usize, stream: bool) -> Rc<[u8]> {
    let before = format!(
        r#"{{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":{stream},"messages":[{{"role":"user","content":""#
    );
    let after = r#""}]}"#;
    let room = bytes.saturating_sub(before.len() + after.len());
    let text = &"Please read this. ".repeat(room / 18 + 1)[..room];
    let head = format!(
        "POST /v1/messages?beta=true&{query} HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\n\
         accept: application/json\r\naccept-encoding: gzip, deflate, br, zstd\r\nuser-agent: claude-cli/2.0.0 (external, cli)\r\n\
         x-api-key: a-client-token\r\nanthropic-version: 2023-06-01\r\nanthropic-beta: claude-code-20250219\r\n\
         x-stainless-lang: js\r\nx-stainless-retry-count: 0\r\nx-app: cli\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        before.len() + text.len() + after.len()
    );
    format!("{head}{before}{text}{after}").into_bytes().into()
}
