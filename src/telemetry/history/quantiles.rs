//! Times by their size, in few bytes, for the median and the like: so many buckets to each doubling.

use std::time::Duration;

/// Upper bound of the first bucket, in seconds.
const FIRST: f64 = 0.002;

/// Half octaves, up to 740 s. The quantiles of one are wrong by a fifth at the most.
pub type Fine = Quantiles<u32, 38, 2>;
/// Octaves, up to 1,050 s, for where there are many.
pub type Coarse = Quantiles<u16, 20, 1>;

/// A count, as small as it may be. It stays at its top where there is no room for more.
pub trait Count: Copy + Default + PartialEq + std::fmt::Debug {
    fn plus(self, other: Self) -> Self;
    fn get(self) -> u64;
    fn one() -> Self;
}

impl Count for u16 {
    fn plus(self, other: u16) -> u16 {
        self.saturating_add(other)
    }
    fn get(self) -> u64 {
        self.into()
    }
    fn one() -> u16 {
        1
    }
}

impl Count for u32 {
    fn plus(self, other: u32) -> u32 {
        self.saturating_add(other)
    }
    fn get(self) -> u64 {
        self.into()
    }
    fn one() -> u32 {
        1
    }
}

/// Counts of times in `N` buckets, `PER` of which make a doubling. The last one takes all that is longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantiles<C, const N: usize, const PER: u32>([C; N]);

impl<C: Count, const N: usize, const PER: u32> Default for Quantiles<C, N, PER> {
    fn default() -> Self {
        Quantiles([C::default(); N])
    }
}

impl<C: Count, const N: usize, const PER: u32> Quantiles<C, N, PER> {
    pub fn of(time: Duration) -> Self {
        let octaves = (time.as_secs_f64() / FIRST).log2() * f64::from(PER);
        let mut found = Self::default();
        // What is below the first bound has a negative number, or none: it goes to the first bucket.
        found.0[(octaves.ceil().max(0.0) as usize).min(N - 1)] = C::one();
        found
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.plus(*more);
        }
    }

    /// The time that `part` (0 to 1) of all do not pass, in milliseconds; `None` where there is none.
    pub fn millis(&self, part: f64) -> Option<f64> {
        let all: u64 = self.0.iter().map(|count| count.get()).sum();
        if all == 0 {
            return None;
        }
        let wanted = all as f64 * part;
        let mut passed = 0.0;
        for (at, count) in self.0.iter().enumerate() {
            let count = count.get() as f64;
            if count > 0.0 && passed + count >= wanted {
                // Times lie evenly in a bucket, as it were: by doublings.
                let inside = (wanted - passed) / count;
                let octaves = (at as f64 - 1.0 + inside) / f64::from(PER);
                let millis = FIRST * octaves.exp2() * 1000.0;
                return Some((millis * 10.0).round() / 10.0);
            }
            passed += count;
        }
        None
    }
}
