//! One round of one balancer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::{Director, LOAD};
use crate::Failure;
use crate::measures::{How, Measure};
use crate::params::{self, Figures, Params};
use crate::proc;
use crate::samples::median;
use crate::targets::{Kind, Setup};
use crate::upstream::PORTS;

/// Starts a round for `start`.
const STARTS: usize = 5;

impl Director {
    /// One round of one balancer.
    pub(super) fn once(&self, measure: &Measure, kind: &Kind) -> Result<Figures, Failure> {
        match &measure.how {
            How::Load(setup, params) => {
                let (limit, needed) = (self.descriptors, measure.descriptors);
                if limit < needed {
                    return Err(format!("`ulimit -Hn` is {limit}, this needs {needed}").into());
                }
                self.load(kind, *setup, params)
            }
            How::Added(setup, params) => {
                let mut figures = self.load(kind, *setup, params)?;
                // Without TLS too, where the endpoints have it: what that costs them is added to each balancer alike.
                let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[0]));
                let direct = self.load_at(endpoint, std::process::id(), params)?;
                for share in ["p50_us", "p99_us"] {
                    let added = figures[share] - direct[share];
                    figures.insert(format!("added_{share}"), added);
                }
                Ok(figures)
            }
            How::Opened(params) => {
                let before = opened(self.ports[0])?;
                let mut figures = self.load(kind, Setup::DEFAULT, params)?;
                // But for the one that asks.
                let opened = opened(self.ports[0])? - before - 1.0;
                figures.insert("opened".to_owned(), opened);
                Ok(figures)
            }
            How::Endpoints(params) => {
                let mut figures = Figures::new();
                for (name, endpoints) in [("two_us", 2), ("sixty_four_us", PORTS)] {
                    let one = self.load(
                        kind,
                        Setup {
                            endpoints,
                            ..Setup::DEFAULT
                        },
                        params,
                    )?;
                    figures.insert(name.to_owned(), one["cpu_us"]);
                    *figures.entry("failed".to_owned()).or_default() += one["failed"];
                }
                Ok(figures)
            }
            How::Start => self.start(kind),
            How::Choose(params) => self.ask("choose", params),
            How::Size => {
                let size = fs::metadata(kind.binary())?.len() as f64 / 1e6;
                Ok(Figures::from([("size_mb".to_owned(), size)]))
            }
        }
    }

    fn load(&self, kind: &Kind, setup: Setup, params: &Params) -> Result<Figures, Failure> {
        let target = kind.start(setup, &self.ports, &self.warden)?;
        if self.field.len() == 1 {
            eprintln!("bench: to be watched: process {}", target.program.pid());
        }
        self.load_at(target.address, target.program.pid(), params)
    }

    fn load_at(&self, address: SocketAddr, pid: u32, params: &Params) -> Result<Figures, Failure> {
        let params = params.clone().with("address", address).with("pid", pid);
        self.ask("load", &params)
    }

    /// What this program finds out in another role.
    fn ask(&self, role: &str, params: &Params) -> Result<Figures, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(role)
            .args(params.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut program = self.warden.spawn(&mut command)?;
        if !program.ends_within(LOAD)? {
            return Err(format!("{role} gave up").into());
        }
        let mut text = String::new();
        program
            .child
            .stdout
            .take()
            .ok_or("no figures")?
            .read_to_string(&mut text)?;
        Ok(params::read(&text))
    }

    fn start(&self, kind: &Kind) -> Result<Figures, Failure> {
        let mut times = Vec::new();
        for _ in 1..STARTS {
            times.push(
                kind.start(Setup::DEFAULT, &self.ports, &self.warden)?
                    .start
                    .as_secs_f64()
                    * 1e3,
            );
        }
        let target = kind.start(Setup::DEFAULT, &self.ports, &self.warden)?;
        times.push(target.start.as_secs_f64() * 1e3);
        let memory = proc::settled_pss(target.program.pid()) * 1024.0 / 1e6;
        Ok(Figures::from([
            ("start_ms".to_owned(), median(&times)),
            ("idle_mb".to_owned(), memory),
        ]))
    }
}

/// How many connections the fake upstream has taken so far, on all its ports, this one too.
fn opened(port: u16) -> Result<f64, Failure> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /opened HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..count]);
    let (_, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok(body.parse()?)
}
