//! Models that only some endpoints serve, and models on cooldown.

use super::*;

fn serving(name: &str, models: &'static [&'static str]) -> Member<String> {
    Member {
        serves: Some(Arc::new(move |model: &str| models.contains(&model))),
        ..member(name)
    }
}

#[test]
fn a_request_goes_to_those_that_serve_its_model() {
    let balancer = with(
        vec![
            serving("a", &["x"]),
            serving("b", &["x", "y"]),
            serving("c", &[]),
        ],
        RULES,
    );
    assert!(balancer.needs_model(at(0)));
    let ask_often = |want| -> String { (0..4).map(|_| ask(&balancer, 0, want)).collect() };
    assert_eq!(ask_often(for_model("x")), "abab");
    assert_eq!(ask_often(for_model("y")), "bbbb");
    assert_eq!(ask(&balancer, 0, for_model("z")), "unserved");
    assert_eq!(balancer.search(for_model("z")).retry_in(at(0)), None);
    let everybody = ask_often(Want::default());
    assert!(
        everybody.contains('c'),
        "one that names no model goes anywhere: {everybody}"
    );
    let mut search = balancer.search(for_model("y"));
    assert_eq!(
        [told(&search.pick(at(0))), told(&search.pick(at(0)))],
        ["b", "none"]
    );
    let first = Want {
        model: Some("y"),
        ..FIRST
    };
    assert_eq!(
        ask(&balancer, 0, first),
        "unserved",
        "the first account and no other"
    );
    rest(&balancer, 0, "b", 10);
    assert_eq!(ask(&balancer, 0, for_model("y")), "b!");
}

#[test]
fn a_model_on_cooldown_takes_only_its_own_requests_away() {
    let balancer = balancer("ab");
    assert!(!balancer.needs_model(at(0)));
    fail(
        &balancer,
        0,
        "a",
        Penalty::ModelRateLimited("x", seconds_of(60)),
    );
    assert!(balancer.needs_model(at(0)));
    let order = |now, want| -> String { (0..4).map(|_| ask(&balancer, now, want)).collect() };
    assert_eq!(order(1, for_model("x")), "bbbb");
    for want in [for_model("y"), Want::default()] {
        assert_eq!(order(1, want).matches('a').count(), 2);
    }
    let snapshot = balancer.snapshot(at(1));
    let model = &snapshot.endpoints[0].models[0];
    assert_eq!(
        (model.model.as_str(), model.cooldown, model.cause),
        ("x", seconds_of(59), "test")
    );
    assert_eq!(
        (snapshot.endpoints[0].state, snapshot.some_unwell),
        ("up", false)
    );
    fail(
        &balancer,
        1,
        "b",
        Penalty::ModelRateLimited("x", seconds_of(30)),
    );
    assert_eq!(ask(&balancer, 1, for_model("x")), "limited 30");
    assert_eq!(ask(&balancer, 3, for_model("x")), "b!");
    assert!(
        !balancer.needs_model(at(10_000)),
        "what nobody asks for is forgotten"
    );
}

#[test]
fn one_request_tries_whether_a_model_is_there_again() {
    let balancer = balancer("ab");
    let x = for_model("x");
    let try_a = |now| balancer.search(x).pick(at(now)).go().expect("an endpoint");
    fail(
        &balancer,
        0,
        "a",
        Penalty::ModelRateLimited("x", seconds_of(60)),
    );
    rest(&balancer, 0, "b", 1000);
    let mut trial = try_a(60);
    assert_eq!((trial.as_str(), trial.is_last_resort()), ("a", false));
    assert_eq!(ask(&balancer, 60, x), "wait", "others wait for its verdict");
    assert_eq!(
        ask(&balancer, 60, for_model("y")),
        "a",
        "or have nothing to do with it"
    );
    trial.failed(at(60), fault(Penalty::None));
    let left = |now| {
        balancer.snapshot(at(now)).endpoints[0].models[0]
            .cooldown
            .as_secs()
    };
    assert_eq!(left(60), 120, "longer");
    drop(try_a(180));
    try_a(180).failed(
        at(180),
        fault(Penalty::ModelRateLimited("x", seconds_of(7))),
    );
    assert_eq!(left(180), 7, "as the endpoint says");
    try_a(187).answered(at(187));
    assert!(balancer.snapshot(at(187)).endpoints[0].models.is_empty());
}

