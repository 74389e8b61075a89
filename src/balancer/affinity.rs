//! Where a session lives: weighted rendezvous hashing.
//!
//! Each endpoint draws a number from the session's name and its own, and the highest one has it. Nothing is stored, so
//! replicas and restarts agree, and where an endpoint goes only its own sessions move. What is computed here must never
//! change: a new version of the program would move every session away from the endpoint that has its prompt cached.

/// The endpoint's draw for a session; names as [`hash`] gives them. Shares of all sessions are as the weights.
pub fn draw(session: u64, endpoint: u64, weight: u32) -> f64 {
    // 53 bits make an f64 between 0 and 1, both excluded.
    let uniform = ((mix(session ^ endpoint) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}

/// FNV-1a, 64 bits: written out, since std's hashes may change from one release to the next.
pub fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// splitmix64's finalizer: every bit of the input reaches every bit of the output.
fn mix(mut hash: u64) -> u64 {
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
        for (session, endpoint) in [(0, 0), (u64::MAX, 0), (hash("a"), hash("b"))] {
            let draw = draw(session, endpoint, 100);
            assert!(draw.is_finite() && draw > 0.0);
        }
    }
}
