//! Runs the measures: rounds in which the balancers take turns, medians, and the table line by line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::Failure;
use crate::measures::{self, Field, How, Measure, Row};
use crate::options::{self, Options};
use crate::params::{self, Figures, Params};
use crate::proc;
use crate::report::{self, Ask, Line};
use crate::samples::median;
use crate::targets::{Kind, Setup};
use crate::upstream::PORTS;
use crate::warden::{Program, Warden};

/// What a single load may take beyond its parameters: the longest is `million`.
const LOAD: Duration = Duration::from_secs(300);

/// What other programs may take of the machine before figures are not to be trusted, in percent.
const CALM: f64 = 5.0;

/// Starts a round for `start`.
const STARTS: usize = 5;

/// Open files of a balancer with 4,000 streams: two a stream, and two for its hand-over inside.
const DESCRIPTORS: u64 = 17_000;

struct Director {
    warden: Rc<Warden>,
    /// Ports of the fake upstream.
    ports: Vec<u16>,
    /// Ours, then the others in the order of the table.
    field: Vec<Kind>,
    names: Vec<&'static str>,
    descriptors: u64,
    until: Instant,
}

pub fn run(arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let Some(options) = options::parse(arguments)? else {
        return Ok(());
    };
    let descriptors = proc::raise_descriptors()?;
    let warden = Warden::start()?;
    end_the_process_after(options.limit + Duration::from_secs(30));
    let (upstream, ports) = upstream(&warden)?;
    let field = field(&options)?;
    let names: Vec<_> = field
        .iter()
        .enumerate()
        .map(|(who, kind)| kind.name(who))
        .collect();
    let director = Director {
        warden,
        ports,
        field,
        names,
        descriptors,
        until: Instant::now() + options.limit,
    };

    let (began, others) = (Instant::now(), proc::others());
    let judged = options.against.is_none();
    println!("{}", report::head(&director.names[1..], judged));
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    for measure in measures::all(options.pace) {
        if options.only.is_empty() || options.only.iter().any(|name| name == measure.name) {
            director.measure(&measure, judged, &mut verdicts);
        }
    }
    if options.build {
        director.build(&mut verdicts)?;
    }
    drop(upstream); // Only what has ended is known to be ours.
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = 100.0 * (proc::others() - others) / began.elapsed().as_secs_f64() / cores;
    let warning = if share > CALM {
        ": TOO BUSY, measure again"
    } else {
        ""
    };
    println!("{cores} cores, of which other programs took {share:.0} %{warning}");
    let verdicts: Vec<String> = verdicts
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    if !verdicts.is_empty() {
        println!("goals: {}", verdicts.join(", "));
    }
    Ok(())
}

