//! endpoints.json, checked: what everyone else may rely on without looking again.
//!
//! Defaults are filled in, units are in the types, a token is a `Secret` from the moment it is read.
//! A complaint is one line that names place, expectation and finding, and never holds a token.
//! `parse` touches neither files nor environment; only `load`, `default_path` and `demo` do.
//!
//! - `document`: the text as values that know their line, and the complaints about them.
//! - `endpoint`, `listen`, `secret`: the parts that have rules of their own.
//! - `files`: what is read from outside.

mod document;
mod endpoint;
mod files;
mod listen;
mod secret;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt};

use document::{Object, Value, quoted};
use files::{first_line, read_text, variable};
use secret::Outside;

pub use document::Error;
pub use endpoint::{AuthScheme, Endpoint};
pub use listen::Listen;
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
    pub client_tokens: Vec<Secret>,
    pub allow_anonymous: bool,
    /// `["*"]` alone: all of them. Else origins as browsers send them, in lower case.
    pub allowed_origins: Vec<String>,
    pub affinity: Affinity,
    pub failover: bool,
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
}

/// Whether the requests of one session keep to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Session,
    Off,
}

const KEYS: [&str; 20] = [
    "endpoints",
    "listen",
    "workers",
    "queue",
    "queueSeconds",
    "maxConnections",
    "clientTokens",
    "allowAnonymous",
    "allowedOrigins",
    "affinity",
    "failover",
    "cooldownSeconds",
    "maxCooldownSeconds",
    "connectSeconds",
    "responseSeconds",
    "idleSeconds",
    "clientSeconds",
    "requestSeconds",
    "drainSeconds",
    "maxBodyMB",
];

