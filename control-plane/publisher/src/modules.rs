//! The wasm modules that proxies should run.

use std::time::SystemTime;

use headgate_translate::Modules;

/// The modules that proxies should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The last good ones.
    pub modules: Modules,
    /// Why the files that lie there now are not they, if so.
    pub problem: Option<ModuleProblem>,
}

/// Why the newest modules are not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleProblem {
    /// Names the file and the fix.
    pub message: String,
    /// When it was first seen.
    pub since: SystemTime,
}
