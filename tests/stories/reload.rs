//! The configuration file is watched: a good change is in force within two seconds, a bad one changes nothing.

use std::fs;

use crate::common::events::{message, message_start};
use crate::common::prelude::*;

/// Waits until a change is in force and asserts that it took no longer than promised.
#[track_caller]
fn soon(what: &str, question: impl FnMut() -> Option<()>) {
    let start = Instant::now();
    eventually(what, question);
    // Two seconds are promised; the rest is for a machine under load.
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{what}: {:?}",
        start.elapsed()
    );
}

#[test]
fn an_endpoint_that_is_added_gets_its_turn() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&a]).start();
    balancer.ask();
    balancer.edit(&balance(&[&a, &b]).json());
    soon("two endpoints", || {
        (balancer.health()["endpoints"][1]["name"] == "two").then_some(())
    });
    balancer.ask();
    balancer.ask();
    assert_eq!(b.count(), 1);
    let one = balancer.endpoint(0);
    assert_eq!(one["requests"], 2, "the counters of what stays are kept");
}

#[test]
fn a_file_replaced_by_rename_is_noticed_too() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&a]).start();
    let new = balancer
        .folder
        .write("new.json", &balance(&[&b]).json().to_string());
    fs::rename(new, balancer.config()).expect("a rename");
    soon("the new file", || {
        (balancer.endpoint(0)["baseURL"] == b.url()).then_some(())
    });
    balancer.ask();
    assert_eq!((a.count(), b.count()), (0, 1));
    assert_eq!(
        balancer.endpoint(0)["requests"],
        1,
        "same name, other URL: a new endpoint"
    );
}

#[test]
fn a_fifo_in_the_files_place_changes_nothing_and_stops_nobody() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&a]).start();
    let fifo = balancer.folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    fs::rename(fifo, balancer.config()).expect("a rename");
    balancer.logged(&["a FIFO", "stays as it was"]);
    assert_eq!(balancer.ask().status, 200);
    let new = balance(&[&b]).json().to_string();
    let new = balancer.folder.write("new.json", &new);
    fs::rename(new, balancer.config()).expect("a rename");
    soon("the new file", || {
        (balancer.endpoint(0)["baseURL"] == b.url()).then_some(())
    });
}

#[test]
fn a_warning_comes_with_the_change_that_brings_it() {
    let up = Upstream::always(ok("{}"));
    let setup = balance(&[&up]).set("clientTokens", json!(["secret"]));
    let balancer = setup.start();
    balancer.edit(&balance(&[&up]).json());
    assert!(balancer.logged(&["any web page"]).contains("WARN"));
}

#[test]
fn a_rest_outlives_a_reload() {
    let (a, b) = (
        Upstream::script([status(429).header("retry-after", "600")]),
        Upstream::always(ok("{}")),
    );
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    assert_eq!(balancer.state(0), "resting");
    balancer.edit(
        &balance(&[&a])
            .with("weight", 3)
            .endpoint(b.url())
            .endpoint("http://three.test/")
            .json(),
    );
    soon("a third endpoint", || {
        (balancer.health()["endpoints"][2]["name"] == "three").then_some(())
    });
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["state"], &one["requests"], &one["failures"]),
        (&json!("resting"), &json!(1), &json!(1))
    );
    assert!(
        one["restingSeconds"].as_f64().expect("a number") > 500.0,
        "{one}"
    );
}

#[test]
fn a_bad_file_is_reported_and_changes_nothing() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let good = balancer.config_json();
    for (text, part) in [
        ("{\"endpoints\": [", "endpoints.json"),
        ("[]", "endpoints"),
        ("{\"wrkers\": 1}", "wrkers"),
    ] {
        fs::write(balancer.config(), text).expect("the file is there");
        balancer.logged(&["ERROR", part]);
        assert_eq!(balancer.ask().status, 200);
        assert_eq!(
            balancer.health()["endpoints"]
                .as_array()
                .expect("a list")
                .len(),
            1
        );
    }
    let mut better = good;
    better["endpoints"][0]["authToken"] = json!("token-new");
    balancer.edit(&better);
    soon("a good file again", || {
        balancer.ask();
        (up.requests().pop()?.head.get("x-api-key") == Some("token-new")).then_some(())
    });
}

