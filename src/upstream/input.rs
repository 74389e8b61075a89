//! The bytes of an answer that have come and are not yet used.

use super::sieve::Sieve;

/// Input starts here and doubles while reads fill it: an event takes one read, a large answer few.
pub const MIN_INPUT: usize = 2 << 10;
pub const MAX_INPUT: usize = 64 << 10;

/// Bytes that have come: first those that ureq may see, then those that wait for what follows them.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    shown: usize,
    end: usize,
    /// The last look at the bytes used some of them, so that another one may.
    pub progress: bool,
}

impl Input {
    pub fn room(&self) -> usize {
        self.bytes.len()
    }

    /// What ureq may see.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.shown]
    }

    /// Nothing is left, seen or unseen.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that are held, seen or unseen.
    pub fn held(&self) -> usize {
        self.end - self.start
    }

    /// Room for more. Where much is held and nothing of it can be used yet, it goes on growing: the sieve and ureq have their limits.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.shown, self.end) = (0, 0, 0);
        }
        if self.end == self.bytes.len() {
            self.bytes.drain(..self.start);
            self.end -= self.start;
            self.shown -= self.start;
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

    /// Shows what the sieve lets through of the bytes that it has not passed yet. True where that was something.
    pub fn sift(&mut self, sieve: &mut Sieve) -> bool {
        let sifted = sieve.sift(&mut self.bytes[self.shown..self.end]);
        let dropped = sifted.taken - sifted.kept;
        if dropped > 0 {
            let rest = self.shown + sifted.taken..self.end;
            self.bytes.copy_within(rest, self.shown + sifted.kept);
            self.end -= dropped;
        }
        self.shown += sifted.kept;
        sifted.kept > 0
    }

    pub fn consume(&mut self, amount: usize) {
        self.start += amount;
        self.progress = amount > 0;
    }
}
