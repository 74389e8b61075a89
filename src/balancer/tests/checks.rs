//! Checks by us, before a client's request is spent.

use super::*;

fn due(balancer: &Test, now: u64) -> Vec<Check<String>> {
    balancer.due_checks(at(now))
}

fn names(checks: &[Check<String>]) -> String {
    checks.iter().map(|check| (**check).as_str()).collect()
}

#[test]
fn an_endpoint_is_checked_when_its_cooldown_is_over_and_then_tried() {
    let balancer = with(members("ab"), CHECKED);
    assert_eq!(balancer.next_check(at(0)), None);
    rest(&balancer, 0, "a", 10);
    assert_eq!(balancer.next_check(at(4)), Some(seconds_of(6)));
    assert_eq!(names(&due(&balancer, 9)), "");
    assert_eq!(order(&balancer, 10, 2), "bb", "nobody is sent there before");
    assert_eq!(balancer.next_check(at(11)), Some(Duration::ZERO));
    let mut checks = due(&balancer, 11);
    assert_eq!(names(&checks), "a");
    assert_eq!(names(&due(&balancer, 11)), "", "once");
    assert_eq!(balancer.next_check(at(11)), None);
    assert_eq!(order(&balancer, 11, 2), "bb", "nor meanwhile");
    assert_eq!(states(&balancer, 11)[0], ("resting", 0));
    checks.remove(0).passed();
    assert_eq!(states(&balancer, 12)[0], ("up", 0));
    let trial = pick_named(&balancer, 12, "a");
    assert_eq!(order(&balancer, 12, 2), "bb", "one request tries it");
    drop(trial);
    assert_eq!(order(&balancer, 12, 2), "ab");
}

#[test]
fn a_failed_check_makes_the_cooldown_longer() {
    let balancer = with(members("ab"), CHECKED);
    fail(&balancer, 0, "a", Penalty::AtOnce);
    let mut now = 10;
    for fair in [20, 40, 80, 160, 300, 300] {
        due(&balancer, now).remove(0).failed(at(now));
        let snapshot = balancer.snapshot(at(now));
        let a = &snapshot.endpoints[0];
        let left = a.cooldown.as_secs();
        assert!(
            (fair * 8 / 10 - 1..=fair * 12 / 10).contains(&left),
            "{left}, {fair}"
        );
        assert_eq!((a.state, a.cause, a.failures), ("resting", Some("test"), 1));
        assert_eq!(a.next_check, Some(a.cooldown));
        now += left + 1;
    }
}

#[test]
fn what_it_is_doubled_from_is_the_cooldown_that_is_over() {
    let balancer = with(members("ab"), CHECKED);
    rest(&balancer, 0, "a", 60);
    let mut now = 60;
    for fair in [120.0, 240.0, 300.0] {
        let check = due(&balancer, now).remove(0);
        let cooldown = check.failed(at(now));
        let left = left(&balancer, now);
        assert_eq!(cooldown.map(|time| time.as_secs_f64()), Some(left));
        assert!((fair * 0.8..=fair * 1.2).contains(&left), "{left}, {fair}");
        now += left as u64 + 1;
    }
}

#[test]
fn one_that_was_rate_limited_is_tried_without_a_check() {
    let balancer = with(members("ab"), CHECKED);
    fail(&balancer, 0, "a", Penalty::RateLimited(seconds_of(10)));
    assert_eq!(balancer.next_check(at(0)), None);
    assert_eq!(names(&due(&balancer, 10)), "");
    assert_eq!(order(&balancer, 10, 2), "ba");
}

#[test]
fn where_checks_are_off_nothing_is_due() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    assert_eq!(balancer.next_check(at(0)), None);
    assert_eq!(names(&due(&balancer, 10)), "");
}

#[test]
fn who_would_be_a_last_resort_waits_for_the_check_a_moment() {
    let balancer = with(members("a"), CHECKED);
    rest(&balancer, 0, "a", 10);
    assert_eq!(ask(&balancer, 5, Want::default()), "a!", "none is near");
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(10))), "wait", "it is due");
    let check = due(&balancer, 10).remove(0);
    assert_eq!(told(&search.pick(at(10))), "wait", "it is under way");
    assert_eq!(told(&search.pick(at(11))), "a!");
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(11))), "wait");
    check.passed();
    assert_eq!(told(&search.pick(at(11))), "a");
}

#[test]
fn a_verdict_that_comes_too_late_counts_for_nothing() {
    let balancer = with(members("ab"), CHECKED);
    let mut slow = pick(&balancer, 0);
    rest(&balancer, 0, "a", 10);
    let check = due(&balancer, 10).remove(0);
    slow.failed(at(11), fault(Penalty::For(seconds_of(100))));
    check.passed();
    assert_eq!(states(&balancer, 12)[0], ("resting", 99));
    let check = due(&balancer, 111).remove(0);
    balancer.reconfigure(members("b"), CHECKED);
    check.failed(at(112));
}

#[test]
fn a_check_without_a_verdict_is_due_again() {
    let balancer = with(members("ab"), CHECKED);
    rest(&balancer, 0, "a", 10);
    drop(due(&balancer, 10));
    assert_eq!(names(&due(&balancer, 10)), "a");
}

#[test]
fn a_disabled_one_is_not_checked() {
    let balancer = with(members("ab"), CHECKED);
    rest(&balancer, 0, "a", 10);
    let off = Member {
        enabled: false,
        ..member("a")
    };
    balancer.reconfigure(vec![off, member("b")], CHECKED);
    assert_eq!(balancer.next_check(at(0)), None);
    assert_eq!(names(&due(&balancer, 10)), "");
}

#[test]
fn the_checker_is_told_of_new_cooldowns() {
    let long = Duration::from_secs(30);
    let balancer = with(members("ab"), CHECKED);
    balancer.wait_for_checks(Duration::ZERO);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| balancer.wait_for_checks(long));
        rest(&balancer, 0, "a", 10);
        waiting.join().expect("no panic");
    });
    assert!(start.elapsed() < long);
    balancer.wait_for_checks(Duration::from_millis(1));
}
