//! Free ports on 127.0.0.1, for what cannot bind port 0 itself.
//!
//! Invariant: a port is handed out once per process, is free at that moment, and lies below the range from which the
//! kernel takes ports for outgoing connections. Otherwise a client's connection could sit on the port of a server that is
//! being restarted, or a client that keeps trying could even be connected to itself. Between the answer and its use
//! another process may still take the port; whoever can bind `127.0.0.1:0` itself should.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, OnceLock, PoisonError};

static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Ports below are other programs' well-known ones, this repository's demo among them.
const LOWEST: u16 = 20_000;
/// Where Linux begins to take ports for outgoing connections, unless it says otherwise.
const EPHEMERAL: u16 = 32_768;
/// How many ports are tried.
const ATTEMPTS: u64 = 256;

/// A free address on 127.0.0.1.
///
/// # Errors
/// When the loopback interface offers no port that was not handed out before.
pub fn free_addr() -> io::Result<SocketAddr> {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let span = ephemeral().saturating_sub(LOWEST).max(1);
    let random = RandomState::new();
    for attempt in 0..ATTEMPTS {
        let offset = random.hash_one(attempt) % u64::from(span);
        let port = LOWEST + u16::try_from(offset).unwrap_or(0);
        let fresh = handed_out.insert(port);
        if fresh && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "127.0.0.1 offered no fresh port",
    ))
}

/// The lowest port the kernel takes for outgoing connections.
fn ephemeral() -> u16 {
    static LOWEST_EPHEMERAL: OnceLock<u16> = OnceLock::new();
    *LOWEST_EPHEMERAL.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse().ok())
            .filter(|lowest| *lowest > LOWEST + 1000)
            .unwrap_or(EPHEMERAL)
    })
}

/// A free port on 127.0.0.1.
///
/// # Errors
/// As [`free_addr`].
pub fn free_port() -> io::Result<u16> {
    free_addr().map(|addr| addr.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_port_is_handed_out_once_and_can_be_bound() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
