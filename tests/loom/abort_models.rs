//! An attempt that is aborted never hangs, and a socket that it has left is never shut.

use crate::call::Abort;
use crate::explore;
use crate::net::TcpStream;
use crate::sync::Arc;
use crate::thread::spawn;

#[test]
fn an_abort_ends_the_attempt_whenever_it_comes() {
    explore(|| {
        let abort = Arc::new(Abort::default());
        let aborting = abort.clone();
        let client = spawn(move || aborting.abort());
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
        // The client's thread, and the one that ends the program.
        let clients = aborting.map(|abort| spawn(move || abort.abort()));
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
