//! The bytes of an answer that have come and are not yet used.

/// Input starts here and doubles while reads fill it: an event takes one read, a large answer few.
pub const MIN_INPUT: usize = 4 << 10;
const MAX_INPUT: usize = 64 << 10;
/// Bytes that have come and are not yet used.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last look at the bytes used some of them, so that another one may.
    pub progress: bool,
}

impl Input {
    pub fn room(&self) -> usize {
        self.bytes.len()
    }

    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Room for more. An answer's head that fills `MAX_INPUT` and is not whole goes on growing: ureq refuses it at
    /// [`super::MAX_HEAD`].
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.bytes.len() {
            self.bytes.drain(..self.start);
            self.end -= self.start;
            self.start = 0;
            self.bytes.resize((self.end * 2).max(MIN_INPUT), 0);
        }
        &mut self.bytes[self.end..]
    }

    pub fn appended(&mut self, amount: usize) {
        self.end += amount;
        let filled = self.start == 0 && self.end == self.bytes.len();
        if filled && self.bytes.len() < MAX_INPUT {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
    }

    pub fn consume(&mut self, amount: usize) {
        self.start += amount;
        self.progress = amount > 0;
    }
}
