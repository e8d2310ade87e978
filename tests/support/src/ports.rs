//! Free ports on 127.0.0.1, for what cannot bind port 0 itself.
//!
//! Invariant: a port is handed out once per process, and is free at that moment. Between the answer and
//! its use another process may still take it; whoever can bind `127.0.0.1:0` itself should.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// How often the kernel may offer a port that was handed out before.
const ATTEMPTS: usize = 64;

/// A free address on 127.0.0.1.
///
/// # Errors
/// When the loopback interface offers no port that was not handed out before.
pub fn free_addr() -> io::Result<SocketAddr> {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if handed_out.insert(addr.port()) {
            return Ok(addr);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "127.0.0.1 offered no fresh port",
    ))
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
