//! The balancers that are compared: how each is configured, started and found ready.
//!
//! nginx and HAProxy are set up as somebody who knows them would for this job: two workers, kept connections to the
//! endpoints, long prompts and answers in memory (nginx would write what is over 16 KB to disk). nginx and we write a log
//! line a request to /dev/null; HAProxy knows only syslog and writes none. Ours is as it comes, but for the limits
//! that a measure needs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::Failure;
use crate::params::Params;
use crate::secure::NAME;
use crate::upstream::PORTS;
use crate::warden::{Program, Warden};

/// How long a balancer may take to serve its first request.
const START: Duration = Duration::from_secs(10);

/// The file in the warden's folder that holds the authority of the endpoints' certificates.
pub const AUTHORITY: &str = "authority.pem";

/// Between two looks whether it serves.
const LOOK: Duration = Duration::from_micros(200);

#[derive(Clone, PartialEq)]
pub enum Kind {
    /// A build of this project.
    Ours(PathBuf),
    Nginx(PathBuf),
    Haproxy(PathBuf),
    /// This program as `floor`.
    Floor(PathBuf),
}

/// What a measure needs of a balancer.
#[derive(Clone, Copy)]
pub struct Setup {
    pub endpoints: usize,
    /// Ours: `workers`; none: all settings are the defaults.
    pub workers: Option<usize>,
    /// Ours: `maxConnections`.
    pub connections: Option<usize>,
    /// Pieces are to be passed on when they come: nginx's `proxy_buffering off`, HAProxy's `http-no-delay`.
    pub streams: bool,
    /// The endpoints are behind TLS, and their certificates are verified.
    pub tls: bool,
}

impl Setup {
    pub const DEFAULT: Setup = Setup {
        endpoints: 2,
        workers: None,
        connections: None,
        streams: false,
        tls: false,
    };
}

pub struct Target {
    pub program: Program,
    pub address: SocketAddr,
    /// From the start of the program to the end of the first answer.
    pub start: Duration,
}

impl Kind {
    /// Starts it; it has served one request when this returns.
    pub fn start(
        &self,
        setup: Setup,
        upstream: &[u16],
        warden: &Rc<Warden>,
    ) -> Result<Target, Failure> {
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let first = if setup.tls { PORTS } else { 0 };
        let endpoints = &upstream[first..first + setup.endpoints];
        let folder = &warden.folder;
        let mut command = match self {
            Kind::Ours(binary) => ours(binary, &setup, port, endpoints, folder)?,
            Kind::Nginx(binary) => nginx(binary, &setup, port, endpoints, folder)?,
            Kind::Haproxy(binary) => haproxy(binary, &setup, port, endpoints, folder)?,
            Kind::Floor(binary) => floor(binary, &setup, port, endpoints, folder),
        };
        let complaints = folder.join("complaints");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(if self.is_ours() {
            Stdio::null()
        } else {
            File::create(&complaints)?.into()
        });
        let began = Instant::now();
        let mut program = warden.spawn(&mut command)?;
        while !serves(address) {
            if program.child.try_wait()?.is_some() || began.elapsed() > START {
                let said = self.complaint(&complaints);
                return Err(format!(
                    "{} does not serve: {said}",
                    command.get_program().to_string_lossy()
                )
                .into());
            }
            sleep(LOOK);
        }
        Ok(Target {
            program,
            address,
            start: began.elapsed(),
        })
    }

