//! `NOTIFY_SOCKET`: a service's manager is told when we are ready, reload and stop.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::common::DEADLINE;
use crate::common::prelude::*;

/// What systemd would be.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: UnixDatagram) -> Manager {
        let all = socket.set_read_timeout(Some(DEADLINE));
        all.expect("a time that a socket can wait");
        Manager(socket)
    }

    /// The next datagram's lines.
    #[track_caller]
    fn told(&self) -> Vec<String> {
        let mut bytes = [0; 1000];
        let size = self.0.recv(&mut bytes).expect("something is told");
        let text = str::from_utf8(&bytes[..size]).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

/// The life of a service: how it is told to a manager at `manager`, whose name is `name`.
fn tell_a_life(manager: &Manager, name: &str) {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let mut balancer = balance(&[&a])
        .set("drainSeconds", 50)
        .env("NOTIFY_SOCKET", name)
        .start();
    assert_eq!(manager.told(), ["READY=1", "STATUS=serving 1 endpoint"]);
    assert_eq!(balancer.ask().status, 200);

    // A change that is found by itself takes no time that anybody would have to wait for.
    let good = balance(&[&a, &b]).set("drainSeconds", 50).json();
    balancer.edit(&good);
    assert_eq!(manager.told(), ["STATUS=serving 2 endpoints"]);

    let mut last = 0;
    for (text, status) in [
        (good.to_string().as_str(), "STATUS=serving 2 endpoints"),
        (
            "{",
            "STATUS=serving 2 endpoints; the changed configuration is wrong and not in force, see the log",
        ),
    ] {
        fs::write(balancer.config(), text).expect("the file is there");
        balancer.signal(Signal::SIGHUP);
        let reloading = manager.told();
        assert_eq!(reloading[0], "RELOADING=1");
        let micros = reloading[1].strip_prefix("MONOTONIC_USEC=");
        let micros: u64 = micros.expect("a time").parse().expect("a number");
        assert!(micros > last, "{micros} after {last}");
        last = micros;
        assert_eq!(manager.told(), ["READY=1", status]);
    }

    balancer.signal(Signal::SIGTERM);
    let stopping = manager.told();
    assert_eq!(stopping[0], "STOPPING=1");
    assert_eq!(stopping[2], "EXTEND_TIMEOUT_USEC=55000000");
    assert_eq!(balancer.exit().code(), Some(0));
}

#[test]
fn a_manager_is_told_of_start_reload_and_stop() {
    // Of a path's 108 bytes the folder of a deep checkout may take too many.
    let path = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
    let manager = Manager::new(UnixDatagram::bind(&path).expect("a socket"));
    tell_a_life(&manager, path.to_str().expect("text"));
    fs::remove_file(path).expect("the socket is there");
}

#[test]
fn the_managers_address_may_be_an_abstract_one() {
    let name = format!("notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let manager = Manager::new(UnixDatagram::bind_addr(&address).expect("a socket"));
    tell_a_life(&manager, &format!("@{name}"));
}

#[test]
fn a_bad_file_is_never_ready() {
    let name = format!("notify-bad-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let manager = UnixDatagram::bind_addr(&address).expect("a socket");
    let end = Setup::new()
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .finish();
    assert_eq!(end.status, Some(1));
    manager.set_nonblocking(true).expect("a socket of ours");
    assert!(manager.recv(&mut [0; 100]).is_err(), "nothing was told");
}

#[test]
fn a_manager_that_is_not_there_holds_nothing_up() {
    let up = Upstream::always(ok("{}"));
    for name in ["/no/such/socket", "@no-such-socket", "vsock:2:1", "@"] {
        let mut balancer = balance(&[&up]).env("NOTIFY_SOCKET", name).start();
        balancer.logged(&["WARN", "NOTIFY_SOCKET", name]);
        assert_eq!(balancer.ask().status, 200);
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.exit().code(), Some(0));
    }
}