impl Director {
    fn measure(
        &self,
        measure: &Measure,
        judged: bool,
        verdicts: &mut BTreeMap<&'static str, usize>,
    ) {
        let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); self.field.len()];
        'rounds: for round in 0..measure.rounds {
            // Each is first as often as the others: a machine that slows down is nobody's fault.
            for turn in 0..self.field.len() {
                let who = (round + turn) % self.field.len();
                let kind = &self.field[who];
                if !takes_part(kind, measure.field) {
                    continue;
                }
                if Instant::now() > self.until {
                    eprintln!(
                        "bench: out of time in round {} of {}",
                        round + 1,
                        measure.name
                    );
                    break 'rounds;
                }
                if io::stderr().is_terminal() {
                    eprint!(
                        "\r{} {}/{} {:10}\r",
                        measure.name,
                        round + 1,
                        measure.rounds,
                        self.names[who]
                    );
                }
                match self.once(measure, kind) {
                    Ok(figures) => rounds[who].push(figures),
                    Err(err) => eprintln!("bench: {} of {}: {err}", measure.name, self.names[who]),
                }
            }
        }
        let medians: Vec<Option<Figures>> = rounds.iter().map(|figures| medians(figures)).collect();
        for row in &measure.rows {
            let spread = if judged {
                None
            } else {
                spread(&rounds, row.figure)
            };
            self.print(row, &medians, judged, spread, verdicts);
        }
    }

    fn print(
        &self,
        row: &Row,
        medians: &[Option<Figures>],
        judged: bool,
        spread: Option<(f64, f64)>,
        verdicts: &mut BTreeMap<&'static str, usize>,
    ) {
        let line = Line {
            goal: row.goal,
            what: row.what,
            figure: row.figure,
            ask: row.ask,
        };
        let nothing = Figures::new();
        let (line, verdict) = report::line(
            &line,
            medians[0].as_ref().unwrap_or(&nothing),
            &medians[1..],
            judged,
            spread,
        );
        println!("{line}");
        if !verdict.is_empty() {
            *verdicts.entry(verdict).or_default() += 1;
        }
    }

    /// One round of one balancer.
    fn once(&self, measure: &Measure, kind: &Kind) -> Result<Figures, Failure> {
        match &measure.how {
            How::Load(setup, params) => {
                if measure.name == "crowd" && self.descriptors < DESCRIPTORS {
                    let limit = self.descriptors;
                    return Err(format!(
                        "`ulimit -Hn` is {limit}, 4,000 streams need {DESCRIPTORS} open files"
                    )
                    .into());
                }
                self.load(kind, *setup, params)
            }
            How::Added(params) => {
                let mut figures = self.load(kind, Setup::DEFAULT, params)?;
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
        let mut command = Command::new(env::current_exe()?);
        command
            .arg("load")
            .args(params.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut load = self.warden.spawn(&mut command)?;
        if !load.ends_within(LOAD)? {
            return Err("the load generator gave up".into());
        }
        let mut text = String::new();
        load.child
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
        thread::sleep(Duration::from_secs(1));
        let memory = proc::pss(target.program.pid()) * 1024.0 / 1e6;
        Ok(Figures::from([
            ("start_ms".to_owned(), median(&times)),
            ("idle_mb".to_owned(), memory),
        ]))
    }

    fn build(&self, verdicts: &mut BTreeMap<&'static str, usize>) -> Result<(), Failure> {
        let began = Instant::now();
        let mut command = Command::new("cargo");
        command
            .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
            .arg(self.warden.folder.join("build"));
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !self.warden.spawn(&mut command)?.ends_within(LOAD)? {
            return Err("cargo build failed".into());
        }
        let figures = Figures::from([("build_s".to_owned(), began.elapsed().as_secs_f64())]);
        let row = Row {
            goal: 8,
            what: "cold cargo build --release, s",
            figure: "build_s",
            ask: Ask::AtMost(120.0, None),
        };
        let mut medians = vec![None; self.field.len()];
        medians[0] = Some(figures);
        self.print(&row, &medians, true, None, verdicts);
        Ok(())
    }
}

fn takes_part(kind: &Kind, field: Field) -> bool {
    match field {
        Field::All => true,
        Field::NoHaproxy => !matches!(kind, Kind::Haproxy(_)),
        Field::Alone => matches!(kind, Kind::Ours(_)),
    }
}

/// Each figure's median over the rounds; none where there was no round. Failures are added up: one is one too many.
fn medians(rounds: &[Figures]) -> Option<Figures> {
    let first = rounds.first()?;
    let over = |name: &String| -> Vec<f64> {
        rounds
            .iter()
            .filter_map(|round| round.get(name).copied())
            .collect()
    };
    let middle = |name: &String| {
        if name == "failed" {
            over(name).iter().sum()
        } else {
            median(&over(name))
        }
    };
    Some(
        first
            .keys()
            .map(|name| (name.clone(), middle(name)))
            .collect(),
    )
}

/// The lowest and the highest ratio of a figure between the first two of the field in one round.
fn spread(rounds: &[Vec<Figures>], figure: &str) -> Option<(f64, f64)> {
    let [ours, others, ..] = rounds else {
        return None;
    };
    let ratios = ours
        .iter()
        .zip(others)
        .filter_map(|(ours, other)| Some(ours.get(figure)? / other.get(figure)?));
    ratios.fold(None, |spread, ratio| {
        let (low, high) = spread.unwrap_or((ratio, ratio));
        Some((ratio.min(low), ratio.max(high)))
    })
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

/// Who is compared. One that is not installed is left out, and that is said.
fn field(options: &Options) -> Result<Vec<Kind>, Failure> {
    let mut field = vec![Kind::Ours(options.binary.clone())];
    if let Some(other) = &options.against {
        field.push(Kind::Ours(other.clone()));
        return Ok(field);
    }
    if options.alone {
        return Ok(field);
    }
    let others = [
        ("nginx", Kind::Nginx as fn(PathBuf) -> Kind),
        ("haproxy", Kind::Haproxy),
    ];
    let count = if options.pace.thorough { 2 } else { 1 };
    for (name, kind) in others.into_iter().take(count) {
        let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"];
        match places
            .iter()
            .map(|place| Path::new(place).join(name))
            .find(|path| path.exists())
        {
            Some(path) => field.push(kind(path)),
            None => eprintln!("bench: {name} is not installed: no comparison with it"),
        }
    }
    if options.floor {
        field.push(Kind::Floor(env::current_exe()?));
    }
    Ok(field)
}

/// The fake upstream and its ports.
fn upstream(warden: &Rc<Warden>) -> Result<(Program, Vec<u16>), Failure> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("upstream")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut upstream = warden.spawn(&mut command)?;
    let mut line = String::new();
    BufReader::new(upstream.child.stdout.take().ok_or("no ports")?).read_line(&mut line)?;
    let ports = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<u16>, _>>()?;
    if ports.len() != PORTS {
        return Err("the fake upstream did not start".into());
    }
    Ok((upstream, ports))
}

/// A last resort: the warden clears up.
fn end_the_process_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("bench: this takes too long: given up");
        std::process::exit(1);
    });
}
