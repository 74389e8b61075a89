//! A virtual clock turns the rings.

use super::*;

fn attempt(failed: u32) -> Attempts {
    Attempts {
        attempts: 1,
        failed,
        first_byte: Coarse::of(Duration::from_millis(100)),
    }
}

fn counts(series: &mut Series<Attempts>, now: Instant, span: Span) -> Vec<(usize, u32)> {
    let steps = series.steps(now, span);
    let busy = |(at, step): (usize, &Attempts)| (step.attempts > 0).then_some((at, step.attempts));
    steps.iter().enumerate().filter_map(busy).collect()
}

#[test]
fn an_hour_and_a_day_pass() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut series = Series::new(start);
    for seconds in [0, 9, 10, 35] {
        series.add(at(seconds), true, &attempt(0));
    }
    series.add(at(12), true, &attempt(0)); // Held up: it counts where we are now.
    let mut check = |seconds, span, expected: &[(usize, u32)]| {
        assert_eq!(
            counts(&mut series, at(seconds), span),
            expected,
            "at {seconds}"
        );
    };
    check(35, Span::Hour, &[(356, 2), (357, 1), (359, 2)]);
    check(35, Span::Day, &[(287, 5)]);
    check(3_599, Span::Hour, &[(0, 2), (1, 1), (3, 2)]);
    check(3_600, Span::Hour, &[(0, 1), (2, 2)]);
    check(3_640, Span::Hour, &[]);
    check(86_399, Span::Day, &[(0, 5)]);
    check(86_400, Span::Day, &[]);
    check(10_000_000, Span::Hour, &[]);
    series.add(at(10_000_000), true, &attempt(1));
    assert_eq!(counts(&mut series, at(10_000_010), Span::Hour), [(358, 1)]);
    assert_eq!(series.last(at(10_000_010), 2).failed, 1);
    assert_eq!(series.last(at(10_000_010), 1).failed, 0);
}

#[test]
fn where_there_are_many_there_is_no_day() {
    let start = Instant::now();
    let mut series = Series::new(start);
    series.add(start, true, &attempt(0));
    series.add(start, false, &attempt(0));
    assert_eq!(counts(&mut series, start, Span::Day), []);
    assert_eq!(counts(&mut series, start, Span::Hour), [(359, 2)]);
}

#[test]
fn steps_come_in_groups() {
    assert_eq!(grouped(&[attempt(0), Attempts::default()], 1).len(), 2);
    let four = [attempt(1), attempt(0), Attempts::default(), attempt(1)];
    let sums = grouped(&four, 2);
    let sums: Vec<_> = sums.iter().map(|s| (s.attempts, s.failed)).collect();
    assert_eq!(sums, [(2, 1), (1, 1)]);
    assert_eq!(grouped(&[Attempts::default(), Attempts::default()], 2), []);
}

#[test]
fn quantiles_are_near() {
    let sum = |times: &[f64]| {
        let mut sum = Fine::default();
        for seconds in times {
            sum.add(&Fine::of(Duration::from_secs_f64(*seconds)));
        }
        sum
    };
    let check = |times: &[f64], part: f64, expected: f64| {
        let found = sum(times).millis(part).expect("there are some");
        let off = found / expected;
        assert!((0.7..1.42).contains(&off), "{part} of {times:?}: {found}");
    };
    assert_eq!(Fine::default().millis(0.5), None);
    check(&[0.8], 0.5, 800.0);
    check(&[0.1, 0.2, 0.3, 0.4, 5.0], 0.5, 300.0);
    check(&[0.1, 0.2, 0.3, 0.4, 5.0], 0.95, 5000.0);
    check(&[60.0; 9], 0.95, 60_000.0);
    // Nothing is too short or too long.
    let odd = [0.0, 1e-9, 1e6, 1e15].map(Duration::from_secs_f64);
    let mut counts = Coarse::default();
    odd.iter().for_each(|time| counts.add(&Coarse::of(*time)));
    assert!(counts.millis(0.1) <= Some(2.0) && counts.millis(1.0) > Some(600_000.0));
}

#[test]
fn counts_stay_at_their_top() {
    let mut step = Attempts {
        attempts: u32::MAX,
        ..Attempts::default()
    };
    step.add(&attempt(1));
    assert_eq!((step.attempts, step.failed), (u32::MAX, 1));
    let mut counts = Coarse::default();
    (0..70_000).for_each(|_| counts.add(&Coarse::of(Duration::from_millis(100))));
    assert!(counts.millis(0.5).is_some());
}

#[test]
fn it_takes_little_memory() {
    let start = Instant::now();
    fn busy<S: Step>(start: Instant, step: &S) -> usize {
        let mut series = Series::new(start);
        assert_eq!(series.hour.bytes() + series.day.bytes(), 0);
        series.add(start, true, step);
        assert!(series.hour.bytes() + series.day.bytes() < 14_000);
        for number in 0..2 * 8640 {
            series.add(start + number * HOUR.0, true, step);
        }
        series.hour.bytes() + series.day.bytes()
    }
    let answers = Answers {
        answers: 1,
        ..Answers::default()
    };
    let requests = Requests {
        requests: 1,
        ..Requests::default()
    };
    let endpoints = 20 * busy(start, &attempt(0));
    let clients = 20 * busy(start, &requests);
    let whole = busy(start, &answers) + endpoints + clients;
    assert!(whole < 1_500_000, "{whole} bytes");
}
