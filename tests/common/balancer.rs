//! The real binary: configured, started, watched and ended.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};

use super::client::{Answer, Client, Request};
use super::eventually;
use super::upstream::{Call, Upstream};

pub const BINARY: &str = env!("CARGO_BIN_EXE_claude-loadbalancer");

/// Names and tokens of the endpoints that `balance` configures.
pub const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// A folder that goes when this does.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "story-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder for the story");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file for the story");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with an environment that holds nothing of ours but `PORT=0`.
pub fn command(folder: &Folder) -> Command {
    program(Path::new(BINARY), folder)
}

/// The same for a binary that lies somewhere else.
pub fn program(binary: &Path, folder: &Folder) -> Command {
    let mut command = Command::new(binary);
    command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .env("PORT", "0");
    for name in [
        "HOST",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "NOTIFY_SOCKET",
        "SSL_CERT_FILE",
        "RUNTIME_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// A configuration that becomes a running balancer.
pub struct Setup {
    endpoints: Vec<Value>,
    settings: Map<String, Value>,
    env: Vec<(String, OsString)>,
    arguments: Vec<String>,
    folder: Folder,
}

/// Endpoints `one`, `two`, … with the tokens `token-one`, `token-two`, …
pub fn balance(upstreams: &[&Upstream]) -> Setup {
    upstreams.iter().fold(Setup::new(), |setup, upstream| {
        setup.endpoint(upstream.url())
    })
}

impl Setup {
    pub fn new() -> Setup {
        let (endpoints, settings, folder) = (Vec::new(), Map::new(), Folder::new());
        Setup {
            endpoints,
            settings,
            env: Vec::new(),
            arguments: Vec::new(),
            folder,
        }
    }

    /// One more endpoint, with the next name.
    pub fn endpoint(mut self, url: impl Into<String>) -> Setup {
        let name = NAMES[self.endpoints.len()];
        let url: String = url.into();
        self.endpoints
            .push(json!({"baseURL": url, "authToken": format!("token-{name}"), "name": name}));
        self
    }

    /// A property of the endpoint that was added last; `null` takes it away.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Setup {
        self.endpoints.last_mut().expect("an endpoint")[key] = value.into();
        self
    }

    /// A setting beside `endpoints`.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Setup {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Setup {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn json(&self) -> Value {
        let mut all = self.settings.clone();
        let endpoints = self.endpoints.iter().map(|e| {
            let set = e
                .as_object()
                .expect("an object")
                .iter()
                .filter(|(_, v)| !v.is_null());
            Value::Object(set.map(|(k, v)| (k.clone(), v.clone())).collect())
        });
        all.insert("endpoints".to_owned(), endpoints.collect());
        Value::Object(all)
    }

    fn command(&self) -> Command {
        let file = self
            .folder
            .write("endpoints.json", &self.json().to_string());
        let mut command = command(&self.folder);
        command
            .arg("--config")
            .arg(file)
            .args(&self.arguments)
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    pub fn start(self) -> Balancer {
        let command = self.command();
        Balancer::run(command, self.folder)
    }

    /// Runs it to its end, for what ends by itself.
    pub fn finish(self) -> Finished {
        let command = self.command();
        finish(command)
    }
}

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command that ends by itself. One that does not is killed, and the story fails.
pub fn finish(mut command: Command) -> Finished {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let mut running = Killed(child);
    let status = eventually("the program ends", || {
        running.0.try_wait().expect("a child of ours")
    });
    let text = |thread: JoinHandle<String>| thread.join().expect("a reader");
    Finished {
        status: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut all = String::new();
        pipe.read_to_string(&mut all).expect("text");
        all
    })
}

/// A running balancer. Dropped, it is killed; its log is shown where the story fails.
pub struct Balancer {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    printed: Arc<Mutex<Vec<String>>>,
    pub address: SocketAddr,
    pub folder: Folder,
}

impl Balancer {
    /// Starts it and waits for the line that says where it listens.
    pub fn run(command: Command, folder: Folder) -> Balancer {
        let mut balancer = Balancer::launch(command, folder);
        balancer.address = eventually("the ready line", || {
            if let Some(status) = balancer.child.try_wait().expect("a child of ours") {
                panic!("it ended with {status} before it was ready");
            }
            let ready = balancer.log().into_iter().find_map(|l| {
                l.split_once("listening on http://")
                    .map(|(_, a)| a.to_owned())
            })?;
            let address = ready.split([' ', '"']).next().expect("a first word");
            Some(
                address
                    .parse()
                    .unwrap_or_else(|_| panic!("an address and port: {ready:?}")),
            )
        });
        balancer
    }

