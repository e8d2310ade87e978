//! Headgate.

pub mod ledger;
pub mod ports;
