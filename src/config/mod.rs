//! endpoints.json, checked: what everyone else may rely on without looking again.
//!
//! Defaults are filled in, units are in the types, a token is a `Secret` from the moment it is read.
//! A complaint is one line that names place, expectation and finding, and never holds a token.
//! `parse` touches neither files nor environment; only `load`, `default_path` and `demo` do.
//!
//! - `document`, `object`: the text as values that know their line; an object knows which of its keys nobody asked for.
//! - `complaint`, `syntax`: what is said of a mistake, and what may be shown of it.
//! - `endpoint`, with `base_url`, `models`, `proxy`, `ca_file`, `request_headers`; `client`, `listen`, `browsers`, `secret`: the
//!   parts that have rules of their own.
//! - `files`: what is read from outside. `shown`: what is told of a configuration.

mod base_url;
mod browsers;
mod ca_file;
mod client;
mod complaint;
mod document;
mod endpoint;
mod files;
mod listen;
mod models;
mod object;
mod proxy;
mod request_headers;
mod secret;
mod shown;
mod syntax;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};

use complaint::quoted;
use document::Value;
use files::{read_lossy, read_text, variable};
use object::{Object, Shown};
use secret::Outside;

pub use client::{Client, Scope};
pub use complaint::Error;
pub use endpoint::{AuthScheme, Endpoint};
pub use files::read_file;
pub use listen::Listen;
pub use models::Models;
pub use proxy::{Proxy, ProxyAddress, ProxyKind};
pub use secret::Secret;

/// Everything that is in force. Comparable, so that a reload can tell what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One or more, in the file's order. The first is the one for account-bound paths.
    pub endpoints: Vec<Endpoint>,
    /// Needs a restart, as do `workers` and `queue`.
    pub listen: Listen,
    pub workers: usize,
    /// Requests that may wait for a worker. 0: none.
    pub queue: usize,
    pub queue_wait: Duration,
    pub max_connections: usize,
    /// Empty: everybody is let in.
    pub clients: Vec<Client>,
    pub allow_anonymous: bool,
    /// `["*"]` alone: all of them. Else origins as browsers send them, in lower case.
    pub allowed_origins: Vec<String>,
    /// Where there are no clients: further names under which we may be called, in lower case; `["*"]` alone: any.
    pub allowed_hosts: Vec<String>,
    pub affinity: Affinity,
    pub failover: bool,
    /// So many failures in a row put an endpoint on cooldown.
    pub failures: u32,
    /// An endpoint whose cooldown is over is asked by us first.
    pub check: bool,
    /// May be zero.
    pub cooldown: Duration,
    pub max_cooldown: Duration,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub idle_timeout: Duration,
    pub client_timeout: Duration,
    pub request_timeout: Duration,
    /// May be zero.
    pub drain: Duration,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// What is in force otherwise than it is written, and where: for the log and `--check`.
    pub warnings: Vec<String>,
    /// What `--check` shows of the keys but `endpoints`, secrets masked.
    shown: Shown,
}

/// Whether the requests of one session keep to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Session,
    Off,
}

const FILE: &str = "endpoints.json";

/// Where scripts/install and the packages put the file.
const SYSTEM: &str = "/etc/claude-loadbalancer";

/// More than a thousand in a row is as good as never.
const FAILURES: RangeInclusive<u64> = 1..=1000;

/// Threads in the pool.
const WORKERS: RangeInclusive<u64> = 1..=4096;

/// Each takes a descriptor, and so does its attempt: more than a machine for this is given.
const MAX_CONNECTIONS: u64 = 32_768;

/// MiB. The largest request that Anthropic takes is a file of 500 MB, and a body is held in memory.
const BODY_MB: RangeInclusive<u64> = 1..=1024;

/// The shortest is what `poll` can tell from zero; the longest, 23 days, is near the end of its milliseconds (an i32).
const SECONDS: RangeInclusive<f64> = 0.001..=MAX_SECONDS;
const SECONDS_OR_ZERO: RangeInclusive<f64> = 0.0..=MAX_SECONDS;
const MAX_SECONDS: f64 = 2_000_000.0;

