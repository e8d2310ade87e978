//! The wasm modules that proxies should run.

use std::time::SystemTime;

use headgate_translate::Code;

/// The module that proxies should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The last valid one.
    pub module: Code,
    /// Why the current file is not offered, if so.
    pub problem: Option<ModuleProblem>,
}

/// Why the newest module is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleProblem {
    /// Names the file and the fix.
    pub message: String,
    /// When it was first seen.
    pub since: SystemTime,
}
