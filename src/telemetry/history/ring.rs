//! The newest steps of a series. What became too old is forgotten by whoever adds or looks.

/// Steps that are taken from the heap together.
const CHUNK: usize = 36;

/// A ring of steps, numbered from the start of the process.
#[derive(Debug)]
pub struct Ring<S> {
    size: usize,
    /// Where steps lie: a chunk more than are shown, so that all of a chunk is too old when its first place is needed again.
    places: usize,
    /// Number of the step that is being filled.
    newest: u64,
    /// `None`: nothing happened in any step of the chunk. Empty: nothing ever did.
    chunks: Vec<Option<Box<[S; CHUNK]>>>,
    /// What a step without a chunk shows.
    empty: S,
}

impl<S: Clone + Default> Ring<S> {
    /// `size`: steps that are kept.
    pub fn new(size: usize) -> Ring<S> {
        assert!(size.is_multiple_of(CHUNK), "whole chunks");
        Ring {
            size,
            places: size + CHUNK,
            newest: 0,
            chunks: Vec::new(),
            empty: S::default(),
        }
    }

    /// The step of that number, to be added to. One that is older than the newest counts as the newest: a thread was held up.
    pub fn at(&mut self, number: u64) -> &mut S {
        self.turn(number);
        if self.chunks.is_empty() {
            self.chunks.resize_with(self.places / CHUNK, || None);
        }
        let place = self.place(self.newest);
        let chunk = &mut self.chunks[place / CHUNK];
        let chunk = chunk.get_or_insert_with(|| Box::new(std::array::from_fn(|_| S::default())));
        &mut chunk[place % CHUNK]
    }

    /// Makes `number` the newest step, if it is newer, and forgets those that are too old.
    pub fn turn(&mut self, number: u64) {
        if number <= self.newest {
            return;
        }
        let passed = number - self.newest;
        if passed >= self.size as u64 {
            self.clear();
        } else if !self.chunks.is_empty() {
            for step in self.newest + 1..=number {
                self.forget(step);
            }
        }
        self.newest = number;
    }

    /// Forgets all steps.
    pub fn clear(&mut self) {
        self.chunks = Vec::new();
    }

    /// Nothing ever happened, or it was forgotten as a whole.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All steps, the oldest first.
    pub fn steps(&self) -> impl Iterator<Item = &S> {
        let oldest = self.place(self.newest) + self.places + 1 - self.size;
        (0..self.size).map(move |at| {
            let place = (oldest + at) % self.places;
            let chunk = self.chunks.get(place / CHUNK).and_then(Option::as_deref);
            chunk.map_or(&self.empty, |chunk| &chunk[place % CHUNK])
        })
    }

    fn place(&self, number: u64) -> usize {
        (number % self.places as u64) as usize
    }

    /// Empties the place of a step that begins. With the first one of a chunk all that is in the chunk is too old.
    fn forget(&mut self, number: u64) {
        let place = self.place(number);
        let chunk = &mut self.chunks[place / CHUNK];
        if place.is_multiple_of(CHUNK) {
            *chunk = None;
        } else if let Some(chunk) = chunk {
            chunk[place % CHUNK] = S::default();
        }
    }

    /// Bytes that it holds on the heap.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count();
        chunks * size_of::<[S; CHUNK]>() + self.chunks.capacity() * size_of::<usize>()
    }
}
