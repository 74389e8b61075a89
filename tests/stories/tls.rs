//! Endpoints behind TLS.

use std::net::TcpListener;

use crate::common::events::message;
use crate::common::prelude::*;

fn trusting(identity: &Identity, upstreams: &[&Upstream]) -> Setup {
    let setup = balance(upstreams);
    let pem = identity.write_pem(setup.folder().path());
    setup.env("SSL_CERT_FILE", pem)
}

#[test]
fn a_message_and_a_stream_come_through_tls_on_one_connection() {
    let identity = Identity::new(&["localhost"]);
    let up = Upstream::secure(
        &identity,
        [ok("hello"), stream(&message("hi")), ok("again")],
    );
    let balancer = trusting(&identity, &[&up]).start();
    assert_eq!(balancer.ask().text(), "hello");
    assert_eq!(balancer.ask().text(), message("hi").concat());
    let body = "x".repeat(300_000);
    assert_eq!(balancer.post("/v1/messages", &body).text(), "again");
    assert_eq!(up.requests()[2].text(), body);
    assert_eq!(up.connections(), 1, "one handshake does");
    assert_eq!(
        up.requests()[0].head.get("host"),
        Some(up.url()["https://".len()..].trim_end_matches('/'))
    );
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (trusted, other) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let up = Upstream::secure(&other, []);
    let well = Upstream::always(ok("well"));
    let balancer = trusting(&trusted, &[&up, &well]).start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(
        (balancer.state(0).as_str(), up.count()),
        ("resting", 0),
        "no token was sent"
    );
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let identity = Identity::new(&["elsewhere.test"]);
    let up = Upstream::secure(&identity, []);
    let balancer = trusting(&identity, &[&up]).start();
    balancer.ask().own_error(500, "internal_error");
    assert_eq!(up.count(), 0);
}

#[test]
fn an_endpoint_that_stalls_in_the_handshake_is_left_after_connect_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "https://localhost:{}/",
        silent.local_addr().expect("its address").port()
    );
    let well = Upstream::always(ok("well"));
    let balancer = Setup::new()
        .endpoint(url)
        .endpoint(well.url())
        .set("connectSeconds", 0.3)
        .start();
    let start = Instant::now();
    assert_eq!(balancer.ask().text(), "well");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(balancer.state(0), "resting");
}

#[test]
fn an_endpoint_that_speaks_no_tls_is_left() {
    let plain = Upstream::always(ok("plain"));
    let well = Upstream::always(ok("well"));
    let url = plain.url().replace("http://", "https://");
    let balancer = Setup::new().endpoint(url).endpoint(well.url()).start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(balancer.state(0), "resting");
}

#[test]
fn a_stream_cut_under_tls_ends_with_an_error_event() {
    let identity = Identity::new(&["localhost"]);
    let up = Upstream::secure(&identity, [stream(&message("hi")[..3]).close()]);
    let balancer = trusting(&identity, &[&up]).start();
    let answer = balancer.ask();
    let events = answer.events();
    assert_eq!(events[..3], message("hi")[..3]);
    assert!(
        events.len() == 4 && events[3].starts_with("event: error\n"),
        "{events:?}"
    );
}

#[test]
fn a_stale_connection_under_tls_costs_nothing() {
    let identity = Identity::new(&["localhost"]);
    let up = Upstream::secure(&identity, [ok("1"), hang_up(), ok("2")]);
    let balancer = trusting(&identity, &[&up]).start();
    assert_eq!(balancer.ask().text(), "1");
    balancer.settle();
    assert_eq!(balancer.ask().text(), "2");
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_second_connection_goes_on_with_the_first_ones_session() {
    let identity = Identity::new(&["localhost"]);
    let up = Upstream::secure(&identity, []);
    let balancer = trusting(&identity, &[&up]).start();
    assert_eq!(balancer.ask().status, 200);
    assert_eq!((up.connections(), identity.resumed()), (1, 0));
    for more in 1..=3 {
        balancer.settle();
        up.close_idle();
        assert_eq!(balancer.ask().status, 200);
        assert_eq!((up.connections(), identity.resumed()), (1 + more, more));
    }
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_chunks_line_that_does_not_end_breaks_the_answer_under_tls_too() {
    let identity = Identity::new(&["localhost"]);
    for start in ["5;", "0\r\ntrailer: "] {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        let endless = format!("{head}2\r\nhi\r\n{start}{}", "x".repeat(200 << 10));
        let up = Upstream::secure(&identity, [raw(endless).stall()]);
        let balancer = trusting(&identity, &[&up]).start();
        let answer = balancer.ask();
        assert_eq!((answer.text(), answer.whole), ("hi", false));
        balancer.settle();
        assert_eq!(balancer.endpoint(0)["failures"], 1);
    }
}