const FILE: &str = "endpoints.json";

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
    /// `endpoints.json` next to the executable, else in the current directory; where there is neither, what to do.
    pub fn default_path() -> Result<PathBuf, Error> {
        let program = env::current_exe().ok();
        let folder = program.as_deref().and_then(Path::parent);
        let beside = folder
            .map(|folder| folder.join(FILE))
            .filter(|path| path.exists());
        if let Some(path) =
            beside.or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()))
        {
            return Ok(path);
        }
        let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let folder = folder.unwrap_or(Path::new("?"));
        Err(Error::new(format_args!(
            "{FILE}: expected it in {} (next to the program) or in {} (the current directory), found none: \
             copy endpoints.json.example to {FILE} and put your endpoints in, or name a file with --config PATH, \
             or try the program without one: --demo",
            folder.display(),
            here.display()
        )))
    }

    /// Reads the file, the environment (`PORT`, `HOST`, `${NAME}`) and the token files that it names.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let file = path.display().to_string();
        let text = read_text(path, &file)?;
        // A relative token file lies where the configuration lies, wherever the program was started.
        let folder = path.parent().unwrap_or(Path::new(""));
        Config::parse(&text, &file, &variable, &|name| {
            first_line(&folder.join(name))
        })
    }

    /// What `text` says, with `PORT` and `HOST` from `env` over it. `file` is what complaints call it; `env` knows
    /// variables by their name, `first_line` the first line of a file that a token refers to.
    pub fn parse(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
        first_line: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<Config, Error> {
        let outside = Outside { env, first_line };
        let document = Value::document(text, file)?;
        let config = if document.is_array() {
            let endpoints = Endpoint::read_all(&document.named("endpoints"), &outside)?;
            Config::read(&Object::default(), endpoints, &outside)?
        } else if document.is_object() {
            let settings = document.object(&KEYS)?;
            let endpoints = settings
                .get("endpoints", |list| Endpoint::read_all(list, &outside))?
                .ok_or_else(|| document.missing("endpoints", "an array of endpoints"))?;
            Config::read(&settings, endpoints, &outside)?
        } else {
            return Err(document.expected("an array of endpoints or an object", document.kind()));
        };
        if config.lets_strangers_in() {
            return Err(Error::new(format_args!(
                "{file}: clientTokens: expected one or more, as other machines can connect to {}, found none: \
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
            first_line: &|_| Err(io::ErrorKind::Unsupported.into()),
        };
        let config = Config::read(&Object::default(), endpoints, &outside)?;
        if config.lets_strangers_in() {
            return Err(Error::new(format_args!(
                "HOST in the environment: expected a loopback address, as --demo lets everybody in, found {}",
                quoted(&config.listen.host)
            )));
        }
        Ok(config)
    }

    fn read(
        settings: &Object,
        endpoints: Vec<Endpoint>,
        outside: &Outside,
    ) -> Result<Config, Error> {
        let whole = |key, range, default: usize| {
            let number = settings.get(key, |value| value.whole(range))?;
            Ok(number.unwrap_or(default))
        };
        let seconds = |key, range, default| {
            let duration = settings.get(key, |value| value.seconds(range))?;
            Ok(duration.unwrap_or(Duration::from_secs(default)))
        };
        Ok(Config {
            endpoints,
            listen: settings
                .get("listen", Listen::read)?
                .unwrap_or_default()
                .with_env(outside.env)?,
            workers: whole("workers", WORKERS, 256)?,
            // Each of them comes over a connection of its own.
            queue: whole("queue", 0..=MAX_CONNECTIONS, 256)?,
            queue_wait: seconds("queueSeconds", SECONDS, 30)?,
            max_connections: whole("maxConnections", 1..=MAX_CONNECTIONS, 8192)?,
            client_tokens: settings
                .get("clientTokens", |list| {
                    list.array()?
                        .iter()
                        .map(|token| Secret::read(token, outside))
                        .collect()
                })?
                .unwrap_or_default(),
            allow_anonymous: settings
                .get("allowAnonymous", Value::boolean)?
                .unwrap_or(false),
            allowed_origins: settings
                .get("allowedOrigins", origins)?
                .unwrap_or_else(|| vec!["*".to_owned()]),
            affinity: settings
                .get("affinity", |value| {
                    value.one_of(&[("session", Affinity::Session), ("off", Affinity::Off)])
                })?
                .unwrap_or(Affinity::Session),
            failover: settings.get("failover", Value::boolean)?.unwrap_or(true),
            cooldown: seconds("cooldownSeconds", SECONDS_OR_ZERO, 10)?,
            max_cooldown: seconds("maxCooldownSeconds", SECONDS, 3600)?,
            connect_timeout: seconds("connectSeconds", SECONDS, 5)?,
            response_timeout: seconds("responseSeconds", SECONDS, 600)?,
            idle_timeout: seconds("idleSeconds", SECONDS, 300)?,
            client_timeout: seconds("clientSeconds", SECONDS, 75)?,
            request_timeout: seconds("requestSeconds", SECONDS, 300)?,
            drain: seconds("drainSeconds", SECONDS_OR_ZERO, 30)?,
            max_body: whole("maxBodyMB", BODY_MB, 32)? << 20,
        })
    }

    fn lets_strangers_in(&self) -> bool {
        !self.listen.is_loopback() && self.client_tokens.is_empty() && !self.allow_anonymous
    }
}

impl fmt::Display for Config {
    /// What `--check` prints: each setting under its key, each endpoint with the URL that a message goes to.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut line = |key: &str, value: &dyn fmt::Display| writeln!(f, "{key:20}{value}");
        line("listen", &self.listen)?;
        line("workers", &self.workers)?;
        line("queue", &self.queue)?;
        line("queueSeconds", &self.queue_wait.as_secs_f64())?;
        line("maxConnections", &self.max_connections)?;
        match self.client_tokens.len() {
            0 => line("clientTokens", &"none: everybody is let in")?,
            many => line("clientTokens", &vec!["***"; many].join(", "))?,
        }
        line("allowAnonymous", &self.allow_anonymous)?;
        match &*self.allowed_origins {
            [] => line("allowedOrigins", &"none")?,
            origins => line("allowedOrigins", &origins.join(", "))?,
        }
        line(
            "affinity",
            &if self.affinity == Affinity::Session {
                "session"
            } else {
                "off"
            },
        )?;
        line("failover", &self.failover)?;
        line("cooldownSeconds", &self.cooldown.as_secs_f64())?;
        line("maxCooldownSeconds", &self.max_cooldown.as_secs_f64())?;
        line("connectSeconds", &self.connect_timeout.as_secs_f64())?;
        line("responseSeconds", &self.response_timeout.as_secs_f64())?;
        line("idleSeconds", &self.idle_timeout.as_secs_f64())?;
        line("clientSeconds", &self.client_timeout.as_secs_f64())?;
        line("requestSeconds", &self.request_timeout.as_secs_f64())?;
        line("drainSeconds", &self.drain.as_secs_f64())?;
        line("maxBodyMB", &(self.max_body >> 20))?;
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            let note = if i == 0 {
                " (/v1/files and /v1/messages/batches always go here)"
            } else {
                ""
            };
            write!(
                f,
                "\nendpoint {} {}{note}\n{endpoint}",
                i + 1,
                endpoint.name
            )?;
        }
        Ok(())
    }
}

/// Origins as browsers send them: a path or a last slash would never match one.
fn origins(list: &Value) -> Result<Vec<String>, Error> {
    let mut origins = Vec::new();
    for item in list.array()? {
        let origin = item.string()?.to_ascii_lowercase();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let is_origin = !host.is_empty()
            && origin
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !(is_origin && !host.contains(['/', '*', '@', '?', '#'])
            || origin == "*"
            || origin == "null")
        {
            let expected = "\"*\" or an origin such as https://app.example.com, with nothing behind the host and port";
            return Err(item.expected(expected, quoted(&origin)));
        }
        origins.push(origin);
    }
    if origins.iter().any(|origin| origin == "*") {
        origins = vec!["*".to_owned()];
    }
    Ok(origins)
}

#[cfg(test)]
mod tests;
