//! Headgate.
