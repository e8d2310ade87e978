//! The shell reads and writes header maps. Its crate links only as a module, so its unit tests run here.

#[path = "../../../filters/shell/src/pairs.rs"]
mod pairs;
