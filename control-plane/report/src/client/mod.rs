//! Client of the admin API: `headgate status`, `wait` and `version`.
//!
//! ```text
//! fetch (every replica, also replicas that the named ones know) ──▶ merge (one document) ──▶ text | changes | condition
//! poll (a thread for each replica, long polling) ──▶ connections ──▶ watch (screen, log lines) | wait (condition)
//! ```

mod condition;
mod connections;
mod credentials;
mod differences;
mod fetch;
mod options;
mod poll;
mod screen;
mod status;
mod transport;
mod version;
mod wait;
mod watch;

use std::fmt;
use std::str::FromStr;

pub use self::condition::{Condition, Goal};
pub use self::credentials::Credentials;
pub use self::options::StatusOptions;
pub use self::status::status;
pub use self::version::{VersionOptions, version};
pub use self::wait::{WaitOptions, wait};

/// An error that ends a command: one line that names the flag or the address, and the fix.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Result of a client command, for its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was yes: the model exists, the condition holds, the server answered. Exit code 0.
    Success,
    /// The answer was no. Exit code 1.
    Negative,
}

/// An address to connect to: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// Port, 1–65535.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || {
            format!(
                "{text:?} is not HOST:PORT: write 127.0.0.1:18001, [::1]:18001 or headgate.example:18001"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| invalid())?
                .to_string(),
            None => host.to_owned(),
        };
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bracketed.is_none() && (host.is_empty() || !host.chars().all(is_valid)) {
            return Err(invalid());
        }
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(invalid)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
