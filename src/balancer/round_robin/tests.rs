//! Shares, exact over any window, and nobody twice while members come and go.

use proptest::prelude::*;

use super::*;

fn index(weights: &[u32]) -> RoundRobin {
    let mut index = RoundRobin::default();
    index.set_members(weights.iter().map(|&weight| (weight, None)));
    index
}

/// The members whose bit is set.
fn of(mask: u8) -> impl Fn(usize) -> bool {
    move |at| mask & 1 << at != 0
}

fn count(window: &[usize], member: usize) -> usize {
    window.iter().filter(|&&at| at == member).count()
}

#[track_caller]
fn check(weights: &[u32], order: &str) {
    let mut index = index(weights);
    let turn = |_| char::from(b'a' + index.take(|_| true).expect("all take part") as u8);
    assert_eq!(
        (0..order.len()).map(turn).collect::<String>(),
        order,
        "{weights:?}"
    );
}

#[test]
fn orders() {
    check(&[1], "aaa");
    check(&[1, 1], "ababab");
    check(&[1, 1, 1], "abcabcabc"); // The file's order.
    check(&[1, 1, 3], "cacbccacbccacbc"); // Never three in a row.
    check(&[5, 1, 1], "aabacaaaabacaa"); // nginx's own example.
    check(&[2, 3], "babab");
    check(&[100, 100], "abab");
}

#[test]
fn nobody_is_nobody() {
    assert_eq!(index(&[]).take(|_| true), None);
    assert_eq!(index(&[1, 1]).take(|_| false), None);
}

#[test]
fn nobody_goes_twice_when_another_leaves() {
    let mut index = index(&[1, 1, 1]);
    let turns = [0b111, 0b111, 0b110, 0b110, 0b110].map(|mask| index.take(of(mask)));
    assert_eq!(turns.map(Option::unwrap), [0, 1, 2, 1, 2]);
}

#[test]
fn one_that_comes_back_has_no_burst() {
    for weight in [1, 7, 100] {
        let mut index = index(&[weight, weight]);
        index.take(|_| true);
        (0..1000).for_each(|_| assert_eq!(index.take(of(0b01)), Some(0)));
        let turns: Vec<usize> = (0..10).filter_map(|_| index.take(|_| true)).collect();
        assert_eq!(turns, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0], "weight {weight}");
    }
}

#[test]
fn members_change() {
    let mut index = index(&[1, 1]);
    (0..1001).for_each(|_| assert!(index.take(|_| true).is_some()));
    // The second one becomes the first, one is new, and the old first one gets another weight.
    index.set_members([(1, Some(1)), (1, None), (2, Some(0))].into_iter());
    let turns: Vec<usize> = (0..12).filter_map(|_| index.take(|_| true)).collect();
    for round in turns.chunks(4) {
        assert_eq!([0, 1, 2].map(|at| count(round, at)), [1, 1, 2], "{turns:?}");
    }
}

#[test]
fn a_long_life_changes_nothing() {
    let (mut young, mut old) = (index(&[1, 1, 3]), index(&[1, 1, 3]));
    // At 30,000 turns a second that is some million years, and the products are long beyond 64 bits.
    let rounds = 1 << 61;
    for member in &mut old.members {
        (member.taken, member.took_part) = (member.whole * rounds, true);
    }
    (old.taken, old.weight) = (5 * rounds, 50);
    for mask in [
        0b111, 0b111, 0b101, 0b001, 0b001, 0b001, 0b111, 0b111, 0b011, 0b111, 0b111, 0b111,
    ] {
        assert_eq!(old.take(of(mask)), young.take(of(mask)));
    }
}

#[test]
fn a_weight_in_tenths_has_its_share() {
    let mut index = index(&[1, 1]);
    index.set_tenths(1, 1);
    let turns: Vec<usize> = (0..110).filter_map(|_| index.take(|_| true)).collect();
    assert_eq!(count(&turns, 1), 10);
    index.set_tenths(1, 5);
    let turns: Vec<usize> = (0..30).filter_map(|_| index.take(|_| true)).collect();
    assert_eq!(count(&turns, 1), 10);
    index.set_tenths(1, 10);
    let turns: Vec<usize> = (0..30).filter_map(|_| index.take(|_| true)).collect();
    assert_eq!(count(&turns, 1), 15);
}

proptest! {
    /// Whoever comes and goes: where those that take part stay the same, each goes once in as many turns as they are.
    #[test]
    fn equal_weights_are_exact_over_any_window(
        n in 1usize..9,
        weight in 1u32..=100,
        phases in prop::collection::vec((any::<u8>(), 1usize..20), 1..30),
    ) {
        let mut index = index(&vec![weight; n]);
        for (mask, turns) in phases {
            let members: Vec<usize> = (0..n).filter(|&at| of(mask)(at)).collect();
            let turns: Vec<usize> = (0..turns).filter_map(|_| index.take(of(mask))).collect();
            for window in (1..=turns.len()).flat_map(|length| turns.windows(length)) {
                for &at in &members {
                    let (count, fair) = (count(window, at), window.len() / members.len());
                    let most = window.len().div_ceil(members.len());
                    prop_assert!((fair..=most).contains(&count), "{count} for {at} in {window:?} of {turns:?}");
                }
            }
        }
    }

    /// A window as long as the total weight has each one's weight in turns, wherever it begins.
    #[test]
    fn weights_are_exact_over_their_total(weights in prop::collection::vec(1u32..=10, 1..8)) {
        let mut index = index(&weights);
        let total = weights.iter().sum::<u32>() as usize;
        let turns: Vec<usize> = (0..4 * total).filter_map(|_| index.take(|_| true)).collect();
        for window in turns.windows(total) {
            for (at, &weight) in weights.iter().enumerate() {
                prop_assert_eq!(count(window, at), weight as usize);
            }
        }
    }

    /// Right after somebody came or went too, nobody has two turns more than is fair, and nobody waits longer for a
    /// turn than while each of the others has one.
    #[test]
    fn weights_allow_no_burst(
        weights in prop::collection::vec(1u32..=10, 1..7),
        phases in prop::collection::vec((any::<u8>(), 1usize..40), 1..20),
    ) {
        let mut index = index(&weights);
        for (mask, turns) in phases {
            let members: Vec<usize> = (0..weights.len()).filter(|&at| of(mask)(at)).collect();
            let total: u32 = members.iter().map(|&at| weights[at]).sum();
            let turns: Vec<usize> = (0..turns).filter_map(|_| index.take(of(mask))).collect();
            for window in (1..=turns.len()).flat_map(|length| turns.windows(length)) {
                for &at in &members {
                    let fair = window.len() as f64 * f64::from(weights[at]) / f64::from(total);
                    let count = count(window, at) as f64;
                    let late = members.len() as f64;
                    prop_assert!(count < fair + 2.0, "{count} for {at}, {fair} would be fair, {turns:?}");
                    prop_assert!(count > fair - late, "{count} for {at}, {fair} would be fair, {turns:?}");
                }
            }
        }
    }
}