#[test]
fn a_file_that_is_gone_is_reported_and_taken_up_when_it_is_back() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&a]).start();
    fs::remove_file(balancer.config()).expect("the file is there");
    balancer.logged(&["ERROR", "endpoints.json"]);
    assert_eq!(balancer.ask().status, 200);
    balancer.edit(&balance(&[&b]).json());
    soon("the new file", || {
        (balancer.endpoint(0)["baseURL"] == b.url()).then_some(())
    });
}

#[test]
fn a_stream_from_an_endpoint_that_is_removed_goes_on() {
    let (a, b) = (Upstream::by_hand(), Upstream::always(ok("{}")));
    let balancer = balance(&[&a]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = a.call();
    call.begin().chunk(message_start());
    client.head();
    client.event();
    balancer.edit(&balance(&[&b]).json());
    soon("the other endpoint", || {
        (balancer.endpoint(0)["baseURL"] == b.url()).then_some(())
    });
    for event in &message("on and on")[1..] {
        call.chunk(event);
        assert_eq!(client.event(), *event);
    }
    call.end();
    assert_eq!(client.rest(), (Vec::new(), true));
    assert_eq!(client.ask(&Request::message()).served_by(), "one");
    assert_eq!(b.count(), 1);
}

#[test]
fn client_tokens_and_limits_change_without_a_restart() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut kept = balancer.client();
    assert_eq!(kept.ask(&Request::message()).status, 200);
    balancer.edit(
        &balance(&[&up])
            .set("clientTokens", json!(["secret"]))
            .set("maxBodyMB", 1)
            .json(),
    );
    soon("a token is asked for", || {
        (balancer.ask().status == 401).then_some(())
    });
    kept.ask(&Request::message())
        .own_error(401, "authentication_error");
    let large = Request::message()
        .header("x-api-key", "secret")
        .body(vec![b'x'; (1 << 20) + 1]);
    balancer.send(&large).own_error(413, "request_too_large");
}

#[test]
fn what_needs_a_restart_says_so_in_the_log() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("workers", 8).start();
    for (key, value) in [
        ("workers", json!(9)),
        ("queue", json!(1)),
        ("listen", json!("127.0.0.2:1")),
    ] {
        let mut file = balancer.config_json();
        file[key] = value;
        balancer.edit(&file);
        balancer.logged(&[key, "restart"]);
    }
    assert_eq!(balancer.health()["workers"], 8);
    assert_eq!(balancer.ask().status, 200);
}

#[test]
fn a_sighup_has_the_file_read_at_once_and_ends_nothing() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let mut balancer = balance(&[&a]).env("LOG_LEVEL", "debug").start();
    balancer.signal(Signal::SIGHUP);
    balancer.logged(&["DEBUG", "SIGHUP", "as it was"]);
    balancer.edit(&balance(&[&b]).json());
    balancer.signal(Signal::SIGHUP);
    soon("the new file", || {
        (balancer.endpoint(0)["baseURL"] == b.url()).then_some(())
    });
    // Who sends the signal is told each time, also of what was told before.
    fs::write(balancer.config(), "[").expect("the file is there");
    let complaints = |balancer: &Balancer| {
        let lines = balancer.log();
        lines
            .iter()
            .filter(|line| line.contains("stays as it was"))
            .count()
    };
    for told in 1..4 {
        balancer.signal(Signal::SIGHUP);
        eventually("a complaint", || {
            (complaints(&balancer) >= told).then_some(())
        });
    }
    assert_eq!(balancer.ask().status, 200);
    assert!(balancer.is_running());
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.exit().code(), Some(0));
}

#[test]
fn a_sighup_finds_nothing_to_read_in_the_demo() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.arg("--demo").env("LOG_LEVEL", "debug");
    let mut demo = Balancer::launch(command, folder);
    demo.logged(&["listening on http://"]);
    demo.signal(Signal::SIGHUP);
    demo.logged(&["DEBUG", "SIGHUP"]);
    demo.signal(Signal::SIGHUP);
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.exit().code(), Some(0));
}