impl Config {
    /// `endpoints.json` next to the executable, else in the current directory, else in `/etc/claude-loadbalancer`; where there is
    /// none, what to do.
    pub fn default_path() -> Result<PathBuf, Error> {
        let program = env::current_exe().ok();
        let folder = program.as_deref().and_then(Path::parent);
        let places = [
            folder.map(|folder| folder.join(FILE)),
            Some(PathBuf::from(FILE)),
            Some(Path::new(SYSTEM).join(FILE)),
        ];
        if let Some(path) = places.into_iter().flatten().find(|path| path.exists()) {
            return Ok(path);
        }
        let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let folder = folder.unwrap_or(Path::new("?"));
        Err(Error::new(format_args!(
            "{FILE}: expected it in {} (next to the program), in {} (the current directory) or in {SYSTEM}, found none: \
             write one (--example > {FILE}) and put your endpoints in, or name a file with --config PATH, or try the \
             program without one: --demo",
            folder.display(),
            here.display()
        )))
    }

    /// Reads the file, the environment (`PORT`, `HOST`, `${NAME}`) and the files that it names.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let file = path.display().to_string();
        let text = read_text(path, &file)?;
        // A relative file lies where the configuration lies, wherever the program was started.
        let folder = path.parent().unwrap_or(Path::new(""));
        Config::parse(&text, &file, &variable, &|name| {
            read_lossy(&folder.join(name))
        })
    }

    /// What `text` says, with `PORT` and `HOST` from `env` over it. `name` is what complaints call it; `env` knows
    /// variables by their name, `file` the text of a file that the configuration refers to.
    pub fn parse(
        text: &str,
        name: &str,
        env: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<Config, Error> {
        let outside = Outside { env, file };
        let document = Value::document(text, name)?;
        let config = if document.is_array() {
            let list = document.named("endpoints");
            Config::read(&Object::default(), &outside, |listen, warnings| {
                Endpoint::read_all(&list, listen, &outside, warnings).map(Some)
            })?
        } else if document.is_object() {
            let settings = document.object()?;
            if settings.has("baseURL") || settings.has("authToken") {
                let expected = "an array of endpoints, or an object with one under \"endpoints\"";
                let found = "one endpoint alone: put it in square brackets, [ { … } ]";
                return Err(document.expected(expected, found));
            }
            Config::read(&settings, &outside, |listen, warnings| {
                settings.get("endpoints", |list| {
                    Endpoint::read_all(list, listen, &outside, warnings)
                })
            })?
        } else {
            return Err(document.expected("an array of endpoints or an object", document.kind()));
        };
        if config.lets_strangers_in() {
            return Err(Error::new(format_args!(
                "{name}: clientTokens: expected one or more, as other machines can connect to {}, found none: \
                 set \"clientTokens\", or listen on 127.0.0.1, or let everybody use your endpoints with \
                 \"allowAnonymous\": true (in an object with \"endpoints\")",
                config.listen
            )));
        }
        Ok(config)
    }

    /// Defaults, with `PORT` and `HOST` from the environment.
    pub fn demo(endpoints: Vec<Endpoint>) -> Result<Config, Error> {
        let outside = Outside {
            env: &variable,
            file: &|_| Err(io::ErrorKind::Unsupported.into()),
        };
        let config = Config::read(&Object::default(), &outside, |_, _| Ok(Some(endpoints)))?;
        if config.lets_strangers_in() {
            return Err(Error::new(format_args!(
                "HOST in the environment: expected a loopback address, as --demo lets everybody in, found {}",
                quoted(&config.listen.host)
            )));
        }
        Ok(config)
    }

    /// `endpoints` is where they are read, once `listen` is known.
    fn read(
        settings: &Object,
        outside: &Outside,
        endpoints: impl FnOnce(&Listen, &mut Vec<String>) -> Result<Option<Vec<Endpoint>>, Error>,
    ) -> Result<Config, Error> {
        let read_listen = |value: Option<&Value>| {
            let listen = value.map_or(Ok(Listen::default()), Listen::read)?;
            listen.with_env(outside.env)
        };
        let listen = settings.noted("listen", read_listen, Listen::to_string)?;
        let mut warnings = Vec::new();
        let endpoints = endpoints(&listen, &mut warnings)?;
        // `endpoints` is missing where it was misspelt: so it is missed when all other keys are known.
        let clients = clients(settings, outside)?;
        let allow_anonymous = settings.boolean("allowAnonymous", false)?;
        let mut config = Config {
            endpoints: Vec::new(),
            listen,
            clients,
            allow_anonymous,
            allowed_origins: settings.noted(
                "allowedOrigins",
                |list| list.map_or(Ok(vec!["*".to_owned()]), browsers::origins),
                |origins| joined(origins),
            )?,
            allowed_hosts: settings.noted(
                "allowedHosts",
                |list| hosts(list, allow_anonymous),
                |hosts| joined(hosts),
            )?,
            workers: settings.whole("workers", WORKERS, 256)?,
            // Each of them comes over a connection of its own.
            queue: settings.whole("queue", 0..=MAX_CONNECTIONS, 256)?,
            queue_wait: settings.seconds("queueSeconds", SECONDS, 30)?,
            max_connections: settings.whole("maxConnections", 1..=MAX_CONNECTIONS, 8192)?,
            affinity: settings.choice(
                "affinity",
                &[("session", Affinity::Session), ("off", Affinity::Off)],
            )?,
            failover: settings.boolean("failover", true)?,
            failures: settings.whole("failures", FAILURES, 3)?,
            check: settings.boolean("check", true)?,
            cooldown: settings.seconds("cooldownSeconds", SECONDS_OR_ZERO, 10)?,
            max_cooldown: settings.seconds("maxCooldownSeconds", SECONDS, 3600)?,
            connect_timeout: settings.seconds("connectSeconds", SECONDS, 5)?,
            response_timeout: settings.seconds("responseSeconds", SECONDS, 600)?,
            idle_timeout: settings.seconds("idleSeconds", SECONDS, 300)?,
            client_timeout: settings.seconds("clientSeconds", SECONDS, 75)?,
            request_timeout: settings.seconds("requestSeconds", SECONDS, 300)?,
            drain: settings.seconds("drainSeconds", SECONDS_OR_ZERO, 30)?,
            max_body: settings.whole("maxBodyMB", BODY_MB, 32)? << 20,
            warnings,
            shown: Shown::new(),
        };
        config.shown = settings.finish()?;
        config.endpoints = settings.needed("endpoints", endpoints, "an array of endpoints")?;
        Ok(config)
    }

    fn lets_strangers_in(&self) -> bool {
        !self.listen.is_loopback() && self.clients.is_empty() && !self.allow_anonymous
    }
}

fn clients(settings: &Object, outside: &Outside) -> Result<Vec<Client>, Error> {
    let read =
        |list: Option<&Value>| list.map_or(Ok(Vec::new()), |list| Client::read_all(list, outside));
    settings.noted("clientTokens", read, |clients| match &**clients {
        [] => "none: everybody is let in".to_owned(),
        clients => joined(&clients.iter().map(Client::shown).collect::<Vec<_>>()),
    })
}

/// Further names under which we may be called, `["*"]` for any.
fn hosts(value: Option<&Value>, allow_anonymous: bool) -> Result<Vec<String>, Error> {
    match value {
        Some(list) => browsers::hosts(list),
        None if allow_anonymous => Ok(vec!["*".to_owned()]),
        None => Ok(Vec::new()),
    }
}

/// A list for `--check`.
fn joined(list: &[String]) -> String {
    match list {
        [] => "none".to_owned(),
        list => list.join(", "),
    }
}

#[cfg(test)]
mod tests;
