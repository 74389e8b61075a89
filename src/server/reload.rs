//! The configuration file, while we run: a change takes effect without a restart.
//!
//! The file is read and compared every half second. It is small, so this costs less than one request a second, and it
//! sees every way in which editors and orchestrators change a file: in place, by rename, through a link, and the files
//! that tokens are read from too.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::server::Server;

const INTERVAL: Duration = Duration::from_millis(500);

/// Watches one file.
pub struct Watch {
    path: PathBuf,
    server: Arc<Server>,
    /// What the file says that is in force.
    current: Config,
    /// The complaint of the last look, and whether the log has it.
    complaint: Option<(String, bool)>,
}

impl Watch {
    /// Watches `path` for as long as the process lives; `current` is what it said at the start.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(path: PathBuf, current: Config, server: Arc<Server>) -> std::io::Result<()> {
        let mut watch = Watch {
            path,
            server,
            current,
            complaint: None,
        };
        thread::Builder::new().name("watch".into()).spawn(move || {
            loop {
                thread::sleep(INTERVAL);
                watch.look();
            }
        })?;
        Ok(())
    }

    fn look(&mut self) {
        match Config::load(&self.path) {
            Ok(config) => {
                if self.complaint.take().is_some_and(|(_, told)| told) && config == self.current {
                    log::info!("the configuration file is good again, and as it was");
                }
                if config != self.current {
                    self.apply(config);
                }
            }
            Err(err) => self.complain(err.to_string()),
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
        self.server.reconfigure(config.clone());
        log::info!(endpoints = config.endpoints.len(); "the configuration file was changed, and is in force");
        self.current = config;
    }

    /// A file that is just being written is bad for a moment: only what is still wrong at the next look is told.
    fn complain(&mut self, complaint: String) {
        match &mut self.complaint {
            Some((old, told)) if *old == complaint => {
                if !*told {
                    *told = true;
                    log::error!("the configuration stays as it was: {complaint}");
                    self.server.count_bad_reload();
                }
            }
            _ => self.complaint = Some((complaint, false)),
        }
    }
}
