//! An attempt that is aborted never hangs, and a socket that it has left is never shut.

use crate::call::{Abort, Reason};
use crate::explore;
use crate::net::TcpStream;
use crate::sync::Arc;
use crate::thread::spawn;

#[test]
fn an_abort_ends_the_attempt_whenever_it_comes() {
    explore(|| {
        let abort = Arc::new(Abort::default());
        let aborting = abort.clone();
        let client = spawn(move || aborting.abort(Reason::ClientGone));
        let socket = Arc::new(TcpStream::new());
        abort.attach(&socket);
        // The endpoint says nothing.
        socket.read();
        client.join().unwrap();
    });
}

#[test]
fn an_abort_shuts_the_socket_of_the_moment_and_no_other() {
    explore(|| {
        let abort = Arc::new(Abort::default());
        let aborting = [abort.clone(), abort.clone()];
        // The listener, because the client has gone, and because the program ends.
        let clients = aborting.map(|abort| spawn(move || abort.abort(Reason::ClientGone)));
        let first = Arc::new(TcpStream::new());
        abort.attach(&first);
        abort.detach();
        first.leave_to_others();
        let second = Arc::new(TcpStream::new());
        abort.attach(&second);
        second.read();
        abort.detach();
        second.leave_to_others();
        for client in clients {
            client.join().unwrap();
        }
        assert!(abort.is_aborted());
    });
}
