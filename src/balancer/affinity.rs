//! Where a conversation lives: weighted rendezvous hashing.
//!
//! Each endpoint draws a number from the conversation's name and its own, and the highest one has it. Nothing is stored, so
//! replicas and restarts agree, and where an endpoint goes only its own conversations move. What is computed here must never
//! change: a new version of the program would move every conversation away from the endpoint that
//! has its prompt cached.

use crate::api::conversation;

/// The endpoint's draw for a conversation; names as [`hash`] gives them. Shares of all conversations are as the weights.
pub fn draw(conversation: u64, endpoint: u64, weight: u32) -> f64 {
    // 53 bits make an f64 between 0 and 1, both excluded.
    let uniform = ((mix(conversation ^ endpoint) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}

/// The number of an endpoint's name: the same hash as that of a conversation's.
pub fn hash(name: &str) -> u64 {
    conversation::hash(name.as_bytes())
}

/// splitmix64's finalizer: every bit of the input reaches every bit of the output.
pub(super) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
        // The first number of splitmix64 with seed 0, whose state is then this constant.
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_draw_is_always_a_number() {
        for (conversation, endpoint) in [(0, 0), (u64::MAX, 0), (hash("a"), hash("b"))] {
            let draw = draw(conversation, endpoint, 100);
            assert!(draw.is_finite() && draw > 0.0);
        }
    }
}
