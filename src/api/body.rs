//! What a request's body says of its model and its conversation: one pass, as far as it is wanted, with nothing kept.
//!
//! A conversation without a name of its own is known by what it begins with: the system prompt's text and the first user message's text.
//! Text and not bytes: clients move `cache_control` about, and write one text as a string or as a list of one.

use std::ops::Range;

use memchr::memmem;

use super::conversation::hash;
use super::scan::{Raw, Scan};

/// What is to be found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants {
    pub model: bool,
    pub conversation: bool,
    pub files: bool,
}

/// What a body says. A body that is no JSON object says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The top level's `model`; the first one where a body breaks the grammar with several, as nothing is read behind it.
    pub model: Option<Model>,
    /// The conversation's name, as a number; only in bodies that use prompt caching: others have nothing to lose.
    pub conversation: Option<u64>,
    /// It names a file, which lives in one account.
    pub names_file: bool,
}

/// The model that a body asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    /// Where its value stands, quotes included.
    pub at: Range<usize>,
}

/// Looks through a body. `client`: who sends it; two clients that begin alike have two conversations.
pub fn look(body: &[u8], wants: Wants, client: &str) -> Seen {
    let mut seen = Seen {
        names_file: wants.files && names_file(body),
        ..Seen::default()
    };
    let wants_conversation =
        wants.conversation && memmem::find(body, b"\"cache_control\"").is_some();
    if !wants.model && !wants_conversation {
        return seen;
    }
    let mut story = Story::default();
    let mut scan = Scan::new(body);
    let whole = scan.object(|key, scan| {
        if wants.model && seen.model.is_none() && key.is("model") {
            seen.model = model(scan)?;
            return Some(wants_conversation || seen.model.is_none());
        }
        if !wants_conversation {
            scan.skip()?;
        } else if key.is("metadata") && scan.peek()? == b'{' {
            story.session = story.session.or(session(scan)?);
        } else if key.is("system") {
            story.system.content(scan)?;
        } else if key.is("messages") && scan.peek()? == b'[' {
            story.messages(scan)?;
        } else {
            scan.skip()?;
        }
        Some(true)
    });
    if wants_conversation && whole.is_some() {
        seen.conversation = story.name(client);
    }
    seen
}

/// The body with another name for the model, and nothing else changed. `at`: see [`Model`].
pub fn with_model(body: &[u8], at: &Range<usize>, name: &str) -> Vec<u8> {
    let name = serde_json::Value::from(name).to_string();
    [&body[..at.start], name.as_bytes(), &body[at.end..]].concat()
}

/// `"file_id":"file_…"`, anywhere but inside a text (where its quotes would be escaped).
fn names_file(body: &[u8]) -> bool {
    const KEY: &[u8] = b"\"file_id\"";
    memmem::find_iter(body, KEY).any(|at| {
        let rest = body[at + KEY.len()..].trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| value.starts_with(b"\"file_"))
    })
}

/// The value of `model`; `Some(None)` where it is no string.
fn model(scan: &mut Scan) -> Option<Option<Model>> {
    if scan.peek()? != b'"' {
        scan.skip()?;
        return Some(None);
    }
    let start = scan.at();
    let name = String::from_utf8(scan.string()?.text()).ok();
    let at = start..scan.at();
    Some(name.map(|name| Model { name, at }))
}

/// The session in `metadata.user_id`, which Claude Code writes as JSON with `session_id`, and wrote as `user_…_session_UUID` before. Other
/// clients put a user's name there, which is no conversation.
fn session(scan: &mut Scan) -> Option<Option<u64>> {
    let mut found = None;
    scan.object(|key, scan| {
        if !key.is("user_id") || scan.peek()? != b'"' {
            scan.skip()?;
            return Some(true);
        }
        let text = scan.string()?.text();
        let mut id = None;
        let mut inner = Scan::new(&text);
        // Where it is no JSON, `id` stays empty.
        let _ = inner.object(|key, inner| {
            if key.is("session_id") && inner.peek()? == b'"' {
                id = Some(inner.string()?.text());
            } else {
                inner.skip()?;
            }
            Some(true)
        });
        let old = memmem::rfind(&text, b"_session_").map(|at| &text[at + 9..]);
        let id = id.as_deref().or(old.filter(|old| is_uuid(old)));
        found = id.filter(|id| !id.is_empty()).map(hash);
        Some(true)
    })?;
    Some(found)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36 && text.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-')
}

/// What a conversation begins with.
#[derive(Default)]
struct Story {
    session: Option<u64>,
    system: Text,
    first: Option<Text>,
}

impl Story {
    /// Finds the first message of the user's.
    fn messages(&mut self, scan: &mut Scan) -> Option<()> {
        scan.array(|scan| {
            if self.first.is_some() || scan.peek()? != b'{' {
                scan.skip()?;
                return Some(true);
            }
            let mut is_user = false;
            let mut text = Text::default();
            scan.object(|key, scan| {
                if key.is("role") && scan.peek()? == b'"' {
                    is_user = scan.string()?.is("user");
                } else if key.is("content") {
                    text.content(scan)?;
                } else {
                    scan.skip()?;
                }
                Some(true)
            })?;
            if is_user {
                self.first = Some(text);
            }
            Some(true)
        })
    }

    fn name(self, client: &str) -> Option<u64> {
        self.session.or_else(|| {
            // A picture alone says nothing here: two of them would seem to be one conversation.
            let first = self.first.filter(|first| first.length > 0)?;
            let mut all = Text::default();
            all.number(hash(client.as_bytes()));
            all.number(self.system.finish());
            all.number(first.finish());
            Some(all.finish())
        })
    }
}

/// A number for a text, whatever pieces it comes in. It must never change: see [`hash`]. Eight bytes a step, as texts are long.
#[derive(Default)]
struct Text {
    hash: u64,
    length: u64,
    /// Bytes that do not fill a step yet.
    rest: [u8; 8],
}

impl Text {
    /// A string, or a list of blocks of which some have a text.
    fn content(&mut self, scan: &mut Scan) -> Option<()> {
        match scan.peek()? {
            b'"' => {
                let text = scan.string()?;
                self.raw(text);
                Some(())
            }
            b'[' => scan.array(|scan| {
                if scan.peek()? != b'{' {
                    scan.skip()?;
                    return Some(true);
                }
                scan.object(|key, scan| {
                    if key.is("text") && scan.peek()? == b'"' {
                        let text = scan.string()?;
                        self.raw(text);
                    } else {
                        scan.skip()?;
                    }
                    Some(true)
                })?;
                Some(true)
            }),
            _ => scan.skip().map(drop),
        }
    }

    fn raw(&mut self, text: Raw) {
        text.pieces(|piece| self.bytes(piece));
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        let filled = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let more = bytes.len().min(8 - filled);
            self.rest[filled..filled + more].copy_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            if filled + more < 8 {
                return;
            }
            self.step(self.rest);
        }
        let mut steps = bytes.chunks_exact(8);
        for step in &mut steps {
            self.step(step.try_into().expect("eight bytes"));
        }
        let left = steps.remainder();
        self.rest[..left.len()].copy_from_slice(left);
    }

    fn step(&mut self, bytes: [u8; 8]) {
        let mixed = (self.hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = mixed ^ (mixed >> 32);
    }

    fn finish(mut self) -> u64 {
        let filled = (self.length % 8) as usize;
        self.rest[filled..].fill(0);
        self.step(self.rest);
        let length = self.length;
        self.step(length.to_le_bytes());
        self.hash
    }
}

#[cfg(test)]
mod tests;
