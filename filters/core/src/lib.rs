//! Headgate.

pub mod effects;
pub mod headers;
pub mod host;
pub mod ledger;
pub mod metrics;
pub mod ports;
pub mod stream;
pub mod vm;
