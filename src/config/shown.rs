//! A configuration in words: what `--check` prints, and what the log warns of.

use std::fmt;

use super::Config;

impl Config {
    /// What follows from being reachable, for whom there is something to do about it: for the log and `--check`.
    pub fn exposure(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let is_public = !self.listen.is_loopback();
        if is_public && self.clients.is_empty() {
            lines.push(format!(
                "everybody who can reach {} spends your tokens: \"allowAnonymous\" is true and there are no \"clientTokens\"",
                self.listen
            ));
        }
        if is_public && !self.clients.is_empty() {
            lines.push(
                "listening on a public address: tokens and prompts travel unencrypted unless TLS ends in front of this program"
                    .to_owned(),
            );
        }
        if self.clients.is_empty() && self.allowed_origins.iter().any(|origin| origin == "*") {
            lines.push(
                "any web page that a browser here opens may spend your tokens: set \"allowedOrigins\" to the pages that may \
                 call ([] for none), or \"clientTokens\""
                    .to_owned(),
            );
        }
        lines
    }

    /// The endpoint that account-bound paths go to: the first that is enabled.
    fn home(&self) -> usize {
        let first = self.endpoints.iter().position(|endpoint| endpoint.enabled);
        first.unwrap_or(0)
    }
}

impl fmt::Display for Config {
    /// What `--check` prints: each endpoint with the URL that a message goes to, then each setting under its key.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            let note = if i == self.home() {
                " (/v1/files and /v1/messages/batches always go here)"
            } else {
                ""
            };
            writeln!(f, "endpoint {} {}{note}\n{endpoint}", i + 1, endpoint.name)?;
        }
        for (key, value) in &self.shown {
            writeln!(f, "{key:20}{value}")?;
        }
        Ok(())
    }
}