#[test]
fn a_missing_model_is_asked_for_again_after_ten_minutes() {
    let balancer = balancer("ab");
    fail(&balancer, 0, "a", Penalty::ModelMissing("x"));
    assert_eq!(ask(&balancer, 599, for_model("x")), "b");
    let asked: String = (0..2)
        .map(|_| ask(&balancer, 600, for_model("x")))
        .collect();
    assert!(asked.contains('a'));
}

#[test]
fn a_model_that_is_read_late_counts_from_then_on() {
    let balancer = balancer("abc");
    let model = String::from("x");
    let mut search = balancer.search(Want::default());
    let mut a = search.pick(at(0)).go().expect("a");
    let b = pick_named(&balancer, 0, "b");
    drop(b);
    a.failed(
        at(0),
        fault(Penalty::ModelRateLimited(&model, seconds_of(60))),
    );
    fail(
        &balancer,
        0,
        "b",
        Penalty::ModelRateLimited("x", seconds_of(60)),
    );
    search.name_model(&model);
    assert_eq!(told(&search.pick(at(0))), "c");
    assert_eq!(search.retry_in(at(0)), Some(Duration::ZERO));
}

#[test]
fn clients_cannot_fill_the_memory_with_names() {
    let balancer = balancer("a");
    for n in 0..1000 {
        fail(
            &balancer,
            0,
            "a",
            Penalty::ModelMissing(&format!("model-{n}")),
        );
    }
    assert_eq!(balancer.snapshot(at(0)).endpoints[0].models.len(), 64);
    fail(&balancer, 2000, "a", Penalty::ModelMissing("one more"));
    assert_eq!(balancer.snapshot(at(2000)).endpoints[0].models.len(), 1);
    fail(
        &balancer,
        2000,
        "a",
        Penalty::ModelMissing(&"long".repeat(100)),
    );
    assert_eq!(
        balancer.snapshot(at(2000)).endpoints[0].models.len(),
        1,
        "a name as long as no model's"
    );
}

#[test]
fn a_late_shorter_verdict_does_not_cut_a_models_cooldown() {
    let balancer = balancer("ab");
    let (mut first, mut second) = (pick_named(&balancer, 0, "a"), pick_named(&balancer, 0, "a"));
    let limited = |seconds| fault(Penalty::ModelRateLimited("x", seconds_of(seconds)));
    assert_eq!(first.failed(at(0), limited(60)), Some(seconds_of(60)));
    assert_eq!(second.failed(at(1), limited(5)), None);
    let left = || balancer.snapshot(at(1)).endpoints[0].models[0].cooldown;
    assert_eq!(left(), seconds_of(59));
    assert_eq!(second.failed(at(1), limited(100)), Some(seconds_of(100)));
    assert_eq!(left(), seconds_of(100));
}

#[test]
fn nobody_waits_for_a_verdict_about_a_model_while_the_endpoint_is_out() {
    let balancer = balancer("a");
    fail(
        &balancer,
        0,
        "a",
        Penalty::ModelRateLimited("x", seconds_of(10)),
    );
    let trial = balancer
        .search(for_model("x"))
        .pick(at(10))
        .go()
        .expect("a");
    assert_eq!(ask(&balancer, 10, for_model("x")), "wait");
    balancer.cool_down(trial.id(), at(10), "test", seconds_of(100));
    assert_eq!(ask(&balancer, 11, for_model("x")), "a!");
}
