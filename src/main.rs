//! claude-loadbalancer: spreads Claude API requests over several endpoints, streams the answers as they come, and goes on
//! to the next endpoint when one fails.
//!
//! The way of a request:
//!
//! ```text
//! client -> listener (downstream) -> tiny_http -> worker: proxy -> balancer, upstream -> endpoint
//! client <------------- writer (downstream) <--------------'
//! ```
//!
//! The rooms. Each imports only from those above it, which `tests/stories/tree.rs` holds true:
//!
//! ```text
//! config      endpoints.json -> a checked Config
//! api         what the Claude API says: headers, errors, events, models, token counts, rate limits
//! balancer    who is next, who is on cooldown; no I/O, no clock
//! telemetry   the log, its line for each request, the counters, what happened, how it went
//! upstream    one call to one endpoint, over ureq
//! downstream  clients: listener, requests, who may come in, the answer's way out
//! memory      heap and stack tuning
//! proxy       the attempt loop, what an outcome means, passing the answer on
//! server      the hand-over to the workers, own answers, reload, drain
//! demo        two endpoints that are not real
//! cli         arguments, --check, --probe, --example
//! main        start, signals, end
//! ```
//!
//! Invariants:
//! 1. Only `server/queue` names tiny_http; only `upstream` names ureq; only `downstream` touches a client's socket.
//! 2. `config`, `api`, `balancer`, `proxy::failover` do no network I/O and read no clock: `now` is an argument.
//! 3. The balancer's lock lives inside its methods and never spans a network call.
//! 4. Nothing is tried again once a byte of the answer has gone to the client.
//! 5. Only an endpoint's faults cost an endpoint; a client that hangs up costs nobody.
//! 6. After `Config::load` nothing is checked again; a request is judged once, under one configuration.
//! 7. A token is a `Secret` from the moment it is read.
//! 8. The listener's thread never blocks but for readiness, and never waits for a worker. No worker ever waits for a client to send
//!    something, and none waits longer than `clientSeconds` for it to take something.
//! 9. Threads: the pool, the listener, the watcher, the log's, the checker and the checks under way (one an
//!    endpoint), name look-ups. None is started by what a client does, but for one an endpoint where the list of models is made (`proxy/models`).

mod api;
mod balancer;
mod cli;
mod config;
mod demo;
mod downstream;
mod memory;
mod proxy;
mod server;
mod telemetry;
mod upstream;

use std::env;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cli::arguments::{self, Mode};
use cli::check::check;
use cli::output::{complain, print};
use config::{Config, Listen};
use demo::Demo;
use downstream::Listener;
use proxy::Proxy;
use server::Server;
use server::hangup::Hangups;
use server::notify;
use server::reload::{self, Watch};
use telemetry::metrics::Metrics;

/// How long the last log lines may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What streams that were still running at the end of the drain get to say so to their clients.
const FAREWELL: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let mode = match arguments::read(env::args_os().skip(1)) {
        Ok(mode) => mode,
        Err(err) => {
            complain(format_args!("{err}\nTry --help."));
            return ExitCode::from(2);
        }
    };
    let outcome = match mode {
        Mode::Print(text) => print(text),
        Mode::Check { path, probe } => find(path).and_then(|path| check(&path, probe)),
        Mode::Serve(path) => serve(path, false),
        Mode::Demo => serve(None, true),
    };
    telemetry::logging::flush(LAST_WORDS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            complain(err);
            ExitCode::FAILURE
        }
    }
}

fn find(path: Option<PathBuf>) -> Result<PathBuf, String> {
    path.map_or_else(|| Config::default_path().map_err(|err| err.to_string()), Ok)
}

