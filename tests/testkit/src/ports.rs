//! Free ports on 127.0.0.1, for programs that cannot bind port 0 themselves.
//!
//! Invariant: a port is free when it is handed out; a lock on a file keeps it for one process that uses this module until that
//! process ends; and it lies below the range from which the kernel takes ports for outgoing connections. Otherwise a client's
//! connection could occupy the port of a server that restarts, or a client that retries could even connect to itself. A program
//! that does not use this module may still take the port first; code that can bind `127.0.0.1:0` itself should do so.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The ports of this process with their locks.
static RESERVED: Mutex<BTreeMap<u16, File>> = Mutex::new(BTreeMap::new());

/// Lower ports are well-known ones of other programs, this repository's demo among them.
const LOWEST: u16 = 20_000;
/// Linux' default for the first port of outgoing connections.
const EPHEMERAL: u16 = 32_768;
/// Number of ports to try.
const ATTEMPTS: u64 = 256;

/// A free address on 127.0.0.1.
///
/// # Errors
/// When no port is free, or the lock files cannot be written.
pub fn free_addr() -> io::Result<SocketAddr> {
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let locks = lock_directory()?;
    let span = ephemeral().saturating_sub(LOWEST).max(1);
    let random = RandomState::new();
    for attempt in 0..ATTEMPTS {
        let offset = random.hash_one(attempt) % u64::from(span);
        let port = LOWEST + u16::try_from(offset).unwrap_or(0);
        if reserved.contains_key(&port) {
            continue;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(locks.join(port.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            reserved.insert(port, lock);
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "no free port on 127.0.0.1",
    ))
}

/// The directory of the lock files, one per user.
fn lock_directory() -> io::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("headgate-ports-{user}"));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The first port that the kernel uses for outgoing connections.
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

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_of_this_process_is_locked_for_other_processes() {
        let port = free_port().unwrap();
        let path = lock_directory().unwrap().join(port.to_string());
        // A second descriptor stands for a second process: the lock belongs to the descriptor.
        let other = File::options().write(true).open(path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    }

    #[test]
    fn a_port_is_handed_out_once_and_can_be_bound() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