    /// Starts it and waits for nothing.
    pub fn launch(mut command: Command, folder: Folder) -> Balancer {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = follow(child.stderr.take().expect("a pipe"));
        let printed = follow(child.stdout.take().expect("a pipe"));
        Balancer {
            child,
            lines,
            printed,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, request: &Request) -> Answer {
        self.client().ask(request)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(&Request::new("GET", path))
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&Request::new("POST", path).body(body))
    }

    /// A message request; the stories that are about something else use this one.
    pub fn ask(&self) -> Answer {
        self.post("/v1/messages", "{}")
    }

    /// Sends requests until one reaches `upstream`, which answers it by hand. Says how many it took.
    pub fn reach(&self, upstream: &Upstream) -> (Client, Call, u64) {
        let mut client = self.client();
        for sent in 1..100 {
            client.send(Request::message().bytes());
            let call = eventually("an endpoint is asked", || match upstream.call_now() {
                Some(call) => Some(Some(call)),
                None => client.has_answer().then_some(None),
            });
            if let Some(call) = call {
                return (client, call, sent);
            }
            client.answer();
        }
        panic!("a hundred requests passed it over");
    }

    pub fn health(&self) -> Value {
        let answer = self.get("/health");
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// What `/health` says of an endpoint, counted from 0.
    pub fn endpoint(&self, index: usize) -> Value {
        self.health()["endpoints"][index].clone()
    }

    /// `up`, `resting` or `full`.
    pub fn state(&self, index: usize) -> String {
        self.endpoint(index)["state"]
            .as_str()
            .expect("a state")
            .to_owned()
    }

    /// Waits until nothing is in flight, so that counters have their final values.
    pub fn settle(&self) {
        eventually("nothing in flight", || {
            (self.health()["inFlight"] == 0).then_some(())
        });
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("endpoints.json")
    }

    /// Writes a new configuration over the old file.
    pub fn edit(&self, config: &Value) {
        fs::write(self.config(), config.to_string()).expect("the file is there");
    }

    pub fn config_json(&self) -> Value {
        let text = fs::read_to_string(self.config()).expect("the file is there");
        serde_json::from_str(&text).expect("the file is JSON")
    }

    pub fn log(&self) -> Vec<String> {
        self.lines.lock().expect("a reader").clone()
    }

    /// What went to standard output so far.
    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().expect("a reader").clone()
    }

    /// Waits for a log line that holds all of `parts`.
    pub fn logged(&self, parts: &[&str]) -> String {
        eventually(&format!("a log line with {parts:?}"), || {
            self.log()
                .into_iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it still runs");
    }

    /// From now on it stands still, each of its threads, until it gets a SIGCONT.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("all threads stand still", || {
            let mut tasks = fs::read_dir(self.proc("task")).expect("its threads");
            let stands = |task: std::io::Result<fs::DirEntry>| {
                let status = task.expect("a thread").path().join("status");
                fs::read_to_string(status).is_ok_and(|text| text.contains("State:\tT"))
            };
            tasks.all(stands).then_some(())
        });
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits for its end, and for all that it said.
    pub fn exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the balancer ends", || {
            child.try_wait().expect("a child of ours")
        });
        assert!(status.signal().is_none(), "it ended by itself: {status}");
        eventually("its log has been read", || {
            let readers = [&self.lines, &self.printed].map(Arc::strong_count);
            (readers == [1, 1]).then_some(())
        });
        status
    }

    fn proc(&self, what: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(what)
    }

    pub fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).expect("it runs").count()
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("it runs").count()
    }

    /// glibc's heaps beside the first one. Each is a reserve of 64 MiB that begins and ends at a multiple of that, of which
    /// the first part can be written to (`arena.c`: HEAP_MAX_SIZE, new_heap).
    pub fn further_heaps(&self) -> usize {
        const RESERVE: usize = 64 << 20;
        let maps = fs::read_to_string(self.proc("maps")).expect("it runs");
        let parts: Vec<(usize, usize, &str)> = maps
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let (range, access) = (words.next(), words.next().expect("its access"));
                let (start, end) = range.and_then(|r| r.split_once('-')).expect("its range");
                let number = |hex| usize::from_str_radix(hex, 16).expect("an address");
                (number(start), number(end), access)
            })
            .collect();
        let is_heap = |part: &&[(usize, usize, &str)]| {
            let (used, free) = (part[0], part[1]);
            used.2 == "rw-p"
                && free.2 == "---p"
                && used.1 == free.0
                && used.0 % RESERVE == 0
                && free.1 == used.0 + RESERVE
        };
        parts.windows(2).filter(is_heap).count()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("it runs");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .expect("a line for it");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the balancer's log\n{}\n---", self.log().join("\n"));
        }
    }
}

fn follow(pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let ours = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            ours.lock()
                .expect("a story")
                .push(line.expect("a line of text"));
        }
    });
    lines
}