    /// What it is called as the first of the field, or another.
    pub fn name(&self, place: usize) -> &'static str {
        match self {
            Kind::Ours(_) if place == 0 => "ours",
            Kind::Ours(_) => "against",
            Kind::Nginx(_) => "nginx",
            Kind::Haproxy(_) => "haproxy",
            Kind::Floor(_) => "floor",
        }
    }

    pub fn binary(&self) -> &Path {
        let (Kind::Ours(path) | Kind::Nginx(path) | Kind::Haproxy(path) | Kind::Floor(path)) = self;
        path
    }

    fn is_ours(&self) -> bool {
        matches!(self, Kind::Ours(_))
    }

    /// Why it did not start. Ours wrote that to /dev/null: it is asked again.
    fn complaint(&self, complaints: &Path) -> String {
        if let Kind::Ours(binary) = self {
            let config = complaints.with_file_name("endpoints.json");
            return match Command::new(binary)
                .arg("--check")
                .arg("--config")
                .arg(config)
                .output()
            {
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(err) => err.to_string(),
            };
        }
        fs::read_to_string(complaints)
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

fn ours(
    binary: &Path,
    setup: &Setup,
    port: u16,
    endpoints: &[u16],
    folder: &Path,
) -> Result<Command, Failure> {
    let (scheme, trust) = if setup.tls {
        let path = folder.join(AUTHORITY);
        ("https", format!(r#","caFile":"{}""#, path.display()))
    } else {
        ("http", String::new())
    };
    let endpoint = |port: &u16| {
        format!(r#"{{"baseURL":"{scheme}://127.0.0.1:{port}/","authToken":"a-token"{trust}}}"#)
    };
    let mut config = format!(r#"{{"endpoints":[{}]"#, join(endpoints, endpoint, ","));
    for (key, value) in [
        ("workers", setup.workers),
        ("maxConnections", setup.connections),
    ] {
        if let Some(value) = value {
            config += &format!(r#","{key}":{value}"#);
        }
    }
    let path = write(folder, "endpoints.json", &(config + "}"))?;
    let mut command = Command::new(binary);
    command
        .arg("--config")
        .arg(path)
        .env("PORT", port.to_string())
        .env("HOST", "127.0.0.1");
    command.env_remove("LOG_LEVEL").env_remove("LOG_FORMAT");
    Ok(command)
}

fn nginx(
    binary: &Path,
    setup: &Setup,
    port: u16,
    endpoints: &[u16],
    folder: &Path,
) -> Result<Command, Failure> {
    let servers = join(endpoints, |port| format!("server 127.0.0.1:{port};"), " ");
    let buffering = if setup.streams { "off" } else { "on" };
    // As root its workers would become a user that can't write to the folder.
    let user = if Uid::effective().is_root() {
        "user root;"
    } else {
        ""
    };
    let place = folder.display();
    // 1.22 would speak no TLS 1.3 by itself.
    let (scheme, trust) = if setup.tls {
        let trust = format!(
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate {place}/{AUTHORITY}; proxy_ssl_name {NAME};
      proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        );
        ("https", trust)
    } else {
        ("http", String::new())
    };
    let text = format!(
        "{user} daemon off; worker_processes 2; worker_rlimit_nofile 20000; pid {place}/nginx.pid; error_log stderr;
events {{ worker_connections 16384; }}
http {{
  access_log /dev/null;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  client_max_body_size 64m; client_body_buffer_size 1m; proxy_max_temp_file_size 0; keepalive_requests 100000000; tcp_nodelay on;
  upstream endpoints {{ {servers} keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://endpoints; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_buffering {buffering}; proxy_read_timeout 300s; {trust}
    }}
  }}
}}
"
    );
    let path = write(folder, "nginx.conf", &text)?;
    let mut command = Command::new(binary);
    command.arg("-e").arg("stderr").arg("-c").arg(path);
    Ok(command)
}

fn haproxy(
    binary: &Path,
    setup: &Setup,
    port: u16,
    endpoints: &[u16],
    folder: &Path,
) -> Result<Command, Failure> {
    // Without it the last event waits until the next one comes.
    let pace = if setup.streams {
        "option http-no-delay"
    } else {
        ""
    };
    let trust = if setup.tls {
        let path = folder.join(AUTHORITY);
        format!(
            " ssl verify required ca-file {} verifyhost {NAME} sni str({NAME})",
            path.display()
        )
    } else {
        String::new()
    };
    let server = |port: &u16| format!("  server s{port} 127.0.0.1:{port}{trust}\n");
    let text = format!(
        "global
  nbthread 2
defaults
  mode http
  option http-keep-alive
  {pace}
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen bench
  bind 127.0.0.1:{port} backlog 4096
  balance roundrobin
{}",
        join(endpoints, server, "")
    );
    let path = write(folder, "haproxy.cfg", &text)?;
    let mut command = Command::new(binary);
    command.arg("-q").arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn floor(binary: &Path, setup: &Setup, port: u16, endpoints: &[u16], folder: &Path) -> Command {
    let mut params = Params::default()
        .with("port", port)
        .with("workers", setup.workers.unwrap_or(256))
        .with("endpoints", join(endpoints, u16::to_string, ","));
    if setup.tls {
        params = params.with("authority", folder.join(AUTHORITY).display());
    }
    let mut command = Command::new(binary);
    command.arg("floor").args(params.arguments());
    command
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

fn join(ports: &[u16], one: impl Fn(&u16) -> String, between: &str) -> String {
    ports.iter().map(one).collect::<Vec<_>>().join(between)
}

/// One that nobody listens on; it is not taken from the kernel's choice again so soon.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// True when a small request got its answer.
fn serves(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"POST /v1/messages?answer=300 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}
