//! Ports: clock, shared cells and randomness, the only things outside of the core that it needs.
//!
//! Nothing in this crate reads a clock, draws a random number or accesses shared memory by itself. The crate of an ABI
//! implements these traits with calls to the proxy, a test in memory.

/// A monotonic clock.
pub trait Clock {
    /// Nanoseconds of `CLOCK_MONOTONIC`. Never steps back within a boot of the machine; its zero
    /// is arbitrary but the same for every thread and every VM of the process.
    fn now(&self) -> u64;
}

/// Another writer was first: read and decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CasMismatch;

impl core::fmt::Display for CasMismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the value changed since it was read")
    }
}

impl std::error::Error for CasMismatch {}

/// A key-value store shared by every VM of the proxy (Envoy: shared data, one process-wide mutex).
pub trait Cells {
    /// The value and its version, or `None` if the key was never written.
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Writes `value` if the version still is `cas`; with `None`, if the key was never written.
    ///
    /// # Errors
    /// [`CasMismatch`] if another writer wrote since `get`. Then nothing is written.
    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch>;
}

/// A source of unpredictable numbers.
pub trait Entropy {
    /// A number that a client can neither guess nor influence.
    fn next(&self) -> u64;
}
