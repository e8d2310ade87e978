//! The core's ports over the hostcalls.
//!
//! Invariant: one [`Call`] per callback, and one reading of the clock in it: what a callback decides, it
//! decides at one instant.

use std::cell::{Cell, OnceCell};
use std::hash::{BuildHasher, RandomState};

use headgate_core::host::Host;
use headgate_core::ports::{CasMismatch, Cells, Clock, Entropy};

use crate::abi::{self, Level, Map, Status};

thread_local! {
    /// Compare-and-swap attempts lost to other workers.
    static LOST: Cell<u64> = const { Cell::new(0) };
}

/// Compare-and-swap attempts lost to other workers since the last call.
pub(crate) fn lost_tries() -> u64 {
    LOST.take()
}

/// One callback of Envoy's.
#[derive(Debug, Default)]
pub(crate) struct Call {
    now: OnceCell<u64>,
}

impl Clock for Call {
    fn now(&self) -> u64 {
        *self.now.get_or_init(|| {
            abi::monotonic_ns().unwrap_or_else(|status| {
                complain("read the clock", status);
                // Long ago: nothing has been refilled since, so nothing is given away.
                0
            })
        })
    }
}

impl Cells for Call {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        match abi::shared(key.as_bytes()) {
            Ok(found) => Some(found),
            Err(Status::NOT_FOUND) => None,
            Err(status) => {
                complain("read a shared cell", status);
                None
            }
        }
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        abi::set_shared(key.as_bytes(), value, cas.unwrap_or(abi::ABSENT)).map_err(|status| {
            // Whatever kept it from being written, it is not written: the bounded retry and the declared
            // policy for contention are the answer to both.
            match status {
                Status::CAS_MISMATCH => LOST.set(LOST.get() + 1),
                status => complain("write a shared cell", status),
            }
            CasMismatch
        })
    }
}

impl Entropy for Call {
    fn next(&self) -> u64 {
        // Without the generator: the keys std drew at random when this VM began to hash, over the time.
        abi::random().unwrap_or_else(|_| RandomState::new().hash_one(self.now()))
    }
}

impl Host for Call {
    fn virtual_host(&self) -> Option<String> {
        text(b"xds\0virtual_host_name")
    }

    fn served_version(&self) -> Option<String> {
        // Down to the leaf: a few bytes instead of a serialised message.
        text(b"xds\0upstream_host_metadata\0filter_metadata\0headgate\0version")
    }

    fn request_headers_size(&self) -> Option<u32> {
        abi::headers_size(Map::Request).ok()
    }

    fn code_details(&self) -> Option<String> {
        text(b"response\0code_details")
    }

    fn status(&self) -> Option<u16> {
        // Envoy hands numbers over as eight bytes.
        let bytes = abi::property(b"response\0code").ok()?;
        let number = u64::from_le_bytes(bytes.try_into().ok()?);
        u16::try_from(number).ok().filter(|status| *status > 0)
    }

    fn upstream_address(&self) -> Option<String> {
        text(b"upstream\0address")
    }
}

fn text(path: &[u8]) -> Option<String> {
    // A property that does not exist (yet) is an answer, not a fault.
    let bytes = abi::property(path).ok()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
}

/// A hostcall that does not do what it is for: the stream goes on, an operator should know.
#[cold]
pub(crate) fn complain(what: &str, status: Status) {
    let line = format!("headgate: the host refused to {what} (status {})", status.0);
    abi::log(Level::Warn, &line);
}
