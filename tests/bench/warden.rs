//! Leaves nothing behind: a program of its own that outlives the director and clears up after it.
//!
//! It reads from a pipe which process groups run and which folder is ours. The pipe's end means that the
//! director is gone, however it went (its end, an error, ctrl-c, a kill): then the groups are killed and the
//! folder is removed. So nobody has to handle signals.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Failure;

/// How long a program may take to end when asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The warden program.
pub fn run() {
    let mut groups = BTreeSet::new();
    let mut folder = PathBuf::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("started", group)) => {
                drop(group.parse::<i32>().map(|group| groups.insert(group)))
            }
            Some(("ended", group)) => drop(group.parse::<i32>().map(|group| groups.remove(&group))),
            Some(("folder", path)) => folder = path.into(),
            _ => {}
        }
    }
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    if folder.components().count() > 1 {
        let _ = fs::remove_dir_all(folder);
    }
}

/// The director's end of the pipe, and the folder.
pub struct Warden {
    child: Child,
    pub folder: PathBuf,
}

impl Warden {
    pub fn start() -> Result<Rc<Warden>, Failure> {
        let folder = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("warden")
            .stdin(Stdio::piped())
            .process_group(0) // Out of ctrl-c's reach.
            .spawn()?;
        let warden = Warden { child, folder };
        warden.tell(&format!("folder {}", warden.folder.display()));
        Ok(Rc::new(warden))
    }

    /// A warden that has gone is no reason to stop measuring.
    fn tell(&self, line: &str) {
        if let Some(mut pipe) = self.child.stdin.as_ref() {
            let _ = writeln!(pipe, "{line}");
        }
    }

    /// Starts a program in a process group of its own, which ends with what this returns.
    pub fn spawn(self: &Rc<Warden>, command: &mut Command) -> Result<Program, Failure> {
        let child = command.process_group(0).spawn();
        let child = child
            .map_err(|err| format!("{}: {err}", Path::new(command.get_program()).display()))?;
        self.tell(&format!("started {}", child.id()));
        Ok(Program {
            child,
            warden: Rc::clone(self),
        })
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A running program and its descendants.
pub struct Program {
    pub child: Child,
    warden: Rc<Warden>,
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its own end, this long at most; true if it ended well.
    pub fn ends_within(&mut self, limit: Duration) -> Result<bool, Failure> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("not done after {} s", limit.as_secs()).into())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id() as i32);
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(group, Signal::SIGTERM);
            let _ = self.ends_within(GRACE);
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
        self.warden.tell(&format!("ended {group}"));
    }
}