/// Serves until a signal ends it.
fn serve(path: Option<PathBuf>, is_demo: bool) -> Result<(), String> {
    // Before the log starts the first thread.
    let hangups = Hangups::catch().map_err(|err| format!("cannot handle signals: {err}"))?;
    memory::tune();
    raise_descriptors();
    telemetry::logging::init()?;
    let demo = if is_demo {
        Some(Demo::start().map_err(|err| format!("--demo: {err}"))?)
    } else {
        None
    };
    let path = if is_demo { None } else { Some(find(path)?) };
    let config = match (&demo, &path) {
        (Some(demo), _) => Config::demo(demo.endpoints()),
        (None, Some(path)) => Config::load(path),
        (None, None) => unreachable!("without --demo there is a file"),
    };
    let config = config.map_err(|err| err.to_string())?;
    let surroundings = match is_demo {
        true => upstream::Surroundings::bare(),
        false => upstream::Surroundings::from_env()?,
    };
    let socket = bind(&config.listen)?;
    introduce(&config, path.as_deref());
    let stopped = on_signal()?;
    let metrics = Metrics::new(Instant::now(), SystemTime::now());
    let proxy = Proxy::start(&config, metrics.clone(), surroundings)
        .map_err(|err| format!("cannot start: {err}"))?;
    let server = Server::start(config.clone(), proxy, metrics)
        .map_err(|err| format!("cannot start: {err}"))?;
    let listener =
        Listener::start(socket, server.clone()).map_err(|err| format!("cannot listen: {err}"))?;
    let status = reload::serving(&config);
    Watch::start(path, config, server.clone(), hangups)
        .map_err(|err| format!("cannot start: {err}"))?;
    log::info!("listening on http://{}", listener.address());
    notify::ready(&status);
    if let Some(demo) = &demo {
        // The demo serves even where nobody can be told how to use it.
        let _ = print(demo.hints(&listener.address().to_string()));
    }

    // The sender lives in the signal handler, for ever.
    let _ = stopped.recv();
    end(&server, listener);
    Ok(())
}

/// Says what is about to serve, and what the operator should know of it. `path`: the file; `None`: the demo.
fn introduce(config: &Config, path: Option<&Path>) {
    let file = path.map_or("none, the demo".into(), |path| path.display().to_string());
    log::info!(version = env!("VERSION_AND_COMMIT"), file = file.as_str(), endpoints = config.endpoints.len(); "claude-loadbalancer");
    // The demo's tokens are worth nothing.
    let exposure = if path.is_some() {
        config.exposure()
    } else {
        Vec::new()
    };
    for line in config.warnings.iter().chain(&exposure) {
        log::warn!("{line}");
    }
}

/// Lets running requests finish, for as long as they may.
fn end(server: &Server, listener: Listener) {
    let drain = server.drain();
    notify::stopping(drain);
    let running = listener.stop();
    log::info!(running = running, seconds = drain.as_secs_f64(); "shutting down: waiting for running requests");
    let left = listener.drain(drain);
    if left > 0 {
        log::warn!(requests = left; "drainSeconds are over: ending what still runs");
        listener.abort_all();
        listener.drain(FAREWELL);
    }
    listener.end();
    log::info!("bye");
}

/// As many descriptors as we may have: each connection takes one, and each attempt. Where that fails, fewer will do.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn bind(listen: &Listen) -> Result<TcpListener, String> {
    let failed = |err| format!("listen: {listen}: {err}");
    let addresses: Vec<_> = (listen.host.trim_matches(['[', ']']), listen.port)
        .to_socket_addrs()
        .map_err(failed)?
        .collect();
    TcpListener::bind(&addresses[..]).map_err(failed)
}

/// The first SIGINT or SIGTERM is received here; a second one ends the process at once.
fn on_signal() -> Result<mpsc::Receiver<()>, String> {
    let (sender, receiver) = mpsc::channel();
    let told = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if told.swap(true, Ordering::Relaxed) || sender.send(()).is_err() {
            std::process::exit(130);
        }
    })
    .map_err(|err| format!("cannot handle signals: {err}"))?;
    Ok(receiver)
}
