//! The configuration file, while we run: a change takes effect without a restart.
//!
//! The file is read and compared every half second. It is small, so this costs less than one request a second, and it
//! sees every way in which editors and orchestrators change a file: in place, by rename, through a link, and the files
//! that tokens are read from too. SIGHUP has it read at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::server::Server;
use crate::server::hangup::Hangups;
use crate::server::notify;

const INTERVAL: Duration = Duration::from_millis(500);

/// What is served, in a line.
pub fn serving(config: &Config) -> String {
    match config.endpoints.len() {
        1 => "serving 1 endpoint".to_owned(),
        count => format!("serving {count} endpoints"),
    }
}

/// Watches one file.
pub struct Watch {
    /// `None`: there is no file (`--demo`).
    path: Option<PathBuf>,
    server: Arc<Server>,
    /// What the file says that is in force.
    current: Config,
    /// The complaint of the last look, and whether the log has it.
    complaint: Option<(String, bool)>,
}

impl Watch {
    /// Watches `path` for as long as the process lives, and looks at once when a SIGHUP comes; `current` is what the file said
    /// at the start.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(
        path: Option<PathBuf>,
        current: Config,
        server: Arc<Server>,
        hangups: Hangups,
    ) -> std::io::Result<()> {
        let mut watch = Watch {
            path,
            server,
            current,
            complaint: None,
        };
        thread::Builder::new().name("watch".into()).spawn(move || {
            loop {
                let is_asked = hangups.wait(watch.path.is_some().then_some(INTERVAL));
                watch.turn(is_asked);
            }
        })?;
        Ok(())
    }

    /// A look at the file, told to the service's manager. `is_asked`: by a SIGHUP.
    fn turn(&mut self, is_asked: bool) {
        let before = self.status();
        if is_asked {
            notify::reloading();
        }
        self.look(is_asked);
        let now = self.status();
        if is_asked {
            notify::ready(&now);
        } else if now != before {
            notify::status(&now);
        }
    }

    /// How things stand, in a line.
    fn status(&self) -> String {
        let serving = serving(&self.current);
        match &self.complaint {
            Some((_, true)) => format!(
                "{serving}; the changed configuration is wrong and not in force, see the log"
            ),
            _ => serving,
        }
    }

    fn look(&mut self, is_asked: bool) {
        let Some(path) = &self.path else {
            log::debug!("SIGHUP: there is no configuration file to look at");
            return;
        };
        match Config::load(path) {
            Ok(config) => {
                if self.complaint.take().is_some_and(|(_, told)| told) && config == self.current {
                    log::info!("the configuration file is good again, and as it was");
                    self.server.config_is_good_again();
                }
                if config != self.current {
                    self.apply(config);
                } else if is_asked {
                    log::debug!("SIGHUP: the configuration file is as it was");
                }
            }
            Err(err) => self.complain(err.to_string(), is_asked),
        }
    }

    fn apply(&mut self, config: Config) {
        let fixed = [
            ("listen", config.listen != self.current.listen),
            ("workers", config.workers != self.current.workers),
            ("queue", config.queue != self.current.queue),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            log::warn!(key = *key; "the configuration file was changed: this key needs a restart");
        }
        let (old, new) = (&self.current, &config);
        for line in told_of(new).filter(|line| told_of(old).all(|known| known != *line)) {
            log::warn!("{line}");
        }
        self.server.reconfigure(config.clone());
        log::info!(endpoints = config.endpoints.len(); "the configuration file was changed, and is in force");
        self.current = config;
    }

    /// A file that is just being written is bad for a moment: only what is still wrong at the next look is told. Who sent a
    /// SIGHUP has written it, and is told at once, and again.
    fn complain(&mut self, complaint: String, is_asked: bool) {
        let known = self.complaint.take().filter(|(old, _)| *old == complaint);
        let is_told = known.as_ref().is_some_and(|(_, told)| *told);
        let tell = is_asked || (known.is_some() && !is_told);
        if tell {
            log::error!("the configuration stays as it was: {complaint}");
            self.server.count_bad_reload(&complaint);
        }
        self.complaint = Some((complaint, tell || is_told));
    }
}

/// What the log warns of at the start, and again where a change brings it.
fn told_of(config: &Config) -> impl Iterator<Item = String> {
    config.warnings.clone().into_iter().chain(config.exposure())
}
