//! Runs the measures: rounds in which the balancers take turns, medians, and the table line by line.

mod once;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::catalogue;
use crate::measures::{Field, Measure, Row};
use crate::options::{self, Options};
use crate::params::{Figures, Params};
use crate::proc;
use crate::report::{self, Ask, Line};
use crate::samples::median;
use crate::targets::{AUTHORITY, Kind};
use crate::upstream::{PORTS, SECURE_PORTS};
use crate::warden::{Program, Warden};

/// What a single load may take beyond its parameters: the longest is `million`.
const LOAD: Duration = Duration::from_secs(300);

/// What other programs may take of the machine before figures are not to be trusted, in percent.
const CALM: f64 = 5.0;

struct Director {
    warden: Rc<Warden>,
    /// Ports of the fake upstream; the last of them are behind TLS.
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
    // What has begun by then may end: the longest of all takes two minutes, and a tenth of that where time is short.
    end_the_process_after(options.limit + options.limit / 8);
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
    for measure in catalogue::all(options.pace) {
        // Another build's choice is not in this program.
        if measure.field == Field::Within && !judged {
            continue;
        }
        if options.only.is_empty() || options.only.contains(&measure.name) {
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
                if !takes_part(kind, measure) {
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
            what: &row.what,
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
            what: "cold cargo build --release, s".to_owned(),
            figure: "build_s",
            ask: Ask::AtMost(120.0, None),
        };
        let mut medians = vec![None; self.field.len()];
        medians[0] = Some(figures);
        self.print(&row, &medians, true, None, verdicts);
        Ok(())
    }
}

fn takes_part(kind: &Kind, measure: &Measure) -> bool {
    match measure.field {
        Field::All => true,
        Field::NoHaproxy => !matches!(kind, Kind::Haproxy(_)),
        Field::Alone | Field::Within => matches!(kind, Kind::Ours(_)),
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
    let authority = warden.folder.join(AUTHORITY);
    let params = Params::default().with("authority", authority.display());
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("upstream")
        .args(params.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut upstream = warden.spawn(&mut command)?;
    let mut line = String::new();
    BufReader::new(upstream.child.stdout.take().ok_or("no ports")?).read_line(&mut line)?;
    let ports = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<u16>, _>>()?;
    if ports.len() != PORTS + SECURE_PORTS {
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
